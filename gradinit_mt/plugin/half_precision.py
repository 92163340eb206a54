"""Learning in float32 although the trainer has already cast the model to half precision."""

import copy
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from fairseq.optim import FairseqOptimizer
from torch import nn


@contextmanager
def in_float32(model: nn.Module, optimizer: FairseqOptimizer) -> Iterator[nn.Module]:
    """Yields a float32 model to learn on: ``model`` itself, or a copy whose values ``model`` receives at the end.

    A model in half precision is never cast: data-parallel wrappers attach hooks to its parameters, and a change of
    type would lose them. An optimizer with float32 master copies gets the float32 values unrounded, so the first update
    starts from the learned values themselves. They are rounded once, in the model. Buffers are taken over as well,
    since an initializer may set residual weights.
    """
    if next(model.parameters()).dtype == torch.float32:
        yield model
        return
    learned = copy.deepcopy(model).float()
    yield learned
    with torch.no_grad():
        values = {id(p): value for p, value in zip(model.parameters(), learned.parameters(), strict=True)}
        for parameter in model.parameters():
            parameter.copy_(values[id(parameter)])
        for buffer, value in zip(model.buffers(), learned.buffers(), strict=True):
            buffer.copy_(value)
        _fill_master_copies(optimizer, values)


def master_copies(optimizer: FairseqOptimizer) -> list[torch.Tensor]:
    """The optimizer's float32 copies: one per parameter, or a flat one per device, or none.

    Memory-efficient optimizers and automatic mixed precision keep none.
    """
    copies = getattr(optimizer, "fp32_params", [])
    return [copy.detach() for copy in (copies.values() if isinstance(copies, dict) else copies)]


def _fill_master_copies(optimizer: FairseqOptimizer, values: dict[int, nn.Parameter]) -> None:
    """Copies the float32 values (by ``id`` of the model's parameter) to the optimizer's master copies."""
    masters = getattr(optimizer, "fp32_params", [])
    if isinstance(masters, dict):
        for device, flat in masters.items():
            own = [p for p in optimizer.fp16_params if len(masters) == 1 or p.device.index == device]
            flat.copy_(torch.cat([values[id(p)].reshape(-1) for p in own]))
    else:
        for master, parameter in zip(masters, optimizer.fp16_params if masters else [], strict=True):
            master.copy_(values[id(parameter)])
