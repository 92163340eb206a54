"""Weights of the residual sums: x = LN(w * x + f(x)) for each block f, with a vector w of d entries.

Published as Admin (Liu et al., 2020, arXiv 2004.08249: trainable) and DeepNorm (Wang et al., 2022, arXiv 2203.00555: a
constant).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
from fairseq.models.transformer.transformer_config import TransformerConfig
from torch import Tensor, nn

ResidualWeights = StrEnum("ResidualWeights", ["none", "fixed", "trainable"])


@dataclass
class LayerConfig(TransformerConfig):
    """What fairseq's layers read, and the kind of residual weights."""

    residual_weights: str = "none"


def add_residual_weights(layer: nn.Module, kind: str, dimension: int, blocks: Sequence[str]) -> None:
    """Gives a layer the attribute ``BLOCK_residual_weight`` for each block: ones, [dimension], or None.

    Args:
        layer: of the encoder or the decoder.
        kind: ``none``, ``fixed`` (buffers) or ``trainable`` (parameters).
        dimension: d, of the layer's states.
        blocks: ``self_attn``, ``encoder_attn``, ``final``.
    """
    for block in blocks:
        name = f"{block}_residual_weight"
        if kind == "fixed":
            layer.register_buffer(name, torch.ones(dimension))
        else:
            ones = nn.Parameter(torch.ones(dimension)) if kind == "trainable" else None
            layer.register_parameter(name, ones)


def weighted(x: Tensor, weight: Tensor | None) -> Tensor:
    """``weight * x``, or ``x`` itself without a weight."""
    return x if weight is None else weight * x
