"""GI-Adam: Adam whose second moment starts from the first gradient's square, v_0 = g_1^2, instead of from 0.

Kalra and Barkeshli, "Why Warmup the Learning Rate?", 2024 (arXiv 2406.09405). The bias correction stays. It
then makes the first step sqrt(1 - beta2) times as long as that of Adam, 0.14 times at a beta2 of 0.98, and step t about
sqrt(1 - beta2^t) times.
"""

from collections.abc import Callable
from typing import Any

import torch
from fairseq.optim import register_optimizer
from torch import Tensor

from gradinit_mt.optim.torch_optimizers import TorchAdamConfig, TorchAdamOptimizer


class GIAdam(torch.optim.AdamW):
    """PyTorch's AdamW from that start: the weight decay is decoupled. A saved state has the same entries."""

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One update; as that of AdamW, it returns the closure's value."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        new = [
            (p, group)
            for group in self.param_groups
            for p in group["params"]
            if p.grad is not None and p not in self.state
        ]
        # PyTorch's scaler leaves it to a fused optimizer to skip an update whose gradients have overflowed
        if new and getattr(self, "found_inf", None):
            return loss
        for p, group in new:
            self.state[p] = _start(p, p.grad, on_device=bool(group["fused"] or group["capturable"]))
        super().step()
        return loss


def _start(p: Tensor, gradient: Tensor, on_device: bool) -> dict[str, Tensor]:
    """The state of a tensor before its first update, as Adam makes it but for the second moment."""
    count = torch.zeros((), dtype=torch.float32, device=p.device if on_device else "cpu")
    return {"step": count, "exp_avg": torch.zeros_like(p), "exp_avg_sq": gradient.square()}


@register_optimizer("gi_adam", dataclass=TorchAdamConfig)
class FairseqGIAdam(TorchAdamOptimizer):
    """GI-Adam in fairseq's frame."""

    kind = GIAdam
