"""Where in a network a block stands, read from its name; used to show scales, never to learn them."""

import re
from collections import defaultdict
from dataclasses import dataclass

from gradinit_mt.record.record import Record

_IN_A_STACK = re.compile(r"(?P<stack>.+?)\.(?P<layer>\d+)\.(?P<path>.+)\.weight")

MATRICES, NORMS = "feed-forward", "LayerNorm"
OUTSIDE = "outside the layers"


@dataclass(frozen=True)
class Scale:
    """A learned scale and its place.

    Attributes:
        index: position in ``Record.blocks``.
        name: of the block, without ``.weight``.
        stack: the list of layers, such as ``encoder.layers``; None outside of any.
        layer: number within the stack; None outside of any.
        family: the submodule of the layer, such as ``self_attn``; for weights directly in the layer ``feed-forward``
            (matrices) or ``LayerNorm`` (vectors); outside of any stack ``outside the layers``.
        role: the last part of the name, such as ``q_proj``.
        value: m.
    """

    index: int
    name: str
    stack: str | None
    layer: int | None
    family: str
    role: str
    value: float


def placed(record: Record) -> list[Scale]:
    """The scales of a record in the model's order, without biases and without tensors that have none to learn."""
    scales = []
    for index, (block, value) in enumerate(zip(record.blocks, record.state.scales.tolist(), strict=True)):
        if not block["learnable"] or block["name"].endswith("bias"):
            continue
        name = block["name"].removesuffix(".weight")
        match = _IN_A_STACK.fullmatch(block["name"])
        if match is None:
            scales.append(Scale(index, name, None, None, OUTSIDE, name.split(".")[-1], value))
            continue
        *modules, role = match["path"].split(".")
        family = ".".join(modules) or (MATRICES if len(block["shape"]) > 1 else NORMS)
        scales.append(Scale(index, name, match["stack"], int(match["layer"]), family, role, value))
    return scales


def submodules_first(family: str) -> int:
    """A sort key for families: attention and other submodules, feed-forward, LayerNorm."""
    return {MATRICES: 1, NORMS: 2}.get(family, 0)


def by_stack(scales: list[Scale]) -> dict[str, dict[str, dict[str, dict[int, float]]]]:
    """stack -> family -> role -> {layer: scale}, submodules first."""
    stacks = defaultdict(lambda: defaultdict(lambda: defaultdict(dict)))
    for scale in sorted(scales, key=lambda scale: submodules_first(scale.family)):
        if scale.stack is not None:
            stacks[scale.stack][scale.family][scale.role][scale.layer] = scale.value
    return stacks
