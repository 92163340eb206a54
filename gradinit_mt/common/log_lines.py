"""Phrases of the log that evaluation and experiments look for."""

PRECISION = "precision of {}: "  # of training or translation, as it is first used
SCALES_REUSED = "found complete, learned"  # GradInit had nothing left to learn
