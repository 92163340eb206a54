"""DeepNorm: residual sums weighted by alpha, matrices of the blocks by beta.

Wang et al., "DeepNet: Scaling Transformers to 1,000 Layers", arXiv 2203.00555. With N encoder and M decoder layers:

    encoder: alpha = 0.81 (N^4 M)^(1/16),  beta = 0.87 (N^4 M)^(-1/16)
    decoder: alpha = (3 M)^(1/4),          beta = (12 M)^(-1/4)

fc1, fc2, v_proj and out_proj are drawn by xavier's normal rule at a gain of beta, q_proj and k_proj at 1. Each block is
x <- LN(alpha x + f(x)): see ``residual.set_weight`` for models without residual weights.
"""

import torch
from torch import nn

from gradinit_mt.initializers.layers import STACKS, layers_of, matrices
from gradinit_mt.initializers.registry import Start, register
from gradinit_mt.initializers.residual import residual_blocks_of, set_weight


@register("deepnorm", about="DeepNorm's residual weights and gains (Wang et al., 2022)")
@torch.no_grad()
def deepnorm(start: Start) -> None:
    """Draws the layers' matrices, and weighs the residual sums.

    Raises:
        GradInitError: a stack has no layers, or they are Pre-LN.
    """
    generator = start.generator("deepnorm")
    sizes = [len(layers_of(start.model, stack)) for stack in STACKS]
    residual_blocks = [residual_blocks_of(start.model, stack) for stack in STACKS]
    for stack, blocks, (alpha, beta) in zip(STACKS, residual_blocks, constants(*sizes), strict=True):
        for layer in layers_of(start.model, stack):
            for matrix in matrices(layer):
                weight, gain = matrix.linear.weight, 1.0 if matrix.role in ("q_proj", "k_proj") else beta
                weight.copy_(nn.init.xavier_normal_(torch.empty(weight.shape), gain, generator))
        for block in blocks:
            set_weight(block, alpha)


def constants(n: int, m: int) -> tuple[tuple[float, float], tuple[float, float]]:
    """(alpha, beta) of the encoder and of the decoder, with n and m layers."""
    depth = (n**4 * m) ** (1 / 16)
    return (0.81 * depth, 0.87 / depth), ((3 * m) ** 0.25, (12 * m) ** -0.25)
