"""How the scales move along the derivatives of one iteration, and their bounds."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gradinit_mt.core.blocks import Block
from gradinit_mt.core.config import ADAM_EPS, GradInitConfig
from gradinit_mt.core.state import KINDS, OBJECTIVE, State


class Scales:
    """m and its Adam moments, on the device."""

    def __init__(self, config: GradInitConfig, blocks: Sequence[Block], state: State) -> None:
        device = blocks[0].parameter.device
        self.config = config
        self.m = state.scales.to(device, copy=True)  # [blocks], float64
        self.moments = state.moments.to(device, copy=True)  # [2 kinds, 2, blocks], see ``State``
        bounds = [_bounds(config, block) for block in blocks]
        self.lower, self.upper = torch.tensor(bounds, dtype=self.m.dtype, device=device).unbind(1)
        self.m.clamp_(self.lower, self.upper)  # an embedding may have to start below 1

    def update(self, h: Tensor, kind: str, norm: Tensor, earlier: int) -> None:
        """Takes one step of m along h, within the bounds.

        Args:
            h: the derivatives of the objective, or of the gradient norm, by m: [blocks].
            kind: ``objective`` or ``constraint``.
            norm: the gradient norm.
            earlier: number of steps of this kind so far.
        """
        tau = self.config.tau
        if self.config.update == "adam":
            self.m.sub_(tau * self._adam_direction(h, KINDS.index(kind), earlier + 1))
        else:
            # the derivatives by log m of the objective, or of log ||g||, whose size is comparable
            by_log = h * self.m if kind == OBJECTIVE else h * self.m / norm
            self.m.mul_(torch.exp(-tau * by_log.clamp(-1, 1)))
        self.m.clamp_(self.lower, self.upper)

    def _adam_direction(self, h: Tensor, kind: int, steps: int) -> Tensor:
        """What Adam on m subtracts, with the moments of this kind of step."""
        beta1, beta2 = self.config.betas
        first, second = self.moments[kind]
        first.mul_(beta1).add_(h, alpha=1 - beta1)
        second.mul_(beta2).addcmul_(h, h, value=1 - beta2)
        return first / (1 - beta1**steps) / ((second / (1 - beta2**steps)).sqrt() + ADAM_EPS)


def _bounds(config: GradInitConfig, block: Block) -> tuple[float, float]:
    if block.parameter.dim() <= 1:
        return config.vector_lower_bound, config.vector_upper_bound
    upper = min(config.upper_bound, config.embedding_upper_bound) if block.embedding else config.upper_bound
    return config.lower_bound, upper
