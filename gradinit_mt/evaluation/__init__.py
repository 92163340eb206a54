"""From a checkpoint to reported scores. Knows fairseq only as the command ``fairseq-generate``."""

from gradinit_mt.corpora.files import CorpusError


class EvaluationError(CorpusError):
    """A result that cannot be computed or reported; the message names the file or value and the remedy.

    A ``CorpusError``, because commands report that one as a single line.
    """
