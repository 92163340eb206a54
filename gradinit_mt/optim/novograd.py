"""NovoGrad: momentum of gradients that are normalized tensor by tensor.

Ginsburg et al., "Stochastic Gradient Methods with Layer-wise Adaptive Moments for Training of Deep Networks", 2019
(arXiv 1905.11286), algorithm 1. PyTorch has none, and that of timm (``NvNovoGrad``) would bring torchvision along.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from fairseq.optim import register_optimizer
from torch import Tensor, nn

from gradinit_mt.common.fields import option
from gradinit_mt.optim.torch_optimizers import TorchAdamConfig, TorchAdamOptimizer


class NovoGrad(torch.optim.Optimizer):
    """For each tensor w with gradient g, a scalar v and a momentum m like w:

    v = beta2 v + (1 - beta2) |g|^2, at first |g|^2
    m = beta1 m + g / (sqrt(v) + eps) + weight_decay w, at first without the term of m
    w = w - lr m
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float,
        betas: tuple[float, float],
        eps: float,
        weight_decay: float,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update; returns the closure's value."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            tensors = [p for p in group["params"] if p.grad is not None]
            if tensors:
                self._update(tensors, group)
        return loss

    def _update(self, tensors: list[Tensor], group: dict[str, Any]) -> None:
        beta1, beta2 = group["betas"]
        gradients = [p.grad for p in tensors if p.grad is not None]
        squares = [norm.square() for norm in torch._foreach_norm(gradients)]
        for p, square in zip(tensors, squares, strict=True):
            if p not in self.state:
                self.state[p] = {"exp_avg": torch.zeros_like(p), "exp_avg_sq": square}
        first, second = ([self.state[p][name] for p in tensors] for name in ("exp_avg", "exp_avg_sq"))
        torch._foreach_lerp_(second, squares, 1 - beta2)
        direction = [g / (v.sqrt() + group["eps"]) for g, v in zip(gradients, second, strict=True)]
        if group["weight_decay"]:
            torch._foreach_add_(direction, tensors, alpha=group["weight_decay"])
        torch._foreach_mul_(first, beta1)
        torch._foreach_add_(first, direction)
        torch._foreach_add_(tensors, first, alpha=-group["lr"])


@dataclass
class NovoGradConfig(TorchAdamConfig):
    """Options of NovoGrad; the names are those of fairseq's Adam."""

    adam_betas: str = option("decay of the two moments, each in [0, 1)", default="(0.95, 0.98)")
    weight_decay: float = option("weight decay, at least 0: added to the normalized gradient", default=0.0)


@register_optimizer("novograd", dataclass=NovoGradConfig)
class FairseqNovoGrad(TorchAdamOptimizer):
    """NovoGrad in fairseq's frame."""

    kind = NovoGrad
    faster: ClassVar[dict[str, bool]] = {}

    @property
    def supports_flat_params(self) -> bool:
        """Not in one flat tensor, whose norm would be that of all gradients."""
        return False
