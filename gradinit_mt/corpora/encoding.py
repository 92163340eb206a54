"""New text, encoded as a prepared corpus encodes its test set."""

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
    try:
        with model.open(encoding="utf-8") as file:
            merges = BPE(file)
    except (OSError, ValueError, SystemExit) as error:  # it ends the process at a wrong line
        raise _damaged(model, error) from error
    return [merges.process_line(line) for line in iwslt14.tokenize_test(lines, lang)]


def _damaged(model: Path, error: BaseException) -> UserError:
    return UserError(f"{model}: cannot be read as a subword model ({error}); prepare or export it again")
