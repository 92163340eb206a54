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
        UserError: a sentencepiece model is missing or damaged.
    """
    model = directory / SUBWORD_FILES[subword][0]
    if subword == "sentencepiece":
        try:
            processor = SentencePieceProcessor(model_file=str(model))
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"{model}: cannot be read as a subword model ({error}); prepare or export it again"
            ) from error
        return [parallel.encode(processor, line) for line in lines]
    with model.open(encoding="utf-8") as file:
        merges = BPE(file)
    return [merges.process_line(line) for line in iwslt14.tokenize_test(lines, lang)]
