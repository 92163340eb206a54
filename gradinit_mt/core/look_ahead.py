"""The look-ahead: an optimizer's hyper-parameters, its first steps in units of the learning rate, and held tensors."""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from gradinit_mt.core.config import GradInitConfig

# The optimizer classes whose first steps are known, without their subclasses, which may begin otherwise. Nesterov's
# momentum counts as plain momentum.
_STEP_OF = {torch.optim.Adam: "adam", torch.optim.AdamW: "adam", torch.optim.SGD: "sgd"}


def known_step(optimizer: torch.optim.Optimizer) -> str:
    """``adam`` or ``sgd`` for an optimizer of PyTorch; if its first steps are not known, what it is."""
    name, groups = type(optimizer).__name__, optimizer.param_groups
    for group in groups:
        if group.get("momentum") and group.get("dampening"):
            return f"{name} with dampening"
        for option in ("betas", "eps", "momentum"):
            if group.get(option) != groups[0].get(option):
                return f"{name} with different {option} in its groups"
    return _STEP_OF.get(type(optimizer), name)


def step_settings(optimizer: torch.optim.Optimizer, step: str) -> dict[str, Any]:
    """The settings ``step`` and ``step_*`` of ``GradInitConfig``, read from the optimizer's first parameter group.

    If it is another optimizer with betas, such as RAdam, they serve where the caller chooses Adam's steps instead.
    """
    group = optimizer.param_groups[0]
    if "betas" in group:
        eps = group.get("eps", GradInitConfig.step_eps)  # Lion has none
        return {"step": step, "step_betas": tuple(group["betas"]), "step_eps": eps}
    return {"step": step, "step_momentum": group.get("momentum", GradInitConfig.step_momentum)}


def first_steps(config: GradInitConfig) -> Callable[[list[Tensor]], list[Tensor]]:
    """A function that returns what each next step subtracts, given its gradient, which it may overwrite."""
    if config.step == "sgd":
        return MomentumSteps(config.step_momentum).direction
    if config.look_ahead > 1 or config.step_from_gradient:
        settings = config.step_betas, config.step_eps, config.step_eps_first, config.step_from_gradient
        return AdamSteps(*settings).direction
    return _sign


def _sign(g: list[Tensor]) -> list[Tensor]:
    """The paper's single step of Adam, without epsilon: the sign of the gradient, in place."""
    torch._foreach_sign_(g)
    return g


class AdamSteps:
    """Adam (Kingma and Ba, 2015, algorithm 1).

    With ``eps_first``, eps is added before the bias of the second moment is corrected, as in fairseq's own Adam (the
    paper's remark on efficiency, section 2). In step t it then weighs 1/sqrt(1 - beta2^t) times as much: 7 times in the
    first step at a beta2 of 0.98.

    With ``from_gradient``, the second moment starts from the first gradient's square instead of from 0: GI-Adam
    (Kalra and Barkeshli, 2024).
    """

    def __init__(
        self, betas: tuple[float, float], eps: float, eps_first: bool = False, from_gradient: bool = False
    ) -> None:
        self.betas, self.eps, self.eps_first, self.from_gradient, self.done = betas, eps, eps_first, from_gradient, 0
        self.first: list[Tensor] = []
        self.second: list[Tensor] = []

    @torch.no_grad()
    def direction(self, g: list[Tensor]) -> list[Tensor]:
        """What the next step subtracts, given the gradient."""
        beta1, beta2 = self.betas
        if not self.done:
            self.first = [torch.zeros_like(t) for t in g]
            self.second = [t.square() if self.from_gradient else torch.zeros_like(t) for t in g]
        self.done += 1
        torch._foreach_lerp_(self.first, g, 1 - beta1)
        torch._foreach_mul_(self.second, beta2)
        torch._foreach_addcmul_(self.second, g, g, 1 - beta2)
        deviation = torch._foreach_div(self.second, 1 - beta2**self.done)
        torch._foreach_sqrt_(deviation)
        torch._foreach_add_(deviation, self.eps / math.sqrt(1 - beta2**self.done) if self.eps_first else self.eps)
        direction = torch._foreach_div(self.first, deviation)
        torch._foreach_div_(direction, 1 - beta1**self.done)
        return list(direction)


class MomentumSteps:
    """SGD with momentum as in PyTorch: v = momentum * v + g."""

    def __init__(self, momentum: float) -> None:
        self.momentum = momentum
        self.velocity: list[Tensor] = []

    @torch.no_grad()
    def direction(self, g: list[Tensor]) -> list[Tensor]:
        """What the next step subtracts, given the gradient; the first gradient's tensors become the velocity."""
        if not self.velocity:
            self.velocity = list(g)
        else:
            torch._foreach_mul_(self.velocity, self.momentum)
            torch._foreach_add_(self.velocity, g)
        return self.velocity


@contextmanager
def holding(held: Sequence[tuple[nn.Module, str]]) -> Iterator[list[tuple[Tensor, Tensor]]]:
    """Gives each held use a copy of its tensor; yields the pairs (tensor, copy) and puts the tensors back."""
    originals: list[Tensor] = [getattr(module, name) for module, name in held]
    copies = [nn.Parameter(original.detach().clone()) for original in originals]
    try:
        for (module, name), copy in zip(held, copies, strict=True):
            setattr(module, name, copy)
        yield list(zip(originals, copies, strict=True))
    finally:
        for (module, name), original in zip(held, originals, strict=True):
            setattr(module, name, original)
