"""Where in a network a block belongs, read from its name; used to show scales, never to learn them."""

import re
from dataclasses import dataclass

from gradinit_mt.record.record import Record

_IN_A_STACK = re.compile(r"(?P<stack>.+?)\.(?P<layer>\d+)\.((?P<module>.+)\.)?[^.]+[._]weight")

MATRICES, NORMS, SUMS = "feed-forward", "LayerNorm", "residual sums"
OUTSIDE = "outside the layers"


@dataclass(frozen=True)
class Scale:
    """A learned scale and its place."""

    index: int  # position in ``Record.blocks``
    name: str  # of the block, without ``.weight``
    stack: str | None  # the list of layers, such as ``encoder.layers``; None outside of any
    layer: int | None  # number within the stack; None outside of any
    # the submodule of the layer, such as ``self_attn``; for weights directly in the layer ``feed-forward`` (matrices),
    # ``LayerNorm`` (vectors) or ``residual sums`` (their weights); outside of any stack ``outside the layers``
    family: str
    value: float  # m


def placed(record: Record) -> list[Scale]:
    """The learnable scales without biases: attention and other submodules first, then feed-forward, then LayerNorm."""
    scales = []
    for index, (block, value) in enumerate(zip(record.blocks, record.state.scales.tolist(), strict=True)):
        if not block["learnable"] or block["name"].endswith("bias"):
            continue
        stack, layer, family = None, None, OUTSIDE
        if match := _IN_A_STACK.fullmatch(block["name"]):
            stack, layer = match["stack"], int(match["layer"])
            family = match["module"] or _family(block)
        scales.append(Scale(index, block["name"].removesuffix(".weight"), stack, layer, family, value))
    return sorted(scales, key=lambda scale: {MATRICES: 1, NORMS: 2, SUMS: 3}.get(scale.family, 0))


def _family(block: dict) -> str:
    """The family of a weight directly in the layer."""
    if len(block["shape"]) > 1:
        return MATRICES
    return SUMS if block["name"].endswith("_residual_weight") else NORMS


def by_stack(scales: list[Scale]) -> dict[str, dict[str, dict[str, dict[int, float]]]]:
    """stack -> family -> role (the last part of the name) -> {layer: scale}, in the order of ``scales``."""
    stacks: dict[str, dict[str, dict[str, dict[int, float]]]] = {}
    for scale in scales:
        if scale.stack is not None and scale.layer is not None:
            roles = stacks.setdefault(scale.stack, {}).setdefault(scale.family, {})
            roles.setdefault(scale.name.split(".")[-1], {})[scale.layer] = scale.value
    return stacks
