"""The layers of a Transformer as fairseq names them: their matrices and their residual blocks."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from gradinit_mt.core import GradInitError

STACKS = ("encoder", "decoder")


def layer_list(model: nn.Module, stack: str) -> list[Any]:
    """All layers of the encoder or of the decoder, first to last; none if the model has no such list."""
    found = getattr(getattr(model, stack, None), "layers", ())
    return [found[index] for index in range(len(found))]  # iterating would draw which ones LayerDrop keeps


def layers_of(model: nn.Module, stack: str) -> list[Any]:
    """The layers of the encoder or of the decoder, first to last.

    Raises:
        GradInitError: there are none, or one lacks attention or a feed-forward block.
    """
    layers = layer_list(model, stack)
    if not layers or not all(hasattr(layer, name) for layer in layers for name in ("self_attn", "fc1", "fc2")):
        raise GradInitError(
            f"--initializer: the {stack} of {type(model).__name__} has no layers of a Transformer; use a Transformer, "
            "or drop the option"
        )
    return layers


def attentions(layer: Any) -> list[Any]:
    """Self-attention and, in the decoder, cross-attention."""
    return [getattr(layer, name) for name in ("self_attn", "encoder_attn") if getattr(layer, name, None) is not None]


@dataclass(frozen=True)
class Matrix:
    """A linear layer in a layer of the model.

    Attributes:
        role: ``q_proj``, ``k_proj``, ``v_proj``, ``out_proj``, ``fc1`` or ``fc2``.
        gain: fairseq's, in xavier's rule for attention. It draws fc1 and fc2 by another one, see
            ``feed_forward_at_xavier``.
    """

    linear: nn.Linear
    role: str
    gain: float


def matrices(layer: Any) -> Iterator[Matrix]:
    """The linear layers of one layer, attention first."""
    for attention in attentions(layer):
        gain = 0.5**0.5 if attention.qkv_same_dim else 1.0
        for role in ("q_proj", "k_proj", "v_proj"):
            yield Matrix(getattr(attention, role), role, gain)
        yield Matrix(attention.out_proj, "out_proj", 1.0)
    for role in ("fc1", "fc2"):
        yield Matrix(getattr(layer, role), role, 1.0)


@torch.no_grad()
def scale_by_depth(model: nn.Module, factor: Callable[[int, int], float]) -> None:
    """Multiplies the matrices of each layer, in place.

    Args:
        model: a Transformer.
        factor: (number of the layer in its stack from 1, layers of the stack) -> factor.

    Raises:
        GradInitError: a stack has no layers.
    """
    for stack in STACKS:
        layers = layers_of(model, stack)
        for depth, layer in enumerate(layers, start=1):
            for matrix in matrices(layer):
                matrix.linear.weight.mul_(factor(depth, len(layers)))


@torch.no_grad()
def feed_forward_at_xavier(model: nn.Module) -> None:
    """Makes fc1 and fc2 what xavier's uniform rule draws, with biases of 0.

    So did fairseq 0.9, with which most of these papers were written. Later versions draw weights and biases from
    U(-1/sqrt(fan_in), 1/sqrt(fan_in)), and the weights take only another factor.

    Raises:
        GradInitError: a stack has no layers.
    """
    for stack in STACKS:
        for layer in layers_of(model, stack):
            for linear in (layer.fc1, layer.fc2):
                linear.weight.mul_((6 * linear.in_features / sum(linear.weight.shape)) ** 0.5)
                linear.bias.zero_()
