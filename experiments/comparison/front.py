"""The README's picture: training loss over the first updates, without warmup and with it, from the committed readings.

.venv/bin/python experiments/comparison/front.py --output docs/results/comparison/front.png
"""

import argparse
import statistics
from pathlib import Path

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradinit_mt.common import command, journal
from gradinit_mt.common.errors import UserError
from gradinit_mt.common.figures import COLOURS, STYLE, write

READINGS = Path(__file__).resolve().parents[2] / "docs" / "results" / "comparison" / "readings.jsonl"
RATES = (1e-3, 2e-3)
# name in the readings: name and colour in the picture
LINES = {
    "xavier": ("xavier, no warmup", COLOURS[6]),
    "warmup-tuned": ("xavier, tuned warmup", COLOURS[0]),
    "pre-ln": ("Pre-LN, no warmup", COLOURS[2]),
    "gradinit": ("GradInit, no warmup", COLOURS[1]),
}
LAST = 800
SAME = {"corpus": "multi30k", "updates": LAST, "beta2": 0.98, "further": []}


def curves(readings: list[dict], setting: str, lr: float) -> list[dict[int, float]]:
    """The training loss of each seed in bits per target token, at the updates at which all seeds have one.

    Raises:
        UserError: there is no reading, or no such update.
    """
    chosen = SAME | {"setting": setting, "lr": lr}
    runs = [
        {int(update): bits for update, bits in reading["training"].items() if bits is not None}
        for reading in readings
        if all(reading[name] == value for name, value in chosen.items())
    ]
    common = set.intersection(*map(set, runs)) if runs else set()
    if not common:
        lacking = "training losses that all seeds have" if runs else "reading"
        raise UserError(f"{READINGS} has no {lacking} of {setting} at a learning rate of {lr:g}, as the picture needs")
    return [{update: run[update] for update in sorted(common)} for run in runs]


def draw(readings: list[dict]) -> Figure:
    """One panel per learning rate, with a name beside each line."""
    with pyplot.rc_context(STYLE):
        figure, panels = pyplot.subplots(1, len(RATES), figsize=(7.5, 3.1), sharey=True, layout="constrained")
        for axes, lr in zip(panels, RATES, strict=True):
            for setting, (name, colour) in LINES.items():
                _draw_line(axes, curves(readings, setting, lr), name, colour)
            axes.set_title(f"Adam, learning rate {lr:g}", fontsize=9)
            axes.set_xlabel("updates")
            axes.set_xlim(0, LAST)
        panels[0].set_ylabel("training loss (bits per target token)")
    return figure


def _draw_line(axes: Axes, runs: list[dict[int, float]], name: str, colour: str) -> None:
    shown = list(runs[0])
    for run in runs:
        axes.plot(shown, [run[update] for update in shown], color=colour, linewidth=0.5, alpha=0.4)
    mean = [statistics.mean(run[update] for run in runs) for update in shown]
    axes.plot(shown, mean, color=colour, linewidth=1.8)
    axes.annotate(
        name, (LAST, mean[-1]), xytext=(5, 0), textcoords="offset points", color=colour, va="center", fontsize=8
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the picture: .png, .svg or .pdf")
    options = parser.parse_args()
    write(draw(journal.load(READINGS)), options.output)
    print(options.output)


if __name__ == "__main__":
    command.run(main)
