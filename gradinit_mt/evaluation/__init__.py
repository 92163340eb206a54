"""From a checkpoint to reported scores; translation itself is the command ``fairseq-generate``."""

from gradinit_mt.common.errors import UserError


class EvaluationError(UserError):
    """A result that cannot be computed or reported; the message names the file or value and the remedy."""
