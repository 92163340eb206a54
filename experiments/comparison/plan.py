"""The cells of a configuration in the order in which they are trained.

A configuration is a dict, as ``config.yaml`` shows it: per block a corpus, a number of updates, and stages, each a
product of settings, learning rates, moments and seeds.
"""

import itertools
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from comparison.cells import Cell
from comparison.folder import READING
from comparison.settings import ALL, LENGTHS, SETTINGS
from gradinit_mt.common.errors import UserError

TRAINS = 1.0  # bits per target token: a run whose source gain is higher has learned to translate
RATES_THAT_TRAIN = 3  # a setting that trains at this many rates of a block is "trained", and gets further seeds


@dataclass(frozen=True)
class Planned:
    """A cell, and whether a block to which it belongs scores its translations."""

    cell: Cell
    bleu: bool


def plan(config: dict, readings: list[dict]) -> list[Planned]:
    """The cells of all blocks whose corpus is prepared (``config["corpora"]``), each once, in order of priority.

    Args:
        config: as ``configuration.load`` checks it.
        readings: of finished cells; a stage with ``settings: trained`` depends on them.
    """
    scored: dict[Cell, bool] = {}
    for block in config["blocks"].values():
        if block["corpus"] not in config["corpora"]:
            continue
        for cell, asked in _cells(config, block, readings):
            # the lengths of warmup are chosen by their loss
            scored[cell] = scored.get(cell, False) or (asked and block.get("bleu", False))
    _require_different_names(scored)
    return [Planned(cell, bleu) for cell, bleu in scored.items()]


def _require_different_names(cells: Iterable[Cell]) -> None:
    by_name: dict[str, Cell] = {}
    for cell in cells:
        if (other := by_name.setdefault(cell.name, cell)) != cell:
            raise UserError(f"two cells have the name {cell.name}: {other.fields} and {cell.fields}; leave one out")


def tuning_cells(cell: Cell, config: dict) -> list[Cell]:
    """The cells that choose the warmup of a tuned cell: one per length."""
    tuning = tuning_of(cell, config)
    lengths = tuning.pop("lengths")
    return [replace(cell, setting=name, **tuning) for name, length in LENGTHS.items() if length in lengths]


def tuning_of(cell: Cell, config: dict) -> dict:
    """How the warmup of a tuned cell is chosen: the lengths, and ``seed``, ``updates`` and ``beta2`` of their cells."""
    tuning = config["tuning"]
    beta2 = None if cell.beta2 is None else tuning.get("beta2", cell.beta2)
    return tuning | {"beta2": beta2, "lengths": sorted(tuning["lengths"])}


def trains(reading: dict) -> bool:
    """Whether the run ended with a model that uses its source."""
    return reading["source_gain"] is not None and reading["source_gain"] > TRAINS


def reading_files(directory: Path) -> list[Path]:
    """The files of the readings of the finished cells below ``directory``."""
    return sorted(directory.glob(f"cells/*/*/{READING}"))


def finished(directory: Path) -> list[dict]:
    """The readings of the finished cells below ``directory``; raises UserError if one is damaged."""
    return [loaded(path, "options") for path in reading_files(directory)]


def loaded(path: Path, needed: str) -> dict:
    """The content of a cell's file; raises UserError if it is damaged, or has no entry ``needed``."""
    again = "remove the cell's directory to train it again"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise UserError(f"{path}: not JSON ({error}); {again}") from error
    if not (isinstance(found, dict) and needed in found):
        raise UserError(f"{path}: has no {needed}; {again}")
    return found


def _cells(config: dict, block: dict, readings: list[dict]) -> Iterator[tuple[Cell, bool]]:
    """The cells of a block, and whether it asks for them, or only needs them to choose a warmup."""
    further, moments = _further(config, block), _moments(block)
    for stage in block["stages"]:
        settings = _settings(stage["settings"], config, block, readings)
        for seed, moment, lr, setting in itertools.product(stage["seeds"], moments, stage["lr"], settings):
            cell = Cell(block["corpus"], setting, lr, *moment, seed, block["updates"], further)
            if cell.row.tuned:
                yield from zip(tuning_cells(cell, config), itertools.repeat(False))
            yield cell, True


def _settings(named: str | list[str], config: dict, block: dict, readings: list[dict]) -> list[str]:
    if named == "all":
        return list(ALL)
    return _trained(config, block, readings) if named == "trained" else list(named)


def _trained(config: dict, block: dict, readings: list[dict]) -> list[str]:
    """The settings that train at three rates of the block or more, on its first seed."""
    first = block["stages"][0]["seeds"][0]
    same = block["corpus"], block["updates"], first, _further(config, block)
    at = defaultdict(set)
    for reading in readings:
        cell = Cell.of(reading)
        of_block = (cell.corpus, cell.updates, cell.seed, cell.further) == same
        if of_block and (cell.beta2, cell.momentum) in _moments(block) and trains(reading):
            at[cell.setting].add(cell.lr)
    able = [name for name, row in SETTINGS.items() if not ("momentum" in block and row.needs_adam)]
    return [name for name in able if len(at[name]) >= RATES_THAT_TRAIN]


def _further(config: dict, block: dict) -> tuple[str, ...]:
    return (*config.get("further", ()), *block.get("further", ()))


def _moments(block: dict) -> list[tuple[float | None, float | None]]:
    """(beta2, momentum) of the block's cells, one of them None."""
    moments = [(beta2, None) for beta2 in block.get("beta2", ())]
    return moments + [(None, momentum) for momentum in block.get("momentum", ())]
