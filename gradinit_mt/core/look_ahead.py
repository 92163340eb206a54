"""The look-ahead: what is known of an optimizer, its first steps in units of the learning rate, and held tensors."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

ADAM_EPS = 1e-8

# The first steps of each optimizer class that are known; Nesterov's momentum counts as plain momentum.
_STEP_OF = {torch.optim.Adam: "adam", torch.optim.AdamW: "adam", torch.optim.SGD: "sgd"}


@dataclass(frozen=True)
class FirstSteps:
    """What the look-ahead needs to know of training's steps.

    Attributes:
        step: ``adam`` or ``sgd``; None where the optimizer's first step is not known.
        betas, eps, eps_first: of ``adam``, see ``AdamSteps``.
        momentum: of ``sgd``.
        gradient_tokens: tokens to which a gradient of training's length belongs: 1 where the criterion averages over
            tokens, the mean target length where it averages over sentences. GradInit's losses are per token, so a step
            of ``sgd`` is this many times longer; one of ``adam`` does not depend on the gradient's length.
    """

    step: str | None
    betas: tuple[float, float] = (0.9, 0.98)
    eps: float = ADAM_EPS
    eps_first: bool = False
    momentum: float = 0.0
    gradient_tokens: float = 1.0

    @classmethod
    def of(cls, optimizer: torch.optim.Optimizer) -> "FirstSteps":
        """Those of one of PyTorch's optimizers, by the settings of its first group of parameters."""
        step = next((step for kind, step in _STEP_OF.items() if isinstance(optimizer, kind)), None)
        settings = optimizer.param_groups[0]
        if step == "adam":
            return cls(step, tuple(settings["betas"]), settings["eps"])
        return cls(step, momentum=settings.get("momentum", 0.0))


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


@contextmanager
def holding(held: Sequence[tuple[nn.Module, str]]) -> Iterator[list[tuple[nn.Parameter, nn.Parameter]]]:
    """Gives each held use a copy of its tensor; yields the pairs (tensor, copy) and puts the tensors back."""
    pairs = [(getattr(module, name), nn.Parameter(getattr(module, name).detach().clone())) for module, name in held]
    try:
        for (module, name), (_, copy) in zip(held, pairs, strict=True):
            setattr(module, name, copy)
        yield pairs
    finally:
        for (module, name), (original, _) in zip(held, pairs, strict=True):
            setattr(module, name, original)
