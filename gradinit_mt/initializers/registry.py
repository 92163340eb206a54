"""What an initializer is, and all of them by name."""

import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gradinit_mt.core.batches import seeded


@dataclass(frozen=True)
class Start:
    """What an initializer may use.

    Attributes:
        model: in evaluation mode and full precision, without wrappers. Its parameters and buffers hold the model's own
            initialization, and those of all data-parallel ranks are equal.
        seed: of the run.
        loss_fn: ``(model, batch) -> (summed loss in nats, number of target tokens)``.
        batches: this rank's training batches, endless, and the same for the same seed.
        divide: ``(batch, choose) -> parts``, where ``choose(sentences in the batch)`` names the sentences of each part
            by their positions. Parts may overlap, and are batches themselves.
        all_reduce: sums a tensor over data-parallel ranks in place; None for a single process.
    """

    model: nn.Module
    seed: int
    loss_fn: Callable[[nn.Module, Any], tuple[Tensor, float]]
    batches: Iterator[Any]
    divide: Callable[[Any, Callable[[int], Sequence[Sequence[int]]]], list[Any]]
    all_reduce: Callable[[Tensor], Any] | None = None

    def generator(self, rule: str) -> torch.Generator:
        """A generator on the CPU for the draws of one rule: the same on all ranks and whenever a run starts again."""
        return seeded(self.seed, zlib.crc32(rule.encode()))


Initializer = Callable[[Start], None]


@dataclass(frozen=True)
class Rule:
    """An initializer by name."""

    # changes the parameters in place and on all ranks alike; mode and random streams stay as they are
    initialize: Initializer
    about: str
    takes_derivatives: bool


INITIALIZERS: dict[str, Rule] = {}


def register(name: str, about: str, takes_derivatives: bool = False) -> Callable[[Initializer], Initializer]:
    """Decorates an initializer, which ``--initializer name`` then chooses.

    Args:
        name: not taken yet.
        about: what it does, for the option's help text.
        takes_derivatives: it differentiates the loss, so the model's activations must not be checkpointed.
    """

    def add(initialize: Initializer) -> Initializer:
        if name in INITIALIZERS:
            raise ValueError(f"the initializer {name} is registered already: choose another name")
        INITIALIZERS[name] = Rule(initialize, about, takes_derivatives)
        return initialize

    return add
