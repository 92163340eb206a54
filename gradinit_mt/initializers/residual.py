"""The residual blocks of Post-LN layers, x <- LN(w x + f(x)), and where their w is."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gradinit_mt.core import GradInitError
from gradinit_mt.initializers.layers import layers_of


@dataclass(frozen=True)
class ResidualBlock:
    """One residual block of a layer."""

    layer: Any
    name: str  # self_attn, encoder_attn or final, as fairseq calls the block's LayerNorm

    @property
    def norm(self) -> nn.LayerNorm:
        """The LayerNorm of the residual sum."""
        return getattr(self.layer, f"{self.name}_layer_norm")

    @property
    def last(self) -> nn.Linear:
        """The linear layer that ends f."""
        return self.layer.fc2 if self.name == "final" else getattr(self.layer, self.name).out_proj

    @property
    def weight(self) -> Tensor | None:
        """w, [channels], if the model has residual weights."""
        return getattr(self.layer, f"{self.name}_residual_weight", None)


def residual_blocks_of(model: nn.Module, stack: str) -> list[ResidualBlock]:
    """The residual blocks of the encoder or of the decoder, in the order of the forward pass.

    Raises:
        GradInitError: the stack has no layers, or they are Pre-LN.
    """
    blocks = []
    for layer in layers_of(model, stack):
        if getattr(layer, "normalize_before", False):
            raise GradInitError(
                f"--initializer: weights of the residual sums are for Post-LN; drop --{stack}-normalize-before"
            )
        names = ("self_attn", "encoder_attn", "final")
        blocks += [
            ResidualBlock(layer, name) for name in names if getattr(layer, f"{name}_layer_norm", None) is not None
        ]
    return blocks


@torch.no_grad()
def set_weight(block: ResidualBlock, omega: float) -> None:
    """Makes omega the block's w.

    Without residual weights in the model, f is divided by omega instead: LN(omega x + f) = LN(x + f / omega), but for
    LayerNorm's epsilon.
    """
    if block.weight is not None:
        block.weight.fill_(omega)
    else:
        block.last.weight.div_(omega)
        block.last.bias.div_(omega)
