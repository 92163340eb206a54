"""How one batch becomes the two overlapping parts S and S~ (Zhu et al., 2021, section 3.2)."""

from collections.abc import Sequence
from typing import Any

import torch


def overlapping_halves(size: int, generator: torch.Generator) -> tuple[list[int], list[int]]:
    """The members of S and of S~ for a batch of ``size`` sentences.

    The sentences are shuffled. S is the first two thirds and S~ the last two thirds, rounded up, so each shares half
    of its sentences with the other. Without the shuffling S and S~ would differ in kind, since a batch comes sorted by
    length. One or two sentences make two equal parts.

    Raises:
        ValueError: the batch is empty.
    """
    if size < 1:
        raise ValueError(f"a batch has {size} sentences, expected at least one sentence")
    order = torch.randperm(size, generator=generator, device=generator.device).tolist()
    part = -(-2 * size // 3)
    return order[:part], order[size - part :]


def shared_out(members: list, steps: int) -> list[list]:
    """An equal share for every step, give or take one member. With fewer members than steps, members repeat."""
    if len(members) < steps:
        return [[members[step % len(members)]] for step in range(steps)]
    return [members[step * len(members) // steps : (step + 1) * len(members) // steps] for step in range(steps)]


def parts_by_step(s: Sequence[Any], s_tilde: Sequence[Any], steps: int) -> list[list]:
    """The parts of S in equal shares, one for each look-ahead step.

    Raises:
        ValueError: S or S~ has no part, or the steps cannot share the parts of S equally.
    """
    if not (len(s) and len(s_tilde)):
        raise ValueError("S and S~ need at least one part each")
    if len(s) % steps:
        raise ValueError(f"S has {len(s)} parts, expected a multiple of the {steps} look-ahead steps")
    return shared_out(list(s), steps)


def seeded(*numbers: int) -> torch.Generator:
    """A generator whose seed depends on all of these numbers."""
    seed = 0
    for number in numbers:
        seed = (seed * 1_000_003 + number) % 2**63
    return torch.Generator().manual_seed(seed)
