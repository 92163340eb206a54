"""torch.compile for the layers of a model."""

from torch import nn

from gradinit_mt.core import GradInitError
from gradinit_mt.models.post_ln_transformer import PostLNTransformer
from gradinit_mt.models.wrappers import unwrapped


def require_compilable(model: nn.Module) -> PostLNTransformer:
    """The model without its wrappers; raises GradInitError if it is not one of this package."""
    model = unwrapped(model)
    if not isinstance(model, PostLNTransformer):
        raise GradInitError(f"--compile-layers is for post_ln_transformer models, not {type(model).__name__}")
    return model


def compile_layers(model: nn.Module) -> None:
    """Compiles each layer in place at its next use; parameters and their names stay.

    After GradInit: compiled layers have no second derivatives.

    Raises:
        GradInitError: the model is not one of this package.
    """
    model = require_compilable(model)
    for layer in [*model.encoder.layers, *model.decoder.layers]:
        layer.compile()
