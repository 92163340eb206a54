"""How much of what distinguishes tokens survives a stack of Transformer layers.

Of the states x_t of all tokens t after a layer, the *signal* is the share of their energy that is not common to all,

    signal = sum_t |x_t - mean x|^2 / sum_t |x_t|^2,

from 0 (all tokens look alike) to 1. The first steps of an optimizer move every weight in a direction that is common to
most tokens: frequent words become likely in every context. This adds a common vector to all states. In a Post-LN
Transformer each LayerNorm then shrinks the rest to make room for it, and after a few layers nothing is left to learn
from. The loss does not show this while the model learns word frequencies.
"""

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from gradinit_mt.core.gradients import LossFunction

LOWEST = 1e-12  # smaller shares, of tokens that are alike to the last bit, count as this

_LAYERS = (nn.TransformerEncoderLayer, nn.TransformerDecoderLayer)


@dataclass(frozen=True)
class Stack:
    """Consecutive layers: each takes the states that the previous one returns.

    Attributes:
        layers: modules whose first argument and whose output (or its first item) are states, [..., channels].
        real: given a part as ``loss_fn`` gets it, a mask that broadcasts to [...]: true at tokens, false at padding.
            None uses the padding mask with which PyTorch's own layers are called, if there is one.
    """

    layers: Sequence[nn.Module]
    real: Callable[[Any], Tensor] | None = None


def find_stacks(model: nn.Module) -> list[Stack]:
    """The stacks of ``nn.TransformerEncoderLayer`` or ``nn.TransformerDecoderLayer`` anywhere in a model.

    Raises:
        ValueError: it has none.
    """
    stacks = [
        Stack(list(module))
        for module in model.modules()
        if isinstance(module, nn.ModuleList)
        and len(module)
        and any(all(isinstance(_uncompiled(layer), kind) for layer in module) for kind in _LAYERS)
    ]
    if not stacks:
        raise ValueError(
            f"{type(model).__name__} has no nn.ModuleList of nn.TransformerEncoderLayer or nn.TransformerDecoderLayer: "
            "pass its layers, as in stacks=[gradinit_mt.core.Stack([layer1, layer2])], and form='signal' if their "
            "matrices have other names than PyTorch's or fairseq's"
        )
    return stacks


def signal(states: Tensor, real: Tensor | None = None) -> Tensor:
    """The share defined above, a scalar.

    Args:
        states: [..., channels].
        real: a mask that broadcasts to [...], false at padding; None if there is no padding.
    """
    places = tuple(range(states.dim() - 1))
    # sums with a mask: an index of unknown length would make the host wait for the device
    real = states.new_ones((), dtype=torch.bool) if real is None else real
    mask = real.expand(states.shape[:-1])[..., None]
    x = states.float() * mask
    mean = x.sum(dim=places) / mask.sum()
    return ((x - mean) * mask).square().sum() / x.square().sum()


class SignalLoss:
    """The signal lost, in nats: averaged over the layers of each stack and summed over the stacks.

    A layer's share is -log(signal after the layer / signal before the first layer).
    """

    def __init__(self, stacks: Sequence[Stack]) -> None:
        self.stacks = list(stacks)
        # by stack, for the latest forward pass
        self._states: dict[int, list[Tensor]] = {}
        self._real: dict[int, Tensor | None] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Notes the states of every forward pass."""
        hooks = []
        for index, stack in enumerate(self.stacks):
            hooks.append(stack.layers[0].register_forward_pre_hook(partial(self._begin, index), with_kwargs=True))
            # a layer may come several times, with the same parameters
            hooks += [layer.register_forward_hook(partial(self._add, index)) for layer in dict.fromkeys(stack.layers)]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
            self._states.clear()
            self._real.clear()

    def __call__(self, part: Any) -> Tensor:
        """The signal lost in the forward pass just done on ``part``, while watching."""
        lost = []
        for index in range(len(self.stacks)):
            before, *after = (share.clamp_min(LOWEST).log() for share in self.signals(part, index))
            lost.append(before - torch.stack(after).mean())
        return sum(lost[1:], start=lost[0])

    def signals(self, part: Any, index: int) -> list[Tensor]:
        """For the same forward pass, the signal in one stack: before the first layer and after every layer.

        Raises:
            ValueError: the forward pass has not called it.
        """
        stack = self.stacks[index]
        if index not in self._states:
            kind = type(stack.layers[0]).__name__
            raise ValueError(
                f"stack {index + 1} of {len(self.stacks)}, of {len(stack.layers)} {kind}, is not called by the loss: "
                "pass the stacks of layers that are"
            )
        real = self._real[index] if stack.real is None else stack.real(part)
        return [signal(states, real) for states in self._states[index]]

    def added_to(self, loss_fn: LossFunction, weight: float) -> LossFunction:
        """The loss plus ``weight`` times the signal lost, as a summed loss and its size."""

        def with_signal(model: nn.Module, part: Any) -> tuple[Tensor, float]:
            with self.watching():
                loss, size = loss_fn(model, part)
                return loss + weight * size * self(part), size

        return with_signal

    def _begin(self, index: int, layer: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> None:
        layers, done = self.stacks[index].layers, len(self._states.get(index, ())) - 1
        if 0 < done < len(layers) and layers[done] is layer:
            return  # the first layer comes again in the middle of the stack
        self._states[index] = [inputs[0] if inputs else next(iter(named.values()))]
        layer = _uncompiled(layer)
        self._real[index] = _real_in_call(layer, inputs, named) if isinstance(layer, _LAYERS) else None

    def _add(self, index: int, layer: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        if index not in self._states:
            raise ValueError(
                f"stack {index + 1} of {len(self.stacks)}, of {len(self.stacks[index].layers)} {type(layer).__name__}, "
                "does not begin with its first layer: pass stacks of layers in the order in which they are called"
            )
        self._states[index].append(output[0] if isinstance(output, tuple) else output)


def _uncompiled(layer: nn.Module) -> nn.Module:
    """The layer inside of what ``torch.compile`` makes of one."""
    return getattr(layer, "_orig_mod", layer)


def _real_in_call(
    layer: nn.TransformerEncoderLayer | nn.TransformerDecoderLayer, inputs: tuple[Any, ...], named: dict[str, Any]
) -> Tensor | None:
    """Which states belong to tokens, in the states' order, from the padding mask in a call of PyTorch's layers."""
    side = "src" if isinstance(layer, nn.TransformerEncoderLayer) else "tgt"
    call = inspect.signature(layer.forward).bind(*inputs, **named).arguments
    padding = call.get(f"{side}_key_padding_mask")
    if padding is None:
        return None
    real = ~padding if padding.dtype == torch.bool else padding == 0  # nn.Transformer makes -inf of true
    return real if layer.self_attn.batch_first else real.t()
