"""Where the scales start, if not at 1."""

from collections.abc import Sequence

import torch
from torch import Tensor

from gradinit_mt.core.blocks import Block
from gradinit_mt.core.signal import Stack

# The linear layers between the states that enter a residual branch and those that leave it, as fairseq and PyTorch name
# them. Queries and keys only decide where attention looks. PyTorch has values and queries in one matrix.
_IN_BRANCHES = ("v_proj", "out_proj", "fc1", "fc2", "linear1", "linear2")


def branches(blocks: Sequence[Block], stacks: Sequence[Stack]) -> Tensor:
    """Scales of (9 n)^(-1/4) for the matrices in the residual branches of a stack of n layers, 1 for the rest.

    This is T-Fixup's factor for a decoder (Huang et al., "Improving Transformer Optimization Through Better
    Initialization", ICML 2020). Here the encoder has it too, and it multiplies any initialization. A matrix is in a
    branch if its linear layer has the name that fairseq or PyTorch gives it; others keep 1.

    Args:
        blocks: of the model, see ``find_blocks``.
        stacks: of the same model.

    Returns:
        [blocks], float64 on the CPU.

    Raises:
        ValueError: no layer has such a matrix.
    """
    factors = {
        id(parameter): (9 * len(stack.layers)) ** -0.25
        for stack in stacks
        for layer in stack.layers
        for name, parameter in layer.named_parameters()
        if _layer_of(name) in _IN_BRANCHES and parameter.dim() > 1
    }
    if not factors:
        raise ValueError(
            f"no matrix in the stacks of layers is called {', '.join(_IN_BRANCHES[:-1])} or {_IN_BRANCHES[-1]}: use "
            "form='signal' (--gradinit-form signal), which starts from scales of 1"
        )
    scales = [factors.get(id(block.parameter), 1.0) for block in blocks]
    return torch.tensor(scales, dtype=torch.float64, device="cpu")


def _layer_of(name: str) -> str:
    """The last part of the name of the layer that a tensor belongs to.

    Of the tensors of a parametrized weight only the first one counts: the magnitude, with ``weight_norm``.
    """
    layer, parametrized, original = name.partition(".parametrizations.")
    if not parametrized:
        layer = name.rpartition(".")[0]
    elif not original.endswith((".original", ".original0")):
        return ""
    return layer.rpartition(".")[2]
