"""How the scales move along the derivatives of one iteration, and their bounds."""

import torch
from torch import Tensor

from gradinit_mt.core.config import ADAM_EPS, GradInitConfig
from gradinit_mt.core.state import KINDS, OBJECTIVE, State


class Scales:
    """m and its Adam moments, on the device."""

    def __init__(self, config: GradInitConfig, parameters: list[Tensor], state: State) -> None:
        device = parameters[0].device
        self.config = config
        self.m = state.scales.to(device, copy=True)  # [blocks], float64
        self.moments = state.moments.to(device, copy=True)  # [2 kinds, 2, blocks], see ``State``
        of_matrix = config.lower_bound, config.upper_bound
        of_vector = config.vector_lower_bound, config.vector_upper_bound
        bounds = [of_matrix if p.dim() > 1 else of_vector for p in parameters]
        self.lower, self.upper = torch.tensor(bounds, dtype=self.m.dtype, device=device).unbind(1)

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
