"""A run's log, and the lines in it that fairseq-train prints with ``--log-format json``."""

import json
import math
import re

LOG = "train.log"  # in a save dir: everything that fairseq-train printed

# fairseq prints it before the first update of a run, and not when it resumes one.
BEGINNING = re.compile(
    r"\| INFO \| fairseq\.trainer \| (No existing checkpoint found|Loaded checkpoint (?!.*/checkpoint_last))"
)
_STATISTICS = re.compile(r"\| INFO \| (train_inner|valid) \| (\{.*\})\s*$")


def statistics(line: str) -> tuple[str, dict] | None:
    """``train_inner`` or ``valid``, and the numbers of such a line; None for any other line, or one cut short."""
    match = _STATISTICS.search(line)
    if match is None:
        return None
    try:
        return match[1], json.loads(match[2])
    except ValueError:
        return None


def loss(numbers: dict, prefix: str = "") -> float:
    """Bits per target token, without label smoothing if fairseq logs that separately; nan if there is no loss."""
    return float(numbers.get(f"{prefix}nll_loss", numbers.get(f"{prefix}loss", "nan")))


def perplexity(bits: float) -> float:
    """2 to the power of the loss; infinite where a diverging run exceeds the range of floats."""
    try:
        return 2.0**bits
    except OverflowError:
        return math.inf
