"""Training loss, validation loss and learning rate over the updates, from fairseq's logs of one or more runs.

    python -m gradinit_mt.training.curve RUN_DIR [RUN_DIR ...] --output FILE.png

A run's log is its ``train.log``: the output of fairseq-train with ``--log-format json``. The loss is the negative
log-likelihood without label smoothing, in bits per target token, so perplexity is 2 to the power of the loss.
"""

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import LogLocator, NullLocator, ScalarFormatter, StrMethodFormatter

from gradinit_mt.common import command
from gradinit_mt.common.errors import UserError
from gradinit_mt.common.figures import COLOURS, STYLE, write
from gradinit_mt.training import log

# Bits of a blind guess among four billion tokens: a run above it has diverged, and the picture leaves it out.
DIVERGED = 32.0


@dataclass(frozen=True)
class Curve:
    """What one run logged: each series maps the number of updates to a value, in ascending order."""

    name: str
    training: dict[int, float]  # bits per target token, mean since the previous value
    validation: dict[int, float]  # bits per target token
    learning_rate: dict[int, float]


def read_log(path: Path, name: str) -> Curve:
    """The curve in a log of fairseq-train.

    Where a resumed run logged an update twice, the later values count. What a start logged that saved nothing, because
    it was killed before its first checkpoint, is left out: the next start may have had other settings.

    Raises:
        UserError: there is no such file, no training loss in it, or a line without the numbers that fairseq logs.
    """
    if not path.is_file():
        raise UserError(
            f"{path}: no such log; expected the output of fairseq-train, as {log.LOG} in the run's directory"
        )
    with path.open(encoding="utf-8", errors="replace") as lines:
        found: list[tuple[str, dict]] = []
        for line in lines:
            if log.BEGINNING.search(line):
                found.clear()
            elif statistics := log.statistics(line):
                found.append(statistics)
    training = [numbers for kind, numbers in found if kind == "train_inner"]
    validation = [numbers for kind, numbers in found if kind == "valid"]
    if not training:
        raise UserError(
            f"{path}: holds no training loss yet; train with --log-format json, and a --log-interval below the updates"
        )
    try:
        return Curve(
            name,
            training=_series((numbers["num_updates"], log.loss(numbers)) for numbers in training),
            validation=_series((numbers["valid_num_updates"], log.loss(numbers, "valid_")) for numbers in validation),
            learning_rate=_series((numbers["num_updates"], float(numbers["lr"])) for numbers in training),
        )
    except (ArithmeticError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"{path}: a line of statistics is damaged ({error!r}); remove it") from error


def _series(values: Iterable[tuple[str, float]]) -> dict[int, float]:
    return dict(sorted({int(update): value for update, value in values}.items()))


def diverged(bits: float) -> bool:
    """Whether a loss is infinite, nan, or so high that the run has diverged."""
    return not bits <= DIVERGED


def draw(curves: list[Curve]) -> Figure:
    """One figure: the losses of all runs, and below them the learning rates."""
    with pyplot.rc_context(STYLE):
        figure, (loss, rate) = pyplot.subplots(
            2, 1, figsize=(6, 4.5), height_ratios=(3, 1), sharex=True, layout="constrained"
        )
        for number, curve in enumerate(curves):
            colour = COLOURS[number % len(COLOURS)]
            _plot_loss(loss, curve, colour)
            rate.plot(curve.learning_rate.keys(), curve.learning_rate.values(), color=colour, linewidth=1)
        loss.set_ylabel("negative log-likelihood\n(bits per target token)")
        rate.set(xlabel="updates", ylabel="learning rate", xlim=(0, None), ylim=(0, None))
        rate.yaxis.set_major_formatter(ScalarFormatter(useMathText=True))
        rate.ticklabel_format(axis="y", style="sci", scilimits=(0, 0))
        _add_perplexity(loss)
        columns = 3 if len(curves) == 1 else 2
        figure.legend(handles=_legend(curves), loc="outside upper left", ncols=columns, frameon=False)
    return figure


def _plot_loss(axes: Axes, curve: Curve, colour: str) -> None:
    updates, losses = _shown(curve.training)
    axes.plot(updates, losses, color=colour, linewidth=0.8, alpha=0.55)
    axes.plot(*_shown(curve.validation), color=colour, linewidth=1.4, marker="o", markersize=3)
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
    subs = (1, 2, 5) if high - low < 12 else (1,)
    right.yaxis.set_major_locator(LogLocator(base=10, subs=subs, numticks=20))
    right.yaxis.set_minor_locator(NullLocator())
    right.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    right.spines["right"].set_visible(True)


def _legend(curves: list[Curve]) -> list[Line2D]:
    grey = partial(Line2D, [], [], color="0.3")
    lines = [
        Line2D([], [], color=COLOURS[number % len(COLOURS)], linewidth=2, label=curve.name)
        for number, curve in enumerate(curves)
    ]
    lines += [grey(linewidth=0.8, label="training"), grey(linewidth=1.4, marker="o", markersize=3, label="validation")]
    if any(diverged(value) for curve in curves for value in curve.training.values()):
        label = f"diverged: above {DIVERGED:.0f} bits, or not finite"
        lines.append(grey(marker="x", linestyle="none", label=label))
    return lines


def parse_run(text: str) -> tuple[str, Path]:
    """The name and the log of a run given as ``NAME=PATH`` or ``PATH``, where PATH is the log or its directory.

    A text that is a path, such as ``runs/lr=1e-3``, is read as one.
    """
    name, equals, rest = ("", "", "") if Path(text).exists() else text.partition("=")
    path = Path(rest if equals else text)
    return name if equals else path.resolve().name, path / log.LOG if path.is_dir() else path


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m gradinit_mt.training.curve", description="Draw the training curves of one or more runs."
    )
    add = parser.add_argument
    add("runs", nargs="*", metavar="RUN_DIR", help=f"directory of a run ({log.LOG}), or a log file")
    add("--run", action="append", default=[], metavar="NAME=PATH", help="the same, with a name for the legend")
    add("--output", type=Path, required=True, metavar="FILE", help="the picture: .png, .svg or .pdf")
    options = parser.parse_args()
    runs = [parse_run(text) for text in [*options.runs, *options.run]]
    if not runs:
        parser.error("name at least one run")
    write(draw([read_log(path, name) for name, path in runs]), options.output)
    print(options.output)


if __name__ == "__main__":
    command.run(main)
