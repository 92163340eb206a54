"""What earlier starts have made of a cell must be what the study asks for now."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from comparison.cells import Cell, by_name
from comparison.folder import ASKED, CHOICE, MEASURED, READING, TRAINED
from comparison.plan import Planned, loaded, tuning_of
from gradinit_mt.common.errors import UserError, differing

FILES = (ASKED, TRAINED, MEASURED, READING)  # which say what was asked for


def require_usable(entry: Planned, output: Path, known: Sequence[dict], config: dict) -> None:
    """Checks a cell's existing files below ``output``, and the ``known`` readings of an earlier study.

    Raises:
        UserError: it was trained with other options, another rule by hand, another tuning of its warmup or on another
            preparation of the corpus, or it was read without the scores that its block asks for.
    """
    for where, there in _earlier(entry.cell, output, known):
        if changes := changed(there, entry.cell, config):
            raise UserError(f"{where} differs ({'; '.join(changes)}): remove it to train the cell again")
        unscored = "source_gain" in there and there["end"] == "complete" and not there.get("scores")
        if entry.bleu and unscored:
            raise UserError(
                f"{where} has no scores, and a block with bleu: true asks for them: remove it to train the cell again"
            )


def remove_outdated_choices(planned: Iterable[Planned], output: Path, config: dict) -> None:
    """Removes a chosen length of warmup that was chosen otherwise than today, where no training has begun with it."""
    for cell in (entry.cell for entry in planned if entry.cell.row.tuned):
        directory = output / "cells" / cell.name
        path = directory / CHOICE
        if not path.exists() or any((directory / name).exists() for name in FILES):
            continue
        if loaded(path, "tuning")["tuning"] != tuning_of(cell, config):
            path.unlink()


def _earlier(cell: Cell, output: Path, known: Sequence[dict]) -> Iterator[tuple[str, dict]]:
    """What there is of the cell, and where; a known reading counts only where ``output`` has nothing."""
    directory = output / "cells" / cell.name
    there = [path for name in FILES if (path := directory / name).exists()]
    for path in there:
        yield str(directory), loaded(path, "options")
    for reading in [] if there else known:
        if Cell.of(reading) == cell:
            yield f"{cell.name} in the file of --known", reading


def changed(there: dict, cell: Cell, config: dict) -> list[str]:
    """What a trained cell or a reading was asked to be, where it differs from what ``cell`` is in this configuration.

    What is not noted, as by earlier versions of the study, is taken to be as it is now.
    """
    now = {
        "by_hand": cell.row.by_hand or {},
        "tuning": tuning_of(cell, config) if cell.row.tuned else {},
        "data_sha256": config["data_sha256"][cell.corpus],
    }
    noted = {"by_hand": there.get("by_hand", now["by_hand"]) or {}}
    for part in ("tuning", "data_sha256"):
        noted[part] = {name: (there.get(part) or {}).get(name, value) for name, value in now[part].items()}
    return differing(_facts(there["options"], noted), _facts(cell.options(), now), missing="unset")


def _facts(options: list[str], more: dict[str, dict]) -> dict:
    """By name in messages."""
    rules = {f"the scale of {ends}": scale for ends, scale in more["by_hand"].items()}
    tuning = {f"the tuning's {name}": value for name, value in more["tuning"].items()}
    data = {f"the corpus's {name}": checksum for name, checksum in more["data_sha256"].items()}
    return by_name(options) | rules | tuning | data
