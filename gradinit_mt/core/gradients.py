"""Losses and their derivatives: summed over the parts of a batch and over ranks, at the chosen precision."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn

from gradinit_mt.core import hvp
from gradinit_mt.core.precision import at_precision

LossFunction = Callable[[nn.Module, Any], tuple[Tensor, float]]
Kept = Sequence[tuple[Tensor, Tensor]]


@dataclass
class Gradients:
    """Gradients of a model's losses by its trainable tensors, at their current values."""

    model: nn.Module  # the losses call it
    parameters: list[Tensor]  # its trainable tensors, each once, on one device
    precision: Literal["full", "bfloat16"]  # see ``GradInitConfig``
    all_reduce: Callable[[Tensor], Any] | None  # sums over data-parallel ranks in place; None for a single process

    def __post_init__(self) -> None:
        self.device = self.parameters[0].device
        self.places = {id(p): index for index, p in enumerate(self.parameters)}

    def of(self, loss_fn: LossFunction, parts: Sequence[Any], kept: Kept = ()) -> tuple[list[Tensor], Tensor]:
        """The gradient and the value of a loss, averaged over parts and ranks; all tensors are new.

        Args:
            loss_fn: ``(model, part) -> (summed loss, size)``.
            parts: this rank's share of a batch, at least one.
            kept: pairs (parameter, copy that replaces it in some of its uses). The copy's gradient is added to the
                parameter's.
        """
        inputs = [*self.parameters, *(copy for _, copy in kept)]
        sums, loss, size = self._summed(
            loss_fn, parts, lambda loss: list(torch.autograd.grad(loss, inputs, materialize_grads=True))
        )
        sums, copies = sums[: len(self.parameters)], sums[len(self.parameters) :]
        for (original, _), grad in zip(kept, copies, strict=True):
            index = self.places[id(original)]
            sums[index] = sums[index] + grad
        return self._averaged(sums, loss, size)

    def times_hessian(self, loss_fn: LossFunction, parts: Sequence[Any], v: list[Tensor]) -> list[Tensor]:
        """H v of the averaged loss, by double backward."""
        return self.higher(loss_fn, parts, lambda loss: hvp.exact(self.parameters, v, loss))

    def higher(
        self, loss_fn: LossFunction, parts: Sequence[Any], derivatives: Callable[[Tensor], list[Tensor]]
    ) -> list[Tensor]:
        """Derivatives of second or higher order, one tensor per parameter, averaged over parts and ranks.

        Args:
            loss_fn, parts: see ``of``.
            derivatives: computes them for one summed loss, and is linear in it.
        """
        with hvp.twice_differentiable():
            return self._averaged(*self._summed(loss_fn, parts, derivatives))[0]

    def _summed(
        self, loss_fn: LossFunction, parts: Sequence[Any], derivatives: Callable[[Tensor], list[Tensor]]
    ) -> tuple[list[Tensor], Tensor, float]:
        """Sums over this rank's parts: of the derivatives of each loss, of the losses, of the sizes."""
        sums: list[Tensor] = []
        losses, total = [], 0.0
        for part in parts:
            with at_precision(self.precision, self.device):
                loss, size = loss_fn(self.model, part)
            tensors = derivatives(loss)
            sums = list(torch._foreach_add(sums, tensors)) if sums else tensors
            losses.append(loss.detach().to(sums[0].dtype))  # autocast may have left it in half precision
            total += size
        return sums, sum(losses[1:], start=losses[0]), total

    def _averaged(self, sums: list[Tensor], loss_sum: Tensor, size: float) -> tuple[list[Tensor], Tensor]:
        """Sums over ranks, divided by the size over ranks: of a batch without targets, zeros.

        New tensors, since autograd may return one tensor twice.
        """
        if self.all_reduce is None:
            return list(torch._foreach_div(sums, size or 1)), loss_sum / (size or 1)
        flat = torch.cat([*(t.reshape(-1) for t in sums), loss_sum.reshape(1), loss_sum.new_tensor([size])])
        self.all_reduce(flat)
        flat.div_(flat[-1].where(flat[-1] != 0, 1))
        pieces = flat[:-2].split([t.numel() for t in sums])
        # each in its own type, should the model mix two; the loss as a copy, since a view would keep the whole gradient
        return [piece.view_as(t).to(t.dtype) for piece, t in zip(pieces, sums, strict=True)], flat[-2].clone()
