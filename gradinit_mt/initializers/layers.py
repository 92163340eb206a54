"""The layers of a Transformer as fairseq names them: their matrices and their residual blocks."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from torch import nn

from gradinit_mt.core import GradInitError

STACKS = ("encoder", "decoder")


def layers_of(model: nn.Module, stack: str) -> list[nn.Module]:
    """The layers of the encoder or of the decoder, first to last.

    Raises:
        GradInitError: there are none.
    """
    layers = getattr(getattr(model, stack, None), "layers", ())
    if not len(layers):
        raise GradInitError(
            f"--initializer: the {stack} of {type(model).__name__} has no layers; use a Transformer, or drop the option"
        )
    return [layers[index] for index in range(len(layers))]  # iterating would draw which ones LayerDrop keeps


def attentions(layer: nn.Module) -> list[Any]:
    """Self-attention and, in the decoder, cross-attention."""
    return [getattr(layer, name) for name in ("self_attn", "encoder_attn") if getattr(layer, name, None) is not None]


def gain(attention: Any) -> float:
    """The gain at which fairseq draws the queries', keys' and values' matrices by xavier's rule."""
    return 0.5**0.5 if attention.qkv_same_dim else 1.0


@dataclass(frozen=True)
class Matrix:
    """A linear layer in a layer of the model."""

    linear: nn.Linear
    role: str  # q_proj, k_proj, v_proj, out_proj, fc1 or fc2
    gain: float  # of xavier's rule, as fairseq draws it


def matrices(layer: nn.Module) -> Iterator[Matrix]:
    """The linear layers of one layer, attention first."""
    for attention in attentions(layer):
        for role in ("q_proj", "k_proj", "v_proj"):
            yield Matrix(getattr(attention, role), role, gain(attention))
        yield Matrix(attention.out_proj, "out_proj", 1.0)
    for role in ("fc1", "fc2"):
        yield Matrix(getattr(layer, role), role, 1.0)
