"""Which tensors of a model get a scale."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Block:
    """One trainable tensor: the unit that one scale multiplies."""

    name: str  # the first one under which the model lists the tensor
    parameter: nn.Parameter
    # False for a tensor of zeros, which no scale can change. It still takes the look-ahead step and counts in the
    # gradient norm.
    learnable: bool
    embedding: bool = False  # the table of an nn.Embedding


def find_blocks(model: nn.Module) -> list[Block]:
    """Every trainable tensor of ``model``, in the model's own order; a tied tensor is listed once.

    Raises:
        ValueError: no tensor is trainable, one is in half precision, which would lose the small steps of the scales, or
            an embedding has sparse gradients.
    """
    for name, module in model.named_modules():
        if (
            getattr(module, "sparse", False)
            and isinstance(module, nn.Embedding | nn.EmbeddingBag)
            and module.weight.requires_grad
        ):
            raise ValueError(
                f"{name} has sparse gradients, GradInit needs dense ones: set its sparse=False for the call"
            )
    tables = {id(module.weight) for module in model.modules() if isinstance(module, nn.Embedding)}
    blocks = []
    for name, parameter in model.named_parameters():  # lists a tied tensor once
        if not parameter.requires_grad:
            continue
        if parameter.dtype.itemsize < 4:
            raise ValueError(f"{name} is {parameter.dtype}: cast the model to float32 before learning scales")
        learnable, embedding = bool(parameter.detach().any()), id(parameter) in tables
        blocks.append(Block(name, parameter, learnable, embedding))
    if not blocks:
        raise ValueError("the model has no trainable parameter: set requires_grad on those to scale")
    return blocks


def embedding_rms(blocks: Sequence[Block]) -> float:
    """The smallest root mean square among the embeddings that are not zero; 0 if there is none."""
    tables = [block.parameter.detach() for block in blocks if block.embedding and block.learnable]
    return min((float(table.square().mean().sqrt()) for table in tables), default=0.0)


def block_facts(model: nn.Module) -> list[dict]:
    """One entry per block of a model: ``name``, ``shape`` and ``learnable``."""
    return [
        {"name": block.name, "shape": list(block.parameter.shape), "learnable": block.learnable}
        for block in find_blocks(model)
    ]


@torch.no_grad()
def scale_blocks(blocks: Sequence[Block], scales: Tensor) -> None:
    """Multiplies every block by its scale, in place; a scale of 1 leaves it unchanged bit for bit.

    Args:
        blocks: the blocks of a model that holds theta0.
        scales: m, [blocks], on the blocks' device or the CPU.
    """
    torch._foreach_mul_([block.parameter for block in blocks], scales.unbind())
