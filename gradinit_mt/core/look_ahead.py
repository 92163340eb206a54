"""The first steps of the real optimizers, in units of the learning rate, for a look-ahead of several."""

import math

import torch
from torch import Tensor

ADAM_EPS = 1e-8


class AdamSteps:
    """Adam (Kingma and Ba, 2015, algorithm 1).

    Args:
        betas: decay of the two moments.
        eps: what keeps the denominator above zero.
        eps_first: whether eps is added before the bias of the second moment is corrected, as fairseq's own Adam does
            (the paper's remark on efficiency, section 2); it then weighs 1/sqrt(1 - beta2^t) times as much in step t,
            7 times in the first one at a beta2 of 0.98.
    """

    def __init__(self, betas: tuple[float, float], eps: float = ADAM_EPS, eps_first: bool = False) -> None:
        self.betas, self.eps, self.eps_first, self.done = betas, eps, eps_first, 0
        self.first: list[Tensor] = []
        self.second: list[Tensor] = []

    @torch.no_grad()
    def direction(self, g: list[Tensor]) -> list[Tensor]:
        """What the next step subtracts, given the gradient."""
        beta1, beta2 = self.betas
        if not self.done:
            self.first, self.second = [torch.zeros_like(t) for t in g], [torch.zeros_like(t) for t in g]
        self.done += 1
        torch._foreach_lerp_(self.first, g, 1 - beta1)
        torch._foreach_mul_(self.second, beta2)
        torch._foreach_addcmul_(self.second, g, g, 1 - beta2)
        deviation = torch._foreach_div(self.second, 1 - beta2**self.done)
        torch._foreach_sqrt_(deviation)
        torch._foreach_add_(deviation, self.eps / math.sqrt(1 - beta2**self.done) if self.eps_first else self.eps)
        direction = torch._foreach_div(self.first, deviation)
        torch._foreach_div_(direction, 1 - beta1**self.done)
        return direction


class MomentumSteps:
    """SGD with momentum as PyTorch has it: v = momentum * v + g."""

    def __init__(self, momentum: float) -> None:
        self.momentum = momentum
        self.velocity: list[Tensor] = []

    @torch.no_grad()
    def direction(self, g: list[Tensor]) -> list[Tensor]:
        """What the next step subtracts, given the gradient."""
        if not self.velocity:
            self.velocity = [t.clone() for t in g]
        else:
            torch._foreach_mul_(self.velocity, self.momentum)
            torch._foreach_add_(self.velocity, g)
        return self.velocity
