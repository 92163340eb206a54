"""Orthogonal matrices at xavier's variance.

Saxe, McClelland and Ganguli, "Exact solutions to the nonlinear dynamics of learning in deep linear neural networks",
ICLR 2014. The rows of a wide matrix are orthogonal and of equal length, and so are the columns of a tall one. Its mean
square is that of xavier's rule, gain^2 * 2 / (fan_in + fan_out), with fairseq's gain for queries, keys and values, and
1 for the others. Embeddings and biases stay as they are.
"""

import torch
from torch import nn

from gradinit_mt.initializers.layers import STACKS, layers_of, matrices
from gradinit_mt.initializers.registry import Start, register


@register("orthogonal", about="orthogonal matrices at xavier's variance (Saxe et al., 2014)")
@torch.no_grad()
def orthogonal(start: Start) -> None:
    """Draws the layers' matrices; raises GradInitError if a stack has no layers."""
    generator = start.generator("orthogonal")
    for stack in STACKS:
        for layer in layers_of(start.model, stack):
            for matrix in matrices(layer):
                weight = matrix.linear.weight
                length = matrix.gain * (2 * max(weight.shape) / sum(weight.shape)) ** 0.5
                weight.copy_(nn.init.orthogonal_(torch.empty(weight.shape), length, generator))
