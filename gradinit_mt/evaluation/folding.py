"""Residual weights folded into the other parameters of a CTranslate2 model, which has no place for them.

A block computes LN(w * x + f(x)). In the folded model its state is w * x: whatever returns x, a LayerNorm or the
embeddings, is multiplied by w, and the columns of the first matrix of f are divided by w. Only the rounding differs.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

SUFFIX = "_residual_weight"


def folded(spec: Any, weights: Mapping[str, np.ndarray]) -> Any:
    """A specification with the weights folded into it; it is changed in place.

    Args:
        spec: CTranslate2's ``TransformerSpec``, filled.
        weights: by the name of the tensor in the checkpoint, [d]; all of them, or none.

    Raises:
        ValueError: an entry is 0, by which nothing can be divided.
    """
    if not weights:
        return spec
    for name, weight in weights.items():
        if not weight.all():
            raise ValueError(f"{name} has an entry of 0, expected none: CTranslate2 has no equal model")
    for side in ("encoder", "decoder"):
        stack = getattr(spec, side)
        embeddings = stack.embeddings[0] if isinstance(stack.embeddings, list) else stack.embeddings
        origin = [(embeddings, "weight"), (stack.position_encodings, "encodings")]
        for number, layer in enumerate(stack.layer):
            for block, matrix, norm in _blocks(layer):
                weight = weights[f"{side}.layers.{number}.{block}{SUFFIX}"]
                for owner, attribute in origin:
                    setattr(owner, attribute, getattr(owner, attribute) * weight)
                matrix.weight = matrix.weight / weight
                origin = [(norm, "gamma"), (norm, "beta")]
    return spec


def _blocks(layer: Any) -> Iterator[tuple[str, Any, Any]]:
    """Each block's name, the matrix that its states meet first, [rows, d], and its LayerNorm, in order."""
    yield "self_attn", layer.self_attention.linear[0], layer.self_attention.layer_norm
    if hasattr(layer, "attention"):
        yield "encoder_attn", layer.attention.linear[0], layer.attention.layer_norm
    yield "final", layer.ffn.linear_0, layer.ffn.layer_norm
