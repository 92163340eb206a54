"""Training and validation loss and the learning rate against updates, from fairseq's logs of one or more runs.

    python -m gradinit_mt.training.curve RUN_DIR [RUN_DIR ...] --output FILE.png

A run's log is its ``train.log``: what fairseq-train printed under ``--log-format json``. The loss is the negative
log-likelihood without label smoothing; fairseq logs it in bits per target token, so that perplexity is 2 to its power.
"""

import argparse
from dataclasses import dataclass
from pathlib import Path

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter, StrMethodFormatter

from gradinit_mt.common import command
from gradinit_mt.common.errors import UserError
from gradinit_mt.common.figures import COLOURS, write
from gradinit_mt.training import log

LOG = "train.log"

# Bits at which a token is one of four billion, picked blindly: a run above it has diverged, and leaves the picture.
DIVERGED = 32.0


class LogError(UserError):
    """A log that cannot be drawn; the message names it and the remedy."""


@dataclass(frozen=True)
class Curve:
    """What one run logged; each series maps the number of updates to a value, in rising order."""

    name: str
    training: dict[int, float]  # bits per target token, the mean since the value before
    validation: dict[int, float]  # bits per target token
    learning_rate: dict[int, float]


def read_log(path: Path, name: str) -> Curve:
    """The curve in a log of fairseq-train.

    Updates that were logged twice, because the run was resumed from an older checkpoint, count as logged last.

    Raises:
        LogError: there is no such file, or no training loss in it.
    """
    if not path.is_file():
        raise LogError(f"{path}: no such log; expected what fairseq-train printed, in a file {LOG} of the run")
    curve = Curve(name, {}, {}, {})
    with path.open(encoding="utf-8", errors="replace") as lines:
        for kind, numbers in filter(None, map(log.statistics, lines)):
            _add(curve, kind, numbers)
    if not curve.training:
        raise LogError(
            f"{path}: holds no training loss; train with --log-format json, and a --log-interval below the updates"
        )
    for series in (curve.training, curve.validation, curve.learning_rate):
        ordered = sorted(series.items())
        series.clear()
        series.update(ordered)
    return curve


def _add(curve: Curve, kind: str, numbers: dict) -> None:
    if kind == "valid":
        curve.validation[int(numbers["valid_num_updates"])] = log.loss(numbers, "valid_")
    else:
        update = int(numbers["num_updates"])
        curve.training[update] = log.loss(numbers)
        curve.learning_rate[update] = float(numbers["lr"])


def diverged(bits: float) -> bool:
    """Whether a loss is not finite, or so high that the run has diverged."""
    return not bits <= DIVERGED


def draw(curves: list[Curve]) -> Figure:
    """One figure: the losses of all runs, and below them the learning rates."""
    with pyplot.rc_context({"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}):
        figure, (loss, rate) = pyplot.subplots(
            2, 1, figsize=(6, 4.5), height_ratios=(3, 1), sharex=True, layout="constrained"
        )
        for number, curve in enumerate(curves):
            colour = COLOURS[number % len(COLOURS)]
            _plot_loss(loss, curve, colour)
            rate.plot(curve.learning_rate.keys(), curve.learning_rate.values(), color=colour, linewidth=1)
        loss.set_ylabel("negative log-likelihood\n(bits per target token)")
        rate.set_ylabel("learning rate")
        rate.set_xlabel("updates")
        rate.set_ylim(bottom=0)
        rate.yaxis.set_major_formatter(ScalarFormatter(useMathText=True))
        rate.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
        rate.set_xlim(left=0)
        _add_perplexity(loss)
        _add_legend(loss, curves)
    return figure


def _plot_loss(axes: Axes, curve: Curve, colour: str) -> None:
    axes.plot(*_shown(curve.training), color=colour, linewidth=0.8, alpha=0.55)
    axes.plot(*_shown(curve.validation), color=colour, linewidth=1.4, marker="o", markersize=3)
    updates, losses = _shown(curve.training)
    if updates and len(updates) < len(curve.training):
        axes.plot(updates[-1], losses[-1], color=colour, marker="x", markersize=8, linestyle="none")


def _shown(series: dict[int, float]) -> tuple[list[int], list[float]]:
    kept = {update: bits for update, bits in series.items() if not diverged(bits)}
    return list(kept), list(kept.values())


def _add_perplexity(axes: Axes) -> None:
    right = axes.twinx()
    low, high = axes.get_ylim()
    right.set_yscale("log", base=2)
    right.set_ylim(2**low, 2**high)
    right.set_ylabel("perplexity")
    right.yaxis.set_major_locator(LogLocator(base=10, subs=(1, 2, 5), numticks=20))
    right.yaxis.set_minor_locator(NullLocator())
    right.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    right.spines["right"].set_visible(True)


def _add_legend(axes: Axes, curves: list[Curve]) -> None:
    handles = [
        Line2D([], [], color=COLOURS[number % len(COLOURS)], linewidth=2, label=curve.name)
        for number, curve in enumerate(curves)
    ]
    handles.append(Line2D([], [], color="0.3", linewidth=0.8, label="training"))
    handles.append(Line2D([], [], color="0.3", linewidth=1.4, marker="o", markersize=3, label="validation"))
    if any(diverged(value) for curve in curves for value in curve.training.values()):
        label = f"diverged: above {DIVERGED:.0f} bits, or not finite"
        handles.append(Line2D([], [], color="0.3", marker="x", linestyle="none", label=label))
    axes.legend(handles=handles, frameon=False)


def parse_run(text: str) -> tuple[str, Path]:
    """``NAME=PATH`` or ``PATH``; a directory stands for the log in it, and its name is the run's."""
    name, equals, path = text.partition("=")
    path = Path(path if equals else text)
    name = name if equals else path.resolve().name
    return name, path / LOG if path.is_dir() else path


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m gradinit_mt.training.curve", description="Draw the training curves of one or more runs."
    )
    parser.add_argument("runs", nargs="*", metavar="RUN_DIR", help=f"directory of a run ({LOG}), or a log file")
    parser.add_argument(
        "--run", action="append", default=[], metavar="NAME=PATH", help="the same, with a name for the legend"
    )
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the picture: .png, .svg or .pdf")
    options = parser.parse_args()
    runs = [parse_run(text) for text in [*options.runs, *options.run]]
    if not runs:
        parser.error("name at least one run")
    write(draw([read_log(path, name) for name, path in runs]), options.output)
    print(options.output)


if __name__ == "__main__":
    command.run(main)
