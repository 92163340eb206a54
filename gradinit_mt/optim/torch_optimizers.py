"""PyTorch's own Adam, AdamW, RAdam and SGD, which update all tensors in one call.

They are registered beside fairseq's: its Adam updates tensor by tensor, and adds epsilon before it corrects the second
moment's bias.
"""

import ast
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, List

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.optim import FairseqOptimizer, register_optimizer
from omegaconf import II
from torch import Tensor, nn

from gradinit_mt.common.fields import option


@dataclass
class TorchAdamConfig(FairseqDataclass):
    """Options of Adam and its variants; the names are those of fairseq's Adam."""

    adam_betas: str = option("decay of the two moments, each in [0, 1)", default="(0.9, 0.999)")
    adam_eps: float = option("added to the root of the second moment, above 0", default=1e-8)
    weight_decay: float = option(
        "weight decay, at least 0: as an L2 penalty (torch_adam), or decoupled (torch_adamw, torch_radam, gi_adam)",
        default=0.0,
    )
    lr: List[float] = II("optimization.lr")


@dataclass
class TorchSGDConfig(FairseqDataclass):
    """Options of SGD; the names are those of fairseq's SGD."""

    momentum: float = option("momentum, in [0, 1)", default=0.0)
    weight_decay: float = option("L2 penalty, at least 0", default=0.0)
    lr: List[float] = II("optimization.lr")


class TorchOptimizer(FairseqOptimizer):
    """An optimizer of PyTorch, or made like one, in fairseq's frame.

    Raises:
        ValueError: an option is out of its range.
    """

    kind: Callable[..., torch.optim.Optimizer]
    faster: ClassVar[dict[str, bool]] = {"fused": True}  # its own way of updating all tensors in one call

    def __init__(self, cfg: FairseqDataclass, params: Iterable[nn.Parameter]) -> None:
        super().__init__(cfg)
        self._optimizer = self.kind(list(params), **self.faster, **self.optimizer_config)

    @property
    def supports_flat_params(self) -> bool:
        """Whether fairseq may pass all parameters as one flat tensor: yes, for updates element by element."""
        return True

    def clip_grad_norm(self, max_norm: float, aggregate_norm_fn: Callable[[Tensor], Tensor] | None = None) -> Tensor:
        """The norm of all gradients together, which are scaled down to ``max_norm`` if that is above 0 and lower."""
        gradients = [p.grad for p in self.params if p.grad is not None]
        norm = nn.utils.get_total_norm(gradients)
        if aggregate_norm_fn is not None:
            norm = aggregate_norm_fn(norm)
        if max_norm > 0:
            nn.utils.clip_grads_with_norm_(list(self.params), max_norm, norm)
        return norm


class TorchAdamOptimizer(TorchOptimizer):
    """One with the options of Adam."""

    @property
    def optimizer_config(self) -> dict[str, Any]:
        """The arguments of the optimizer; raises ValueError for an option out of its range."""
        eps = in_range("adam_eps", self.cfg.adam_eps, 0 < self.cfg.adam_eps < math.inf, "a finite number above 0")
        return {**_rate(self.cfg), "betas": _betas(self.cfg.adam_betas), "eps": eps}


def in_range(name: str, value: Any, holds: bool, expected: str) -> Any:
    """The value of an option; raises ValueError unless its range ``holds``."""
    if not holds:
        raise ValueError(f"--{name.replace('_', '-')} is {value}, expected {expected}")
    return value


def _betas(given: str) -> tuple[float, float]:
    try:
        betas = tuple(map(float, ast.literal_eval(str(given))))
    except (ValueError, TypeError, SyntaxError):
        betas = ()
    valid = len(betas) == 2 and all(0 <= beta < 1 for beta in betas)
    in_range("adam_betas", given, valid, "two numbers in [0, 1), such as (0.9, 0.98)")
    return betas[0], betas[1]


def _rate(cfg: FairseqDataclass) -> dict[str, float]:
    decay = cfg.weight_decay
    in_range("weight_decay", decay, 0 <= decay < math.inf, "a finite number, at least 0")
    return {"lr": cfg.lr[0], "weight_decay": decay}


@register_optimizer("torch_adam", dataclass=TorchAdamConfig)
class TorchAdam(TorchAdamOptimizer):
    """Adam (Kingma and Ba, 2015)."""

    kind = torch.optim.Adam


@register_optimizer("torch_adamw", dataclass=TorchAdamConfig)
class TorchAdamW(TorchAdamOptimizer):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019)."""

    kind = torch.optim.AdamW


@register_optimizer("torch_radam", dataclass=TorchAdamConfig)
class TorchRAdam(TorchAdamOptimizer):
    """RAdam (Liu et al., 2020, algorithm 2), with decoupled weight decay as in its authors' code.

    The first updates are momentum without a second moment: 5 of them at a beta2 of 0.98.
    """

    kind = torch.optim.RAdam
    faster: ClassVar[dict[str, bool]] = {"foreach": True}

    @property
    def optimizer_config(self) -> dict[str, Any]:
        """The arguments of Adam, and the kind of weight decay."""
        return {**super().optimizer_config, "decoupled_weight_decay": True}


@register_optimizer("torch_sgd", dataclass=TorchSGDConfig)
class TorchSGD(TorchOptimizer):
    """SGD with momentum."""

    kind = torch.optim.SGD

    @property
    def optimizer_config(self) -> dict[str, Any]:
        """The arguments of the optimizer; raises ValueError for an option out of its range."""
        momentum = in_range("momentum", self.cfg.momentum, 0 <= self.cfg.momentum < 1, "a number in [0, 1)")
        return {**_rate(self.cfg), "momentum": momentum}
