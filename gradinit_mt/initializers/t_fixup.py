"""T-Fixup's scales, with LayerNorm kept.

Huang et al., "Improving Transformer Optimization Through Better Initialization", ICML 2020. With N encoder and M
decoder layers:

    encoder: fc1, fc2, v_proj, out_proj  x 0.67 N^(-1/4)
    decoder: fc1, fc2, v_proj, out_proj  x (9 M)^(-1/4)
    embeddings                           x (9 N)^(-1/4), (9 M)^(-1/4)

These multiply what xavier's rule draws at a gain of 1: v_proj has fairseq's gain undone first, and fc1 and fc2 are made
xavier's. Queries and keys stay as they are. The paper also removes LayerNorm; its code does so by a separate option.

An embedding that both sides share takes the encoder's factor, as in the authors' code.
"""

import torch
from torch import Tensor, nn

from gradinit_mt.initializers.layers import STACKS, feed_forward_at_xavier, layers_of, matrices
from gradinit_mt.initializers.registry import Start, register


@register("t-fixup", about="T-Fixup's scales, LayerNorm kept (Huang et al., 2020)")
@torch.no_grad()
def t_fixup(start: Start) -> None:
    """Scales the layers' matrices and the embeddings; raises GradInitError if a stack has no layers."""
    feed_forward_at_xavier(start.model)
    for stack in STACKS:
        layers = layers_of(start.model, stack)
        factor = 0.67 * len(layers) ** -0.25 if stack == "encoder" else (9 * len(layers)) ** -0.25
        for layer in layers:
            for matrix in matrices(layer):
                if matrix.role == "v_proj":
                    matrix.linear.weight.mul_(factor / matrix.gain)
                elif matrix.role not in ("q_proj", "k_proj"):
                    matrix.linear.weight.mul_(factor)
    for weight, factor in _embeddings(start.model):
        weight.mul_(factor)


def _embeddings(model: nn.Module) -> list[tuple[Tensor, float]]:
    """Each embedding of tokens once, with its factor."""
    found: dict[int, tuple[Tensor, float]] = {}
    for stack in STACKS:
        weight = getattr(model, stack).embed_tokens.weight
        found.setdefault(id(weight), (weight, (9 * len(layers_of(model, stack))) ** -0.25))
    return list(found.values())
