"""Emergence-promoting initialization: the first half of the layers shrinks, the second half grows.

Li, George and Silva, "Advancing Neural Network Performance through Emergence-Promoting Initialization Scheme", arXiv
2407.19044. With the layers numbered from the middle, -n and n being the n-th before and after it:

    W_-n = W_-n / alpha^n,    W_n = W_n alpha^n

Left open for a Transformer: alpha, and what a layer is. Here alpha is 1.2, and encoder and decoder are numbered apart.
A stack of an odd number of layers has one in the middle, which stays as it is.
"""

import math

from gradinit_mt.initializers.layers import scale_by_depth
from gradinit_mt.initializers.registry import Start, register

ALPHA = 1.2


@register("emergence", about="matrices of the first half shrink, those of the second grow (Li et al., 2024)")
def emergence(start: Start) -> None:
    """Scales the layers' matrices; raises GradInitError if a stack has no layers."""
    scale_by_depth(start.model, factor)


def factor(depth: int, layers: int) -> float:
    """The factor of the weights of layer ``depth`` = 1 ... ``layers``."""
    from_middle = depth - (layers + 1) / 2
    return ALPHA ** math.copysign(math.ceil(abs(from_middle)), from_middle)
