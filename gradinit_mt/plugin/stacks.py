"""The stacks of layers of a fairseq model whose signal GradInit preserves."""

from collections.abc import Callable

from fairseq.models import BaseFairseqModel, FairseqDecoder, FairseqEncoder
from torch import Tensor

from gradinit_mt.core import GradInitError, Stack

_INPUTS = {"encoder": "src_tokens", "decoder": "prev_output_tokens"}


def stacks_of(model: BaseFairseqModel) -> list[Stack]:
    """Encoder and decoder; their states are [time, batch, channels].

    Raises:
        GradInitError: one of them has no layers.
    """
    stacks = []
    for name, tokens in _INPUTS.items():
        layers = getattr(getattr(model, name, None), "layers", ())
        if not len(layers):
            raise GradInitError(
                f"the signal is measured between layers, but the {name} of {type(model).__name__} has none: give "
                "--gradinit-signal-weight 0 or --gradinit-form paper"
            )
        # by index, because iterating over a list with LayerDrop draws random numbers
        layers = [layers[index] for index in range(len(layers))]
        stacks.append(Stack(layers, _real_tokens(tokens, getattr(model, name))))
    return stacks


def _real_tokens(tokens: str, part: FairseqEncoder | FairseqDecoder) -> Callable[[dict], Tensor]:
    return lambda sample: sample["net_input"][tokens].ne(part.padding_idx).t()
