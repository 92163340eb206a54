"""The directory of one result: what lies in it, and reading it back.

hypotheses.tok.lc.txt  reference.tok.lc.txt    Moses tokens in lower case, one sentence a line
hypotheses.detok.txt   reference.detok.txt     plain text
generate.txt  generate.log                     what fairseq-generate wrote
scores.json   scores.txt                       the result, for programs and for people
"""

import json
from dataclasses import dataclass
from pathlib import Path

from gradinit_mt.common.errors import differing
from gradinit_mt.corpora.text import read_lines, write_lines
from gradinit_mt.evaluation import EvaluationError

SCORES, TABLE = "scores.json", "scores.txt"


@dataclass(frozen=True)
class Texts:
    """Hypotheses and references of one system, one sentence per item."""

    tokenized: list[str]
    tokenized_reference: list[str]
    detokenized: list[str]
    raw_reference: list[str]

    def write(self, directory: Path) -> None:
        """Writes the four files."""
        for field, name in _FILES.items():
            write_lines(directory / name, getattr(self, field))

    @classmethod
    def read(cls, directory: Path) -> "Texts":
        """Reads the four files; raises UserError where one is missing."""
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
        EvaluationError: the directory holds no complete result.
    """
    path = Path(directory) / SCORES
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise EvaluationError(f"{directory}: holds no complete result ({error}); remove it or name another") from error


def table(directory: Path) -> str:
    """The content of ``scores.txt``: what the evaluation printed."""
    return (Path(directory) / TABLE).read_text(encoding="utf-8")


def check_settings(directory: Path, settings: dict) -> None:
    """Compares the settings of the result in ``directory`` with those wanted.

    Raises:
        EvaluationError: names the settings that differ.
    """
    changes = differing(load(directory)["settings"], settings)
    if changes:
        raise EvaluationError(
            f"{directory}: holds a result of other settings ({'; '.join(changes)}); name another --output"
        )
