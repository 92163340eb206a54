"""DS-Init: the deeper a layer, the smaller its matrices.

Zhang, Titov and Sennrich, "Improving Deep Transformer with Depth-Scaled Initialization and Merged Attention", EMNLP
2019 (arXiv 1908.11365), with its alpha of 1. For a matrix of layer l = 1, 2, ... of its stack:

    W ~ U(-r / sqrt(l), r / sqrt(l)),    r = sqrt(6 / (fan_in + fan_out))

So queries, keys and values have xavier's gain of 1 here, which is not fairseq's. Embeddings and biases stay as they
are.
"""

import torch

from gradinit_mt.initializers.layers import STACKS, layers_of, matrices
from gradinit_mt.initializers.registry import Start, register


@register("ds-init", about="matrices shrink with depth (Zhang et al., 2019)")
@torch.no_grad()
def ds_init(start: Start) -> None:
    """Draws the layers' matrices; raises GradInitError if a stack has no layers."""
    generator = start.generator("ds-init")
    for stack in STACKS:
        for depth, layer in enumerate(layers_of(start.model, stack), start=1):
            for matrix in matrices(layer):
                weight = matrix.linear.weight
                bound = (6 / (sum(weight.shape) * depth)) ** 0.5
                weight.copy_(torch.empty(weight.shape).uniform_(-bound, bound, generator=generator))
