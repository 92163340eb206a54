"""The stacks of layers of a fairseq model, for the signal that GradInit keeps in them."""

from collections.abc import Callable

from fairseq.models import BaseFairseqModel
from torch import Tensor, nn

from gradinit_mt.core import GradInitError, Stack

_INPUTS = {"encoder": "src_tokens", "decoder": "prev_output_tokens"}


def stacks_of(model: BaseFairseqModel) -> list[Stack]:
    """Encoder and decoder; their states are [time, batch, channels].

    Raises:
        GradInitError: one of them has no layers.
    """
    stacks = []
    for name, tokens in _INPUTS.items():
        part = getattr(model, name, None)
        layers = getattr(part, "layers", ())
        if not len(layers):
            raise GradInitError(
                f"the signal is measured between layers, and the {name} of {type(model).__name__} has none: give "
                "--gradinit-signal-weight 0, or --gradinit-form paper"
            )
        # by index: a list with LayerDrop draws random numbers where it is iterated
        layers = [layers[index] for index in range(len(layers))]
        stacks.append(Stack(layers, _real_tokens(tokens, part)))
    return stacks


def _real_tokens(tokens: str, part: nn.Module) -> Callable[[dict], Tensor]:
    def real(sample: dict) -> Tensor:
        return sample["net_input"][tokens].ne(part.padding_idx).t()

    return real
