"""Other initializations of the same model, to compare GradInit with; each file registers one."""

from gradinit_mt.initializers import t_fixup as t_fixup
from gradinit_mt.initializers.registry import INITIALIZERS, Start

__all__ = ["INITIALIZERS", "Start"]
