"""Data-parallel ranks: sums over them, and decisions that the first one takes for all."""

from collections.abc import Callable
from typing import TypeVar

import torch
import torch.distributed
from fairseq.distributed import utils

from gradinit_mt.core import GradInitError

T = TypeVar("T")


def rank_and_world_size() -> tuple[int, int]:
    """This process's data-parallel rank, and the number of ranks; (0, 1) if it is the only one."""
    if not torch.distributed.is_initialized():
        return 0, 1
    return utils.get_data_parallel_rank(), utils.get_data_parallel_world_size()


def sum_over_ranks(tensor: torch.Tensor) -> None:
    """Sums a tensor over all ranks, in place."""
    utils.all_reduce(tensor, group=utils.get_data_parallel_group())


def from_first_rank(load: Callable[[], T]) -> T:
    """What ``load()`` returns or raises on the first rank, on every rank, so that all take the same decision."""
    rank, world_size = rank_and_world_size()
    if world_size == 1:
        return load()
    holder: list = [None]
    if rank == 0:
        try:
            holder = [load()]
        except GradInitError as error:
            holder = [error]
    torch.distributed.broadcast_object_list(holder, src=0)
    if isinstance(holder[0], GradInitError):
        raise holder[0]
    return holder[0]
