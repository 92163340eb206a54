"""The stacks of layers of a fairseq model whose signal GradInit preserves."""

from collections.abc import Callable

from fairseq.models import BaseFairseqModel, FairseqDecoder, FairseqEncoder
from torch import Tensor

from gradinit_mt.core import GradInitError, Stack
from gradinit_mt.initializers.layers import layer_list
from gradinit_mt.models.layers import DecoderLayer, EncoderLayer

_INPUTS = {"encoder": "src_tokens", "decoder": "prev_output_tokens"}


def stacks_of(model: BaseFairseqModel) -> list[Stack]:
    """Encoder and decoder; their states are [batch, time, channels] in this package's layers, else [time, batch, ...].

    Raises:
        GradInitError: one of them has no layers.
    """
    stacks = []
    for name, tokens in _INPUTS.items():
        layers = layer_list(model, name)
        if not layers:
            raise GradInitError(
                f"the {name} of {type(model).__name__} has no list of layers, which the forms branches and signal "
                "need: give --gradinit-form paper, or --gradinit-form signal with --gradinit-signal-weight 0"
            )
        batch_first = isinstance(layers[0], EncoderLayer | DecoderLayer)
        stacks.append(Stack(layers, _real_tokens(tokens, getattr(model, name), batch_first)))
    return stacks


def _real_tokens(tokens: str, part: FairseqEncoder | FairseqDecoder, batch_first: bool) -> Callable[[dict], Tensor]:
    def real(sample: dict) -> Tensor:
        mask = sample["net_input"][tokens].ne(part.dictionary.pad())
        return mask if batch_first else mask.t()

    return real
