"""The state of learning: enough to resume after an interruption, and the result."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

OBJECTIVE, CONSTRAINT = KINDS = ("objective", "constraint")


@dataclass
class State:
    """All that learning needs to resume, given the same theta0 and the batches that follow.

    Attributes:
        scales: m, [blocks], float64 on the CPU, in the order of ``find_blocks``.
        moments: the two Adam moments of m for objective and for constraint steps, [2 kinds, 2, blocks], float64 on the
            CPU.
        steps: the numbers of objective and of constraint steps taken.
        history: one entry per iteration: ``loss`` (nats, L(S; theta) on the share of S that the first step sees),
            ``norm`` (of its gradient g), ``kind`` (``objective`` or ``constraint``) and ``ahead`` (the objective on S~
            at theta' in an objective step, else None).
        trajectory: m after every iteration, each [blocks].
        seconds: wall-clock time so far, including batches and ``on_iteration``.
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
        return cls.starting(torch.ones(blocks, dtype=torch.float64, device="cpu"))

    @classmethod
    def starting(cls, scales: Tensor) -> "State":
        """These scales, [blocks] in float64, before the first iteration."""
        return cls(scales, torch.zeros(2, 2, len(scales), dtype=torch.float64, device="cpu"), [0, 0])

    @property
    def iteration(self) -> int:
        """The number of iterations done."""
        return len(self.history)
