"""Admin: each residual sum weighted by what the blocks before it add up to.

Liu et al., "Understanding the Difficulty of Training Transformers", EMNLP 2020. Residual block i of a stack
becomes x_i = LN(w_i x_{i-1} + f_i(x_{i-1})).

Profiled, with one training batch and dropout:

    w_1 = 1,    w_{i+1} = sqrt( Var[w_i x_{i-1}] + Var[f_i(x_{i-1})] )

over all elements of the batch, padding included. As in the authors' code (Transformer-Clinic), each w is in effect as
soon as it is known, in the same forward pass. Variances are averaged over data-parallel ranks.

In closed form (the authors' package admin-torch), for all blocks of a stack of n alike:

    w = sqrt( (n + 1) / ln(n + 1) - 1 )

See ``residual.set_weight`` for models without residual weights.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from gradinit_mt.initializers.layers import STACKS
from gradinit_mt.initializers.registry import Start, register
from gradinit_mt.initializers.residual import ResidualBlock, residual_blocks_of, set_weight


@register("admin-closed", about="Admin's residual weights by their closed form (Liu et al., 2020)")
def admin_closed(start: Start) -> None:
    """Weighs all residual sums of a stack alike; raises GradInitError, see ``residual_blocks_of``."""
    for blocks in [residual_blocks_of(start.model, stack) for stack in STACKS]:
        for block in blocks:
            set_weight(block, closed_form(len(blocks)))


def closed_form(blocks: int) -> float:
    """w of every block in a stack of ``blocks``."""
    return math.sqrt((blocks + 1) / math.log(blocks + 1) - 1)


@register("admin", about="Admin's residual weights, profiled on one batch with dropout (Liu et al., 2020)")
@torch.no_grad()
def admin(start: Start) -> None:
    """Weighs each residual sum by the profile of the first batch; raises GradInitError, see ``residual_blocks_of``."""
    stacks = [residual_blocks_of(start.model, stack) for stack in STACKS]
    with ExitStack() as hooks, _dropout(start):
        profiles = [hooks.enter_context(_profiled(blocks, start.all_reduce)) for blocks in stacks]
        start.loss_fn(start.model, next(start.batches))
    for blocks, profile in zip(stacks, profiles, strict=True):
        for block, omega in zip(blocks, profile.weights, strict=True):
            set_weight(block, omega)


@contextmanager
def _dropout(start: Start) -> Iterator[None]:
    """Dropout as in training, with draws that depend on the seed alone, and no LayerDrop."""
    device = next(start.model.parameters()).device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        torch.manual_seed(start.generator("admin").initial_seed())
        try:
            for module in start.model.modules():
                module.training = not isinstance(module, nn.ModuleList)
            yield
        finally:
            start.model.eval()


class _Profile:
    """Weighs the residual sums of one stack in its forward pass; the model's own weights are 1."""

    def __init__(self, all_reduce: Callable[[Tensor], Any] | None) -> None:
        self.all_reduce = all_reduce
        self.weights: list[float] = []
        self.next = 1.0

    def enter_layer(self, _: nn.Module, inputs: tuple) -> None:
        self.x = inputs[0]

    def before_norm(self, _: nn.Module, inputs: tuple) -> Tensor:
        f = inputs[0] - self.x
        kept = self.next * self.x
        self.weights.append(self.next)
        self.next = math.sqrt(self._mean(kept.var(correction=0) + f.var(correction=0)))
        return kept + f

    def after_norm(self, _: nn.Module, __: tuple, output: Tensor) -> None:
        self.x = output

    def _mean(self, value: Tensor) -> float:
        """Over the ranks."""
        both = torch.stack([value, torch.ones_like(value)])
        if self.all_reduce is not None:
            self.all_reduce(both)
        return float(both[0] / both[1])


@contextmanager
def _profiled(blocks: list[ResidualBlock], all_reduce: Callable[[Tensor], Any] | None) -> Iterator[_Profile]:
    profile = _Profile(all_reduce)
    hooks = [layer.register_forward_pre_hook(profile.enter_layer) for layer in {b.layer: None for b in blocks}]
    for block in blocks:
        hooks.append(block.norm.register_forward_pre_hook(profile.before_norm))
        hooks.append(block.norm.register_forward_hook(profile.after_norm))
    try:
        yield profile
    finally:
        for hook in hooks:
            hook.remove()
