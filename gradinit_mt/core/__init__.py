"""GradInit (Zhu et al., NeurIPS 2021) for any ``nn.Module``; imports torch alone."""

from gradinit_mt.core.batches import overlapping_halves
from gradinit_mt.core.blocks import Block, find_blocks, scale_blocks
from gradinit_mt.core.call import Report, gradinit
from gradinit_mt.core.config import GradInitConfig, default_gamma
from gradinit_mt.core.learn import GradInitError, learn_scales
from gradinit_mt.core.signal import SignalLoss, Stack, find_stacks
from gradinit_mt.core.state import State

__all__ = [
    "Block",
    "GradInitConfig",
    "GradInitError",
    "Report",
    "SignalLoss",
    "Stack",
    "State",
    "default_gamma",
    "find_blocks",
    "find_stacks",
    "gradinit",
    "learn_scales",
    "overlapping_halves",
    "scale_blocks",
]
