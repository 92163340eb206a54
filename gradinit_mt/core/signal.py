"""How much of what tells one token from another survives a stack of Transformer layers.

Of the states x_t of all tokens t behind a layer, the *signal* is the share of their energy that is not common to all,

    signal = sum_t |x_t - mean x|^2 / sum_t |x_t|^2,

from 0 (all tokens look alike) to 1. The first steps of an optimizer move every weight in a direction that is common to
most tokens (the frequent words become likely, whatever the context); in a Post-LN Transformer each LayerNorm then takes
from the rest what was added in common, and behind a few layers nothing is left to learn from. The loss does not see it
while the model learns the frequency of words.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from fairseq.models import FairseqEncoderDecoderModel
from torch import Tensor

from gradinit_mt.core import GradInitError

STACKS = ("encoder", "decoder")
LEAST = 1e-12  # a share below this, of tokens that look alike to the last bit, counts as this

LossFunction = Callable[[FairseqEncoderDecoderModel, dict], tuple[Tensor, float]]


def signal(states: Tensor, real: Tensor) -> Tensor:
    """The share defined above, a scalar.

    Args:
        states: [time, batch, channels].
        real: [time, batch], false at padding.
    """
    # sums under a mask: an index of unknown length would make the host wait for the device
    mask = real[..., None]
    x = states.float() * mask
    mean = x.sum(dim=(0, 1)) / mask.sum()
    return ((x - mean) * mask).square().sum() / x.square().sum()


class SignalLoss:
    """The signal lost in the encoder and in the decoder, in nats, averaged over the layers of each and added up.

    A layer's share is -log(signal behind the layer / signal before the first layer).

    Args:
        model: its encoder and decoder have ``layers`` whose first input and output are states.

    Raises:
        GradInitError: one of them has none.
    """

    def __init__(self, model: FairseqEncoderDecoderModel) -> None:
        for name in STACKS:
            if not len(getattr(getattr(model, name, None), "layers", ())):
                raise GradInitError(
                    f"the signal is measured between layers, and the {name} of {type(model).__name__} has none: give "
                    "--gradinit-signal-weight 0, or --gradinit-form paper"
                )
        self.model = model
        self.states: dict[str, list[Tensor]] = {}

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Notes the states of every forward pass."""
        hooks = []
        for name in STACKS:
            layers = getattr(self.model, name).layers
            hooks.append(layers[0].register_forward_pre_hook(self._begin(name)))
            hooks += [layer.register_forward_hook(self._add(name)) for layer in layers]
        try:
            yield
        finally:
            for hook in hooks:
                hook.remove()
            self.states.clear()

    def _begin(self, name: str) -> Callable:
        def hook(module: torch.nn.Module, inputs: tuple[Any, ...]) -> None:
            self.states[name] = [inputs[0]]

        return hook

    def _add(self, name: str) -> Callable:
        def hook(module: torch.nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            self.states[name].append(output[0] if isinstance(output, tuple) else output)

        return hook

    def __call__(self, sample: dict) -> Tensor:
        """Of the forward pass just done on ``sample``, while watching."""
        lost = []
        for stack in STACKS:
            before, *behind = (share.clamp_min(LEAST).log() for share in self._signals(sample, stack))
            lost.append(before - torch.stack(behind).mean())
        return lost[0] + lost[1]

    def left(self, sample: dict, stack: str) -> float:
        """The signal behind the last layer of ``encoder`` or ``decoder``, for the same forward pass."""
        return self._signals(sample, stack)[-1].item()

    def _signals(self, sample: dict, stack: str) -> list[Tensor]:
        """Before the first layer and behind every layer."""
        tokens = sample["net_input"]["src_tokens" if stack == "encoder" else "prev_output_tokens"]
        real = tokens.ne(getattr(self.model, stack).padding_idx).t()
        return [signal(states, real) for states in self.states[stack]]

    def added_to(self, loss_fn: LossFunction, weight: float) -> LossFunction:
        """The loss plus ``weight`` times the signal lost, as a summed loss and its size."""

        def with_signal(model: FairseqEncoderDecoderModel, sample: dict) -> tuple[Tensor, float]:
            with self.watching():
                loss, size = loss_fn(model, sample)
                return loss + weight * size * self(sample), size

        return with_signal
