"""Looks-linear feed-forward blocks: at first they are linear maps.

Balduzzi et al., "The Shattered Gradients Problem", ICML 2017; Burkholz and Dubatovka, "Initialization of
ReLUs for Dynamical Isometry", NeurIPS 2019. With fc1 = [U; -U], fc2 = [V, -V] and biases of 0,

    fc2 relu(fc1 x) = V relu(U x) - V relu(-U x) = V U x

The same holds for every activation with f(z) - f(-z) proportional to z, such as gelu.

Left open: how U and V are drawn. Here they are the first halves of fairseq's own matrices, whose variance the mirrored
ones keep.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gradinit_mt.core import GradInitError
from gradinit_mt.initializers.layers import STACKS, layers_of
from gradinit_mt.initializers.registry import Start, register


@register("looks-linear", about="feed-forward blocks linear at first, [U; -U] and [V, -V] (Balduzzi et al., 2017)")
@torch.no_grad()
def looks_linear(start: Start) -> None:
    """Mirrors fc1 and fc2.

    Raises:
        GradInitError: a stack has no layers, or a layer has an odd feed-forward dimension or an activation that does
            not become linear.
    """
    for stack in STACKS:
        for layer in layers_of(start.model, stack):
            _require_linear(layer, stack)
            for linear, dim in ((layer.fc1, 0), (layer.fc2, 1)):
                half = linear.weight.chunk(2, dim)[0].clone()
                linear.weight.copy_(torch.cat([half, -half], dim))
                linear.bias.zero_()


def _require_linear(layer: Any, stack: str) -> None:
    inner = len(layer.fc1.weight)
    if inner % 2:
        raise GradInitError(f"--initializer looks-linear: --{stack}-ffn-embed-dim is {inner}, expected an even number")
    if not _cancels(layer.activation_fn):
        raise GradInitError(
            "--initializer looks-linear: expected an activation with f(z) - f(-z) proportional to z; give "
            "--activation-fn relu or gelu"
        )


def _cancels(activation: Callable[[Tensor], Tensor]) -> bool:
    z = torch.linspace(0, 4, 5)
    odd = activation(z) - activation(-z)
    return torch.allclose(odd, odd[1] * z, atol=1e-5)
