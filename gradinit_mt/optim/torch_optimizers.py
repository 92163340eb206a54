"""PyTorch's own Adam, AdamW and SGD, which update all tensors in one call.

They are registered beside fairseq's: its Adam updates tensor by tensor, and adds epsilon before it corrects the second
moment's bias.
"""

import ast
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, List

import torch
from fairseq.dataclass import FairseqDataclass
from fairseq.optim import FairseqOptimizer, register_optimizer
from omegaconf import II
from torch import Tensor, nn

from gradinit_mt.common.fields import option


@dataclass
class TorchAdamConfig(FairseqDataclass):
    """Options of Adam and AdamW; the names are those of fairseq's Adam."""

    adam_betas: str = option("decay of the two moments, each in [0, 1)", default="(0.9, 0.999)")
    adam_eps: float = option("added to the root of the second moment, above 0", default=1e-8)
    weight_decay: float = option(
        "weight decay, at least 0: as an L2 penalty (torch_adam), or decoupled (torch_adamw)", default=0.0
    )
    lr: List[float] = II("optimization.lr")


@dataclass
class TorchSGDConfig(FairseqDataclass):
    """Options of SGD; the names are those of fairseq's SGD."""

    momentum: float = option("momentum, in [0, 1)", default=0.0)
    weight_decay: float = option("L2 penalty, at least 0", default=0.0)
    lr: List[float] = II("optimization.lr")


class TorchOptimizer(FairseqOptimizer):
    """One of PyTorch's optimizers in fairseq's frame: fused where the device allows it."""

    kind: Callable[..., torch.optim.Optimizer]

    def __init__(self, cfg: FairseqDataclass, params: Iterable[nn.Parameter]) -> None:
        super().__init__(cfg)
        self._optimizer = self.kind(list(params), fused=True, **self.optimizer_config)

    @property
    def supports_flat_params(self) -> bool:
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


class _TorchAdamBase(TorchOptimizer):
    @property
    def optimizer_config(self) -> dict[str, Any]:
        betas = ast.literal_eval(str(self.cfg.adam_betas))
        rate = {"lr": self.cfg.lr[0], "weight_decay": self.cfg.weight_decay}
        return {**rate, "betas": tuple(betas), "eps": self.cfg.adam_eps}


@register_optimizer("torch_adam", dataclass=TorchAdamConfig)
class TorchAdam(_TorchAdamBase):
    """Adam (Kingma and Ba, 2015)."""

    kind = torch.optim.Adam


@register_optimizer("torch_adamw", dataclass=TorchAdamConfig)
class TorchAdamW(_TorchAdamBase):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019)."""

    kind = torch.optim.AdamW


@register_optimizer("torch_sgd", dataclass=TorchSGDConfig)
class TorchSGD(TorchOptimizer):
    """SGD with momentum."""

    kind = torch.optim.SGD

    @property
    def optimizer_config(self) -> dict[str, Any]:
        return {"lr": self.cfg.lr[0], "momentum": self.cfg.momentum, "weight_decay": self.cfg.weight_decay}
