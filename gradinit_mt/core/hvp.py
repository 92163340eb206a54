"""Hessian-vector products of the constraint: an exact route, and one that needs only first-order gradients."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

# In units of the parameters' length, for float32. At the initialization of a 6+6-layer Post-LN Transformer, third
# derivatives show above this step and rounding far below it. The remaining error with ReLU, about 5 % of the vector of
# block products over a batch of 1,500 tokens, comes mostly from its kinks: a difference counts the kinks it crosses,
# double backward counts none.
RELATIVE_STEP = 2e-4


def finite_difference(parameters: list[Tensor], v: list[Tensor], gradient: Callable[[], list[Tensor]]) -> list[Tensor]:
    """H v by central differences, ``(g(theta + e v) - g(theta - e v)) / (2 e)``.

    Args:
        parameters: theta, moved in place; the caller restores the exact values.
        v: the direction, one tensor per parameter.
        gradient: computes g at the current values of ``parameters``.
    """
    length = norm(parameters) / norm(v)
    e = RELATIVE_STEP * length
    _move(parameters, v, e)
    ahead = gradient()
    _move(parameters, v, -2 * e)
    behind = gradient()
    torch._foreach_sub_(ahead, behind)
    torch._foreach_div_(ahead, 2 * e)
    return ahead


_exact_pass = False


@contextmanager
def twice_differentiable() -> Iterator[None]:
    """For the forward pass of a loss that ``exact`` takes: fused operations have no second derivative."""
    global _exact_pass
    before, _exact_pass = _exact_pass, True
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        _exact_pass = before


def needs_second_derivatives() -> bool:
    """Whether the present forward pass is one for ``exact``: an operation without a second derivative must not run."""
    return _exact_pass


def exact(parameters: Sequence[Tensor], v: Sequence[Tensor], loss: Tensor) -> list[Tensor]:
    """H v by double backward, the derivative of <g, v> with v held constant; v has one tensor per parameter.

    The loss must have been computed at theta within ``twice_differentiable``.
    """
    g = torch.autograd.grad(loss, parameters, create_graph=True, materialize_grads=True)
    return list(torch.autograd.grad(inner(g, v), parameters, materialize_grads=True))


def inner(a: Sequence[Tensor], b: Sequence[Tensor]) -> Tensor:
    """The inner product of two vectors, each a list of tensors of the same shapes."""
    products = [(x * y).sum() for x, y in zip(a, b, strict=True)]
    return sum(products[1:], start=products[0])


@torch.no_grad()
def _move(parameters: list[Tensor], v: list[Tensor], distance: Tensor) -> None:
    torch._foreach_add_(parameters, torch._foreach_mul(v, distance))


@torch.no_grad()
def norm(tensors: list[Tensor], order: int = 2) -> Tensor:
    """The L1 or L2 norm over all tensors together, without a graph."""
    return torch.linalg.vector_norm(torch.stack(torch._foreach_norm(tensors, order)), order)
