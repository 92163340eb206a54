"""Options whose text fairseq evaluates as Python, which a checkpoint may therefore hold as plain values alone."""

import argparse
import ast
from collections.abc import Iterator

# Of fairseq's own modules (its examples left out); a test compares them with the installed package.
EVALUATED = frozenset(
    {
        *("adafactor_eps", "adam_betas", "adamax_betas", "adaptive_input_cutoff", "adaptive_softmax_cutoff"),
        *("character_filters", "conv_aggregator_layers", "conv_feature_layers", "decoder_attention"),
        *("decoder_kernel_size_list", "decoder_layers", "downsample", "encoder_attention"),
        *("encoder_kernel_size_list", "encoder_layers", "feature_encoder_spec", "gated_attention", "lamb_betas"),
        *("left_pad_source", "left_pad_target", "pipeline_balance", "pipeline_decoder_balance"),
        *("pipeline_decoder_devices", "pipeline_devices", "pipeline_encoder_balance", "pipeline_encoder_devices"),
        *("pretrained", "project_input", "self_attention", "wer_args", "xformers_att_config"),
    }
)


def code_in(config: object) -> str | None:
    """The first of these options that is no literal, as ``name=value``; None if there is none.

    Args:
        config: settings as a checkpoint stores them: dicts and namespaces in each other, to any depth.
    """
    for name, value in _options(config):
        if name in EVALUATED and isinstance(value, str) and not _is_literal(value):
            return f"{name}={value[:80]!r}"
    return None


def _options(config: object) -> Iterator[tuple[str, object]]:
    entries = vars(config) if isinstance(config, argparse.Namespace) else config
    if isinstance(entries, dict):
        for name, value in entries.items():
            yield name, value
            yield from _options(value)
    elif isinstance(entries, list | tuple):
        for value in entries:
            yield from _options(value)


def _is_literal(text: str) -> bool:
    try:
        ast.literal_eval(text)
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return False
    return True
