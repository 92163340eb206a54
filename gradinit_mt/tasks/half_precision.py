"""Learning in float32 under a trainer that has already cast the model to half precision."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from fairseq.optim import FairseqOptimizer
from torch import nn


@contextmanager
def in_float32(model: nn.Module, optimizer: FairseqOptimizer) -> Iterator[None]:
    """Gives the block a float32 model; afterwards the model is in its own type again.

    An optimizer that holds float32 master copies gets the float32 values as they are: rounding to half precision
    happens once, in the model, and the first update starts from the learned values themselves.
    """
    dtype = next(model.parameters()).dtype
    if dtype == torch.float32:
        yield
        return
    model.float()  # swaps the data of each parameter; optimizer and wrappers keep the same Parameter objects
    try:
        yield
        _fill_master_copies(optimizer)
    finally:
        model.to(dtype)


@torch.no_grad()
def _fill_master_copies(optimizer: FairseqOptimizer) -> None:
    masters = getattr(optimizer, "fp32_params", None)
    if masters is None:  # a memory-efficient optimizer, or full precision: no copies
        return
    if isinstance(masters, dict):  # one flat tensor per device
        for device, flat in masters.items():
            values = [p.reshape(-1) for p in optimizer.fp16_params if len(masters) == 1 or p.device.index == device]
            flat.copy_(torch.cat(values))
    else:
        for master, parameter in zip(masters, optimizer.fp16_params, strict=True):
            master.copy_(parameter)
