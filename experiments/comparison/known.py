"""Readings that are there before a start: those of an earlier study, and those of an earlier report."""

from pathlib import Path

from comparison.cells import Cell
from comparison.settings import SETTINGS
from gradinit_mt.common import journal
from gradinit_mt.common.errors import UserError

LOSSES = ("training", "validation", "smoothed", "source_gain")
OTHERS = ("options", "chosen", "end", "initialization_seconds", "seconds", "precision")
FIELDS = (*Cell.__dataclass_fields__, *LOSSES, *OTHERS)  # of every reading; new ones have further fields


def known(path: Path) -> list[dict]:
    """The readings of a file with one per line, which stays as it is.

    Raises:
        UserError: there is no such file, or a line is not a reading of a setting of the study.
    """
    readings = journal.load(path)
    for number, reading in enumerate(readings, start=1):
        check(reading, f"{path}, line {number}")
    return readings


def check(reading: dict, where: str) -> None:
    """Raises UserError unless this is a reading of a setting of the study; ``where`` names it."""
    if missing := [name for name in FIELDS if name not in reading]:
        raise UserError(f"{where} has no {missing[0]}: expected a reading, as study.py writes it")
    if reading["setting"] not in SETTINGS:
        raise UserError(
            f"{where}: the setting {reading['setting']} is not in settings.py; remove the reading, or add the setting"
        )
