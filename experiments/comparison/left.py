"""How much of the study is done, and how long the rest will take. Standard library only."""

import statistics
from collections import defaultdict

from comparison.cells import Cell
from comparison.plan import Planned


def status(planned: list[Planned], readings: list[dict], side_by_side: int) -> str:
    """One line: cells done and diverged, and the time left where finished cells tell it."""
    done = {Cell.of(reading): reading for reading in readings}
    left = [entry.cell for entry in planned if entry.cell not in done]
    diverged = sum(done[entry.cell]["end"] == "diverged" for entry in planned if entry.cell in done)
    line = f"{len(planned) - len(left)} of {len(planned)} cells done"
    line += f" ({diverged} diverged)" if diverged else ""
    seconds = seconds_left(left, readings)
    return line if not left or seconds is None else f"{line}, about {shown(seconds / side_by_side)} left"


def seconds_left(left: list[Cell], readings: list[dict]) -> float | None:
    """The training time of these cells, by the mean time per update of finished ones; None before the first.

    A setting without a finished cell takes the mean over the settings.
    """
    known = defaultdict(list)
    for reading in readings:
        if reading["seconds"]:
            known[reading["setting"]].append(reading["seconds"] / reading["updates"])
    if not known:
        return None
    per_update = {setting: statistics.mean(values) for setting, values in known.items()}
    usual = statistics.mean(per_update.values())
    return sum(cell.updates * per_update.get(cell.setting, usual) for cell in left)


def shown(seconds: float) -> str:
    """Minutes below two hours, else hours."""
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
