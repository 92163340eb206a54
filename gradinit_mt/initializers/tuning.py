"""Learning one scale per tensor by an objective other than GradInit's: the iterations, common to these initializers."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from typing import Any, Protocol

import torch
import torch.distributed
from torch import Tensor

from gradinit_mt.common.progress import progress
from gradinit_mt.core import GradInitError
from gradinit_mt.core.scaled import ScaledModel
from gradinit_mt.initializers.registry import Start

Found = dict[str, float]


class Tuner(Protocol):
    """An algorithm that learns scales, and its state."""

    iterations: int

    def scales(self) -> Tensor:
        """m, [blocks]."""

    def iterate(self, parts: Sequence[Any]) -> Found:
        """One iteration: moves the scales, and returns what it found at those that the model still holds."""


def tune(
    scaled: ScaledModel,
    tuner: Tuner,
    batches: Iterable[Sequence[Any]],
    on_iteration: Callable[[Found], None] | None = None,
) -> list[Found]:
    """Learns scales; the model then holds m * theta0, or theta0 again if anything is raised.

    Args:
        scaled: the model, with dropout off.
        tuner: the algorithm.
        batches: this rank's parts of one batch for every iteration.
        on_iteration: called with what each iteration found.

    Returns:
        What each iteration found.

    Raises:
        GradInitError: a value is not finite, or the batches end early.
    """
    history: list[Found] = []
    with scaled.restoring():
        for parts in islice(batches, tuner.iterations):
            scaled.load(tuner.scales())
            history.append(tuner.iterate(parts))
            _require_finite(history[-1] | {"sum of the scales": float(tuner.scales().sum())}, len(history))
            if on_iteration is not None:
                on_iteration(history[-1])
        if len(history) < tuner.iterations:
            raise GradInitError(f"the batches ended after iteration {len(history)} of {tuner.iterations}; pass more")
        scaled.load(tuner.scales())
    return history


def _require_finite(found: Found, iteration: int) -> None:
    for name, value in found.items():
        if not math.isfinite(value):
            raise GradInitError(
                f"iteration {iteration}: the {name} is {value}, expected a finite number; the model holds its former "
                "parameters again. Use another seed or initializer"
            )


def parts_of(start: Start, rule: str, choose: Callable[[list[int]], Sequence[Sequence[int]]]) -> Iterator[list[Any]]:
    """Parts of every batch of random sentences.

    Args:
        start: what the initializer is given.
        rule: its name, which determines the order of the sentences together with the seed.
        choose: returns the sentences of each part, given the positions of all in random order.
    """
    generator = start.generator(rule)
    for batch in start.batches:
        yield start.divide(batch, lambda size: choose(torch.randperm(size, generator=generator).tolist()))


@contextmanager
def shown(title: str, iterations: int) -> Iterator[Callable[[Found], None]]:
    """Yields a function to call after every iteration, which shows the progress on the first rank."""
    first = not torch.distributed.is_initialized() or torch.distributed.get_rank() == 0
    with progress(title, iterations, shown=first) as advance:
        yield lambda found: advance(" ".join(f"{name} {value:.4g}" for name, value in found.items()))
