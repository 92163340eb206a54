"""What earlier starts have made of a cell must be what the study asks for now."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

from comparison.cells import Cell, by_name
from comparison.plan import Planned
from gradinit_mt.common.errors import UserError, differing

FILES = ("trained.json", "measured.json", "reading.json")  # of a cell's directory, which say what was asked for


def require_usable(entry: Planned, output: Path, known: Sequence[dict]) -> None:
    """Checks what there is of a cell, below ``output`` and among the ``known`` readings of an earlier study.

    Raises:
        UserError: it was trained with other options or another rule by hand, or it was read without the scores that
            its block asks for.
    """
    for where, there in _earlier(entry.cell, output, known):
        if changes := changed(there, entry.cell):
            raise UserError(f"{where} differs ({'; '.join(changes)}): remove it to train the cell again")
        unscored = "source_gain" in there and there["end"] == "complete" and not there.get("scores")
        if entry.bleu and unscored:
            raise UserError(
                f"{where} has no scores, and a block with bleu: true asks for them: remove it to train the cell again"
            )


def _earlier(cell: Cell, output: Path, known: Sequence[dict]) -> Iterator[tuple[str, dict]]:
    """What there is of the cell, and where; a known reading counts only where ``output`` has nothing."""
    directory = output / "cells" / cell.name
    there = [path for name in FILES if (path := directory / name).exists()]
    for path in there:
        yield str(directory), json.loads(path.read_text(encoding="utf-8"))
    for reading in [] if there else known:
        if Cell.of(reading) == cell:
            yield f"{cell.name} in the file of --known", reading


def changed(there: dict, cell: Cell) -> list[str]:
    """The options and scales by hand in which a trained cell or a reading differs from what ``cell`` is now.

    One made before rules by hand were noted is taken to have today's rule.
    """
    rule = there.get("by_hand", cell.row.by_hand)
    return differing(_facts(there["options"], rule), _facts(cell.options(), cell.row.by_hand), missing="unset")


def _facts(options: list[str], by_hand: dict[str, float] | None) -> dict:
    return by_name(options) | {f"the scale of {ends}": scale for ends, scale in (by_hand or {}).items()}
