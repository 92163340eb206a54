"""Starting, resuming and watching training runs of the stock fairseq-train."""

from gradinit_mt.common.errors import UserError


class TrainingError(UserError):
    """A run that cannot start or resume, or a log that cannot be read; the message says what to do."""
