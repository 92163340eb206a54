"""What fairseq-train and the plugin would refuse once they run, found before the launcher writes anything.

Stock fairseq accepts any number for most options; the ranges of the common ones are checked here too.
"""

import argparse
import contextlib
import math
import re
from typing import Any

import torch

from gradinit_mt.common.errors import UserError
from gradinit_mt.plugin.checkpoints import newest
from gradinit_mt.record import reuse
from gradinit_mt.training import options

FINITE = 1e30  # the highest value of options that have to be finite in float32, too
# The lowest and highest value of some of fairseq's options.
RANGES: dict[str, tuple[float, float]] = {
    **dict.fromkeys(("max_tokens", "max_tokens_valid", "batch_size", "batch_size_valid"), (1, math.inf)),
    **dict.fromkeys(("update_freq", "log_interval"), (1, math.inf)),
    **dict.fromkeys(("max_update", "max_epoch", "num_workers", "warmup_updates"), (0, math.inf)),
    **dict.fromkeys(("weight_decay", "clip_norm"), (0, FINITE)),
    **dict.fromkeys(("dropout", "attention_dropout", "activation_dropout", "label_smoothing"), (0, 1)),
}


def require_sound(arguments: list[str]) -> None:
    """Builds from the arguments of fairseq-train what it would build from them, except data and models.

    Raises:
        UserError: an option is out of its range, or excludes another.
    """
    with options.fairseq_options() as parsers:
        settings = _resolved(parsers.parse_args_and_arch(parsers.get_training_parser(), arguments))
        for name, (low, high) in RANGES.items():
            _require_in_range(name, getattr(settings, name, None), low, high)
        _build(settings)


def _resolved(settings: argparse.Namespace) -> argparse.Namespace:
    """The options with their values; for one that was not given it may have been the text ``${group.name}``."""
    given = vars(settings)

    def value(found: object) -> object:
        reference = re.fullmatch(r"\$\{\w+\.(\w+)\}", str(found))
        return given.get(reference[1], found) if reference else found

    return argparse.Namespace(**{name: value(found) for name, found in given.items()})


def _require_in_range(name: str, value: Any, low: float, high: float) -> None:
    for number in value if isinstance(value, list) else [value]:
        if isinstance(number, int | float) and not low <= number <= high:
            at_least = f"at least {low:g}" + " and finite" * (high == FINITE)
            expected = f"from {low:g} to {high:g}" if high == 1 else at_least
            raise UserError(f"--{name.replace('_', '-')} is {number}, expected {expected}")


def _build(settings: argparse.Namespace) -> None:
    from fairseq import optim
    from fairseq.data import Dictionary
    from fairseq.models import ARCH_MODEL_REGISTRY
    from fairseq.optim import lr_scheduler
    from fairseq.tasks import TASK_REGISTRY

    from gradinit_mt.models.post_ln_transformer import PostLNTransformer, PostLNTransformerConfig, as_fairseq, check
    from gradinit_mt.plugin.options import GradInitTranslationConfig
    from gradinit_mt.plugin.refusals import require_trainable
    from gradinit_mt.tasks.gradinit_translation import GradInitTranslationTask

    if TASK_REGISTRY[settings.task] is GradInitTranslationTask:
        cfg = GradInitTranslationConfig.from_namespace(settings)
        GradInitTranslationTask(cfg, Dictionary(), Dictionary())
        require_trainable(cfg)
    if issubclass(ARCH_MODEL_REGISTRY[settings.arch], PostLNTransformer):
        sizes = PostLNTransformerConfig.from_namespace(settings)
        check(sizes)
        as_fairseq(sizes)
    # a component that needs more than its options is left to fairseq-train
    with contextlib.suppress(AttributeError, ImportError, KeyError, TypeError):
        optimizer = optim.build_optimizer(settings, [torch.nn.Parameter(torch.zeros(1))])
        lr_scheduler.build_lr_scheduler(settings, optimizer)


def require_files(arguments: list[str]) -> None:
    """Checks the files that a new run would start from.

    Raises:
        UserError: one does not exist, where fairseq-train would start without it; or it is no record of GradInit whose
            scales are complete.
    """
    from fairseq.file_io import PathManager

    given = options.given(arguments)
    for name in ("restore_file", "finetune_from_model"):
        path = given.get(name, newest.LAST)  # that of the run itself
        if path != newest.LAST and not PathManager.isfile(path):
            raise UserError(f"--{name.replace('_', '-')} {path}: no such file")
    if "gradinit_from" in given:
        try:
            reuse.complete(given["gradinit_from"])
        except RuntimeError as error:
            raise UserError(str(error)) from error
