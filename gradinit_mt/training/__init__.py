"""Starting, continuing and watching a training run of the stock fairseq-train."""

from gradinit_mt.common.errors import UserError


class TrainingError(UserError):
    """A run that cannot start or go on; the message says what to do."""
