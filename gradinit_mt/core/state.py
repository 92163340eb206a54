"""What learning the scales needs to go on after a stop, and what it ends with."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from gradinit_mt.core.config import GradInitConfig

OBJECTIVE, CONSTRAINT = KINDS = ("objective", "constraint")


@dataclass
class State:
    """All that learning needs to go on after a stop, given the same theta0 and the batches that follow.

    Attributes:
        scales: m, [blocks], float64 on the CPU.
        moments: the two Adam moments of m for objective and for constraint steps, [2 kinds, 2, blocks], likewise.
        steps: how many objective and how many constraint steps were taken.
        history: one entry per iteration: ``loss`` (nats, L(S; theta), of the share of S that the first step sees),
            ``norm`` (of its gradient g), ``kind`` (``objective`` or ``constraint``) and ``ahead`` (what is to be low on
            S~ at theta' in an objective step, else None).
        trajectory: m after every iteration, each [blocks].
        seconds: wall-clock so far, batches and ``on_iteration`` included.
    """

    scales: Tensor
    moments: Tensor
    steps: list[int]
    history: list[dict] = field(default_factory=list)
    trajectory: list[Tensor] = field(default_factory=list)
    seconds: float = 0.0

    @classmethod
    def fresh(cls, blocks: int) -> "State":
        """Scales of 1, before the first iteration."""
        zeros = torch.zeros(2, 2, blocks, dtype=torch.float64)
        return cls(torch.ones(blocks, dtype=torch.float64), zeros, [0, 0])

    @property
    def iteration(self) -> int:
        """How many iterations are done."""
        return len(self.history)


@dataclass(frozen=True)
class Report:
    """What was learned. The model holds m * theta0.

    Attributes:
        config: the settings.
        names: the block names, in the order of ``state.scales``.
        learnable: per block, whether its tensor was not all zeros.
        state: scales, history and trajectory.
    """

    config: GradInitConfig
    names: list[str]
    learnable: list[bool]
    state: State
