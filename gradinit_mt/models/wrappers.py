"""fairseq's data-parallel wrappers."""

from typing import Any

from fairseq.models import BaseFairseqModel


def unwrapped(model: Any) -> BaseFairseqModel:
    """The model itself, inside whatever wrappers of data-parallel training."""
    while not isinstance(model, BaseFairseqModel):
        model = model.module
    return model
