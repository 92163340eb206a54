"""GradInit (Zhu et al., NeurIPS 2021) for any ``nn.Module``; imports torch alone."""

from .batches import overlapping_halves
from .blocks import Block, find_blocks, scale_blocks
from .config import GradInitConfig, StepKind, default_gamma
from .learn import GradInitError, learn_scales
from .state import Report, State

__all__ = [
    "Block",
    "GradInitConfig",
    "GradInitError",
    "Report",
    "State",
    "StepKind",
    "default_gamma",
    "find_blocks",
    "learn_scales",
    "overlapping_halves",
    "scale_blocks",
]
