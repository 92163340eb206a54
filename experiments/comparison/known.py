"""Readings made earlier, by another study or report, checked before they are used."""

from contextlib import suppress
from pathlib import Path
from typing import Any

from comparison.cells import Cell
from comparison.configuration import Field, number, texts, whole
from comparison.folder import CHECKPOINTS
from comparison.settings import SETTINGS
from gradinit_mt.common import journal
from gradinit_mt.common.errors import UserError
from gradinit_mt.corpora.names import require_plain_name


def _losses(value: object) -> bool:
    return isinstance(value, dict) and all(
        update.isdecimal() and (loss is None or number(loss)) for update, loss in value.items()
    )


def _scored(value: Any) -> bool:
    """Whether these are the scores of both checkpoints on both splits, as read.py writes them, or null."""
    if value is None:
        return True
    with suppress(KeyError, TypeError):
        return all(
            number(value[checkpoint][split][score]["value"])
            for checkpoint in CHECKPOINTS
            for split in ("valid", "test")
            for score in ("detokenized_bleu", "tokenized_lowercase_bleu", "detokenized_chrf")
        )
    return False


def _counts(value: object) -> bool:
    return isinstance(value, dict) and all(map(whole, value.values()))


def _or_null(field: Field) -> Field:
    return Field(f"{field.expected} or null", lambda value: value is None or field.holds(value))


TEXT, NUMBER = Field("text", lambda value: isinstance(value, str)), Field("a number", number)
# of every reading; new ones have further fields
FIELDS = {
    **dict.fromkeys(("corpus", "setting"), TEXT),
    **dict.fromkeys(("lr", "initialization_seconds"), NUMBER),
    **dict.fromkeys(("beta2", "momentum", "smoothed", "source_gain", "seconds"), _or_null(NUMBER)),
    **dict.fromkeys(("seed", "updates"), Field("a whole number", whole)),
    **dict.fromkeys(("further", "options", "chosen"), Field("a list of texts", texts)),
    **dict.fromkeys(("training", "validation"), Field("losses by update", _losses)),
    "end": Field("complete or diverged", lambda value: value in ("complete", "diverged")),
    "precision": _or_null(TEXT),
}
SCORES = Field("scores by checkpoint and split, or null", _scored)
# of readings that state the corpus's checksums, data_sha256
FACTS = {
    "vocabulary": Field("whole numbers by language", _counts),
    "tokens_per_update": Field("a whole number", whole),
    "parameters": _or_null(Field("a whole number", whole)),
}


def known(path: Path) -> list[dict]:
    """The readings of a file with one per line, which stays as it is.

    Raises:
        UserError: there is no such file, a line is not a reading of a setting of the study, or two are of one cell.
    """
    readings = journal.load(path)
    lines: dict[Cell, int] = {}
    for line, reading in enumerate(readings, start=1):
        check(reading, f"{path}, line {line}")
        if (other := lines.setdefault(Cell.of(reading), line)) != line:
            raise UserError(f"{path}: lines {other} and {line} are of the same cell; remove one of them")
    return readings


def check(reading: dict, where: str) -> None:
    """Raises UserError unless this is a reading of a setting of the study; ``where`` names it."""
    for name, field in (FIELDS | (FACTS if reading.get("data_sha256") else {})).items():
        if name not in reading:
            raise UserError(f"{where} has no {name}: expected a reading, as study.py writes it")
        if not field.holds(reading[name]):
            raise UserError(f"{where}: {name} is {reading[name]!r}, expected {field.expected}")
    if not SCORES.holds(reading.get("scores")):
        raise UserError(f"{where}: its scores are not {SCORES.expected}, as study.py writes them")
    if (reading["beta2"] is None) == (reading["momentum"] is None):
        raise UserError(f"{where}: expected either a beta2 or a momentum, and null for the other one")
    require_plain_name(reading["corpus"])
    if reading["setting"] not in SETTINGS:
        raise UserError(
            f"{where}: the setting {reading['setting']} is not in settings.py; remove the reading, or add the setting"
        )
