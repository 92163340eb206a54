"""The matrices of a model, found by their names alone."""

from typing import NamedTuple

import torch

ATTENTION = ("q_proj", "k_proj", "v_proj", "out_proj")
ROLES = (*ATTENTION, "fc1", "fc2")


class Matrix(NamedTuple):
    """A matrix in a layer; ``depth`` counts the layers of its stack from 1, ``cross`` is cross-attention."""

    name: str
    stack: str
    depth: int
    cross: bool
    role: str
    weight: torch.Tensor


def is_matrix(name):
    """Whether this is the name of a matrix in a layer."""
    return name.endswith(tuple(f".{role}.weight" for role in ROLES))


def matrices(model, *roles):
    """The matrices in the layers of a model, or those in some roles."""
    found = []
    for name, weight in model.state_dict().items():
        if is_matrix(name):
            stack, _, layer, *_, role, _ = name.split(".")
            found.append(Matrix(name, stack, int(layer) + 1, "encoder_attn" in name, role, weight))
    return [matrix for matrix in found if matrix.role in (roles or ROLES)]


def elsewhere(model):
    """Every other tensor by name: embeddings, biases, LayerNorm."""
    return {name: value for name, value in model.state_dict().items() if not is_matrix(name)}


def layers(model, stack):
    """The number of layers."""
    return len(getattr(model, stack).layers)


def xavier(model, matrix):
    """The root mean square of what xavier's rule draws, with fairseq's gain of queries, keys and values."""
    same = model.encoder.layers[0].embed_dim == model.decoder.embed_dim
    scaled = matrix.role in ("q_proj", "k_proj", "v_proj") and (same or not matrix.cross)
    return (0.5 if scaled else 1) ** 0.5 * (2 / sum(matrix.weight.shape)) ** 0.5
