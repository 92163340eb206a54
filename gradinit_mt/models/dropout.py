"""Dropout with one random draw for four elements.

PyTorch's CPU kernel draws for every element of the mask. Here one draw of 64 bits decides over four elements, 16
bits each, and the mask multiplies the elements' bits as integers, which vectorizes for every type. The draws come from
PyTorch's own generator, so that a run is seeded and resumed like any other.
"""

from typing import Any

import torch
import torch.nn.functional as F
from fairseq.modules import FairseqDropout
from torch import Tensor
from torch.autograd.function import once_differentiable

LEVELS = 2**16
_INTEGER = {2: torch.int16, 4: torch.int32, 8: torch.int64}  # by the bytes of an element


def dropout(x: Tensor, p: float) -> Tensor:
    """Sets each element to 0 with probability p, rounded to a multiple of 2**-16, and scales the others to match."""
    if not _is_drawn(x, p):
        return F.dropout(x, p)
    return _Dropout.apply(None, x, p)


def add_dropout(residual: Tensor, x: Tensor, p: float) -> Tensor:
    """``residual + dropout(x, p)``, in the type of the residual if that is the wider one."""
    if not _is_drawn(x, p):
        return residual + F.dropout(x, p)
    return _Dropout.apply(residual, x, p)


def active_probability(module: FairseqDropout) -> float:
    """The probability at which one of fairseq's dropout modules drops now: 0 in evaluation, unless told otherwise."""
    return module.p if module.training or module.apply_during_inference else 0.0


def _is_drawn(x: Tensor, p: float) -> bool:
    return x.device.type == "cpu" and 0 < round(p * LEVELS) < LEVELS


class _Dropout(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, residual: Tensor | None, x: Tensor, p: float) -> Tensor:
        dropped = round(p * LEVELS)
        ctx.scale = LEVELS / (LEVELS - dropped)
        kept = _kept(x, dropped)
        ctx.save_for_backward(kept)
        ctx.kind = x.dtype
        x = _masked(x, kept)
        return x.mul_(ctx.scale) if residual is None else torch.add(residual, x, alpha=ctx.scale)

    @staticmethod
    @once_differentiable  # a second derivative would miss the mask, which multiplies integers
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, Tensor, None]:
        (kept,) = ctx.saved_tensors
        return (grad if ctx.needs_input_grad[0] else None), _masked(grad.to(ctx.kind), kept).mul_(ctx.scale), None


def _kept(x: Tensor, dropped: int) -> Tensor:
    """1 for a kept element and 0 for a dropped one."""
    draws = torch.empty(-(-x.numel() // 4), dtype=torch.int64).random_(-(2**63), None)
    levels = draws.view(torch.int16)[: x.numel()].view(x.shape)
    kept = torch.empty(x.shape, dtype=torch.int8)
    return torch.ge(levels, dropped - LEVELS // 2, out=kept)


def _masked(x: Tensor, kept: Tensor) -> Tensor:
    kind = _INTEGER[x.element_size()]
    return (x.view(kind) * kept.to(kind)).view(x.dtype)
