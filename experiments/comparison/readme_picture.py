"""The README's picture: training loss over the first updates, without warmup and with it, from the committed readings.

.venv/bin/python experiments/comparison/readme_picture.py --output docs/results/comparison/front.png
"""

import argparse
import statistics
import sys
from pathlib import Path

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

ROOT = Path(__file__).resolve().parents[2]
sys.path[:1] = [str(ROOT), str(ROOT / "experiments")]  # instead of this folder: the modules are comparison.NAME

from comparison.plan import trains  # noqa: E402 - needs the path above
from gradinit_mt.common import command, journal  # noqa: E402
from gradinit_mt.common.errors import UserError  # noqa: E402
from gradinit_mt.common.figures import COLOURS, STYLE, write  # noqa: E402

READINGS = ROOT / "docs" / "results" / "comparison" / "readings.jsonl"
RATES = (1e-3, 2e-3)
# name in the readings: name and colour in the picture
LINES = {
    "xavier": ("xavier, no warmup", COLOURS[6]),
    "warmup-tuned": ("xavier, tuned warmup", COLOURS[0]),
    "pre-ln": ("Pre-LN, no warmup", COLOURS[2]),
    "t-fixup": ("T-Fixup's scales, no warmup", COLOURS[3]),
    "gradinit": ("GradInit, no warmup", COLOURS[1]),
}
LAST = 800
LABEL_HEIGHT = 0.5  # bits
SAME = {"corpus": "multi30k", "updates": LAST, "beta2": 0.98, "further": []}


def chosen(readings: list[dict], setting: str, lr: float) -> list[dict]:
    """The readings of a line, one per seed."""
    line = SAME | {"setting": setting, "lr": lr}
    return [reading for reading in readings if all(reading[name] == value for name, value in line.items())]


def curves(readings: list[dict], setting: str, lr: float) -> list[dict[int, float]]:
    """The training loss of each seed in bits per target token, at the updates at which all seeds have one.

    Raises:
        UserError: there is no reading, or no such update.
    """
    runs = [
        {int(update): bits for update, bits in reading["training"].items() if bits is not None}
        for reading in chosen(readings, setting, lr)
    ]
    common = set.intersection(*map(set, runs)) if runs else set()
    if not common:
        lacking = "training losses that all seeds have" if runs else "reading"
        raise UserError(f"{READINGS} has no {lacking} of {setting} at a learning rate of {lr:g}, as the picture needs")
    return [{update: run[update] for update in sorted(common)} for run in runs]


def draw(readings: list[dict]) -> Figure:
    """One panel per learning rate, with a name beside each line, which says if all its seeds failed."""
    with pyplot.rc_context(STYLE):
        figure, panels = pyplot.subplots(1, len(RATES), figsize=(8.5, 3.1), sharey=True, layout="constrained")
        for axes, lr in zip(panels, RATES, strict=True):
            ends = {
                setting: _draw_line(axes, curves(readings, setting, lr), colour)
                for setting, (_, colour) in LINES.items()
            }
            for (setting, (name, colour)), end in zip(LINES.items(), apart(list(ends.values())), strict=True):
                failed = not any(map(trains, chosen(readings, setting, lr)))
                axes.text(LAST + 15, end, name + " (fails)" * failed, color=colour, va="center", fontsize=8)
            axes.set_title(f"Adam, learning rate {lr:g}", fontsize=9)
            axes.set_xlabel("updates")
            axes.set_xlim(0, LAST)
        panels[0].set_ylabel("training loss (bits per target token)")
    return figure


def apart(heights: list[float], gap: float = LABEL_HEIGHT) -> list[float]:
    """These heights, moved so that two of them are at least ``gap`` apart; their order and their mean stay."""
    order = sorted(range(len(heights)), key=lambda index: heights[index])
    groups: list[tuple[float, int]] = []  # mean and size of heights that touch, from below
    for index in order:
        mean, size = heights[index], 1
        while groups and mean - gap * (size - 1) / 2 < groups[-1][0] + gap * (groups[-1][1] - 1) / 2 + gap:
            below, count = groups.pop()
            mean, size = (below * count + mean * size) / (count + size), count + size
        groups.append((mean, size))
    placed = [mean + gap * (place - (size - 1) / 2) for mean, size in groups for place in range(size)]
    found = dict(zip(order, placed, strict=True))
    return [found[index] for index in range(len(heights))]


def _draw_line(axes: Axes, runs: list[dict[int, float]], colour: str) -> float:
    """Draws the mean over runs, and each of them; returns where the mean ends."""
    shown = list(runs[0])
    for run in runs:
        axes.plot(shown, [run[update] for update in shown], color=colour, linewidth=0.5, alpha=0.4)
    mean = [statistics.mean(run[update] for run in runs) for update in shown]
    axes.plot(shown, mean, color=colour, linewidth=1.8)
    return mean[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the picture: .png, .svg or .pdf")
    options = parser.parse_args()
    figure = draw(journal.load(READINGS))
    options.output.unlink(missing_ok=True)  # drawn again from all readings
    write(figure, options.output)
    print(options.output)


if __name__ == "__main__":
    command.run(main)
