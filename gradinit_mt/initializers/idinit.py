"""IDInit: the matrices of a residual block preserve their input, and its last one returns almost nothing.

Pan et al., "IDInit: A Universal and Stable Initialization Method for Neural Network Training", ICLR 2025 (arXiv
2503.04626). By output j and input m of a matrix with D_in inputs, biases 0:

    IDI:   W[j, m] = tau      where m = j mod D_in, plus noise N(0, 1e-6^2); tau = 1
    IDIZ:  W[j, m] = eps      where m = j mod D_in,
           W[j, m] = -eps     where m = j + 1 mod D_in; eps = 1e-6

Left open for a Transformer: which matrix is which. Here out_proj and fc2 are IDIZ; q_proj, k_proj, v_proj and fc1 are
IDI.
"""

import torch
from torch import Tensor

from gradinit_mt.initializers.layers import STACKS, layers_of, matrices
from gradinit_mt.initializers.registry import Start, register

TAU, NOISE, EPS = 1.0, 1e-6, 1e-6


@register("idinit", about="identity matrices, and almost 0 at the end of a block (Pan et al., 2025)")
@torch.no_grad()
def idinit(start: Start) -> None:
    """Sets the layers' matrices and biases; raises GradInitError if a stack has no layers."""
    generator = start.generator("idinit")
    for stack in STACKS:
        for layer in layers_of(start.model, stack):
            for matrix in matrices(layer):
                weight = matrix.linear.weight
                if matrix.role in ("out_proj", "fc2"):
                    weight.copy_(EPS * (_identity(weight) - _identity(weight, shift=1)))
                else:
                    noise = torch.randn(weight.shape, generator=generator)
                    weight.copy_(TAU * _identity(weight) + NOISE * noise)
                matrix.linear.bias.zero_()


def _identity(like: Tensor, shift: int = 0) -> Tensor:
    """1 where the input is the output's number plus ``shift``, modulo the number of inputs; [outputs, inputs]."""
    outputs, inputs = like.shape
    rows = torch.arange(outputs)
    found = torch.zeros(outputs, inputs)
    found[rows, (rows + shift) % inputs] = 1
    return found
