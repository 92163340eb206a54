"""New text, encoded as a prepared corpus encodes its test set."""

import contextlib
import io
from pathlib import Path

from sentencepiece import SentencePieceProcessor
from subword_nmt.apply_bpe import BPE

from gradinit_mt.common.errors import UserError
from gradinit_mt.corpora import iwslt14, parallel
from gradinit_mt.corpora.layout import SUBWORD_FILES


def encode(lines: list[str], lang: str, subword: str, directory: Path) -> list[str]:
    """The subwords of each line, separated by spaces.

    Args:
        lines: one sentence each, as plain text.
        lang: their language, which decides how Moses tokenizes them.
        subword: "subword-nmt" (the IWSLT'14 preparation: Moses tokens in lower case) or "sentencepiece".
        directory: of the prepared corpus, or any other with its subword model.

    Raises:
        UserError: the subword model is missing or damaged.
    """
    model = directory / SUBWORD_FILES[subword][0]
    if subword == "sentencepiece":
        try:
            processor = SentencePieceProcessor(model_file=str(model))
        except (OSError, RuntimeError) as error:
            raise _damaged(model, error) from error
        return [parallel.encode(processor, line) for line in lines]
    printed = io.StringIO()
    try:
        with model.open(encoding="utf-8") as file, contextlib.redirect_stderr(printed):
            merges = BPE(file)
    except (OSError, ValueError) as error:
        raise _damaged(model, error) from error
    except SystemExit as error:
        if error.code != 1:  # a signal
            raise
        raise _damaged(model, " ".join(printed.getvalue().split())) from error
    return [merges.process_line(line) for line in iwslt14.tokenize_test(lines, lang)]


def _damaged(model: Path, reason: object) -> UserError:
    return UserError(f"{model}: cannot be read as a subword model ({reason}); prepare or export it again")
