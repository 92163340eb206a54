"""The directory of one result, and reading it back.

hypotheses.tok.lc.txt  reference.tok.lc.txt    Moses tokens in lower case, one sentence per line
hypotheses.detok.txt   reference.detok.txt     plain text
generate.txt  generate.log                     output of fairseq-generate
scores.json   scores.txt                       the result, for programs and for people
"""

import json
from dataclasses import dataclass
from pathlib import Path

from gradinit_mt.common.errors import UserError
from gradinit_mt.corpora.text import read_lines, write_lines

SCORES, TABLE = "scores.json", "scores.txt"


@dataclass(frozen=True)
class Texts:
    """Hypotheses and references of one system, one sentence per item, in the order of the corpus."""

    tokenized: list[str]  # hypotheses as Moses tokens in lower case
    tokenized_reference: list[str]
    detokenized: list[str]  # the same hypotheses as plain text
    raw_reference: list[str]  # the reference before any preparation

    def write(self, directory: Path) -> None:
        """Writes the four files."""
        for field, name in _FILES.items():
            write_lines(directory / name, getattr(self, field))

    @classmethod
    def read(cls, directory: Path) -> "Texts":
        """Reads the four files; raises UserError if one is missing."""
        return cls(**{field: read_lines(directory / name) for field, name in _FILES.items()})


_FILES = {
    "tokenized": "hypotheses.tok.lc.txt",
    "tokenized_reference": "reference.tok.lc.txt",
    "detokenized": "hypotheses.detok.txt",
    "raw_reference": "reference.detok.txt",
}


def load(directory: Path) -> dict:
    """The content of ``scores.json``.

    Raises:
        UserError: the directory holds no complete result.
    """
    try:
        result = json.loads((directory / SCORES).read_text(encoding="utf-8"))
        if not isinstance(result, dict) or not all(isinstance(result.get(name), dict) for name in ("settings", "data")):
            raise ValueError(f"{SCORES} lacks settings or data")
        return result
    except (OSError, ValueError, RecursionError) as error:
        raise UserError(f"{directory}: holds no complete result ({error}); remove it or name another") from error
