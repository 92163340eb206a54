"""The readings of finished cells in one file: a line per cell, in the order of their settings, not of their ends."""

import json
from dataclasses import replace
from pathlib import Path

from comparison.cells import Cell
from comparison.folder import CHECKPOINTS
from comparison.known import check, known
from comparison.plan import finished, reading_files
from gradinit_mt.common.errors import UserError
from gradinit_mt.common.files import write_text
from gradinit_mt.evaluation import paired

FILE = "readings.jsonl"
BLEU = "detokenized_bleu"


def collect(runs: list[Path], output: Path, baselines: list[str]) -> list[dict]:
    """The readings below ``runs`` and those that ``output`` has already; a cell that is in both is taken from runs.

    Args:
        runs: outputs of study.py.
        output: a directory, which is made if it is not there.
        baselines: the settings against which scored cells of the same rate and seed are tested.

    Raises:
        UserError: a run is no output of study.py, a reading is damaged or of a setting that is not in settings.py, a
            cell has scores in ``output`` alone, or cells were trained on different preparations of a corpus.
    """
    found = {Cell.of(reading): reading for reading in known(output / FILE)} if (output / FILE).exists() else {}
    for directory in runs:
        there = readings_below(directory)
        for baseline in baselines:
            compare_with(baseline, there, directory)
        for reading in there:
            before = found.get(Cell.of(reading), {})
            if before.get("scores") and reading["end"] == "complete" and not reading.get("scores"):
                raise UserError(
                    f"{Cell.of(reading).name} has scores in {output / FILE} and none in {directory}: they would be "
                    "lost; choose another --output, or remove its line there"
                )
            if before.get("paired") and before["scores"] == reading.get("scores"):
                # the translations may be gone since they were compared
                reading["paired"] = before["paired"] | reading.get("paired", {})
            found[Cell.of(reading)] = reading
    readings = [found[cell] for cell in sorted(found, key=_order)]
    require_one_preparation(readings)
    output.mkdir(parents=True, exist_ok=True)
    write_text(output / FILE, "".join(json.dumps(reading) + "\n" for reading in readings))
    return readings


def readings_below(directory: Path) -> list[dict]:
    """The readings of the finished cells of an output of study.py; raises UserError if it is none."""
    if not (directory / "cells").is_dir():
        raise UserError(f"{directory} holds no cells/: expected an output of study.py")
    readings = finished(directory)
    for path, reading in zip(reading_files(directory), readings, strict=True):
        check(reading, str(path))
    return readings


def require_one_preparation(readings: list[dict]) -> None:
    """Raises UserError if cells of a corpus note different checksums of its text; not all cells note them."""
    first: dict[str, dict] = {}
    for reading in filter(lambda reading: reading.get("data_sha256"), readings):
        other = first.setdefault(reading["corpus"], reading)
        if other["data_sha256"] != reading["data_sha256"]:
            names = f"{Cell.of(other).name} and {Cell.of(reading).name}"
            raise UserError(
                f"{names} were trained on different preparations of {reading['corpus']}: report them apart, or train "
                "one of them again"
            )


def _order(cell: Cell) -> tuple:
    moments = (cell.momentum is not None, cell.momentum or 0.0, cell.beta2 or 0.0)
    return cell.corpus, cell.updates, cell.further, moments, cell.setting, cell.lr, cell.seed


def compare_with(baseline: str, readings: list[dict], directory: Path) -> None:
    """Adds the paired bootstrap against the baseline to the readings whose translations are there.

    Those of a cell that was trained elsewhere are not; its reading keeps the tests that it may have.
    """
    translated = {}
    for reading in filter(lambda reading: reading.get("scores"), readings):
        cell = Cell.of(reading)
        result = directory / "cells" / cell.name / f"scores-{chosen_checkpoint(reading)}-test"
        if result.exists():
            translated[cell] = reading, result
    for cell, (reading, ours) in translated.items():
        other = replace(cell, setting=baseline)
        if cell != other and other in translated:
            test = paired.compare(ours, translated[other][1])["scores"][BLEU]
            reading.setdefault("paired", {})[baseline] = test


def chosen_checkpoint(reading: dict) -> str:
    """The scored checkpoint with the higher BLEU on the validation set."""
    return max(CHECKPOINTS, key=lambda checkpoint: reading["scores"][checkpoint]["valid"][BLEU]["value"])


def score_of(reading: dict, name: str = BLEU) -> float | None:
    """A score on the test set, of the checkpoint chosen by validation BLEU; None if nothing was scored."""
    if not reading.get("scores"):
        return None
    return reading["scores"][chosen_checkpoint(reading)]["test"][name]["value"]
