"""How much of the study is done, and how long the rest will take."""

import statistics
from collections import defaultdict
from collections.abc import Hashable, Iterator

from comparison.cells import Cell
from comparison.plan import Planned


def status(planned: list[Planned], readings: list[dict], side_by_side: int, device: str) -> str:
    """One line: cells done and diverged, and the time left if finished cells on this device allow an estimate."""
    done = {Cell.of(reading): reading for reading in readings}
    left = [entry.cell for entry in planned if entry.cell not in done]
    diverged = sum(done[entry.cell]["end"] == "diverged" for entry in planned if entry.cell in done)
    line = f"{len(planned) - len(left)} of {len(planned)} cells done"
    line += f" ({diverged} diverged)" if diverged else ""
    seconds = seconds_left(left, [reading for reading in readings if reading.get("device") == device])
    if not left or seconds is None:
        return line
    return f"{line}, about {shown(seconds / min(side_by_side, len(left)))} left"


def seconds_left(left: list[Cell], readings: list[dict]) -> float | None:
    """The training time of these cells, by the mean time per update of finished ones; None before the first.

    They are those of the same corpus, further options and setting; if there are none, of the same corpus and options;
    else all.
    """
    known = defaultdict(list)
    for reading in readings:
        if reading["seconds"]:
            for kind in _kinds(Cell.of(reading)):
                known[kind].append(reading["seconds"] / reading["updates"])
    if not known:
        return None
    per_update = {kind: statistics.mean(values) for kind, values in known.items()}
    return sum(cell.updates * next(per_update[kind] for kind in _kinds(cell) if kind in per_update) for cell in left)


def _kinds(cell: Cell) -> Iterator[Hashable]:
    """What a cell has in common with others, the most first."""
    yield cell.corpus, cell.further, cell.setting
    yield cell.corpus, cell.further
    yield ()


def shown(seconds: float) -> str:
    """Minutes below two hours, else hours."""
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
