"""The learned scales by layer and role, and how they were learned, from the record of one run.

    python -m gradinit_mt.plots.scales SAVE_DIR --output FILE.png

Above: one row of panels per stack of layers (encoder, decoder), one line per weight. Below: the loss on S before and on
S~ after the step looked ahead, and the gradient norm against its bound gamma. Biases are left out; they are in
``gradinit.json``.
"""

import argparse
import re
import sys
from collections import defaultdict
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from gradinit_mt import command
from gradinit_mt.core.state import CONSTRAINT
from gradinit_mt.plots.training_curve import COLOURS, write
from gradinit_mt.records import Record, RecordError

IN_A_STACK = re.compile(r"(?P<stack>.+?)\.(?P<layer>\d+)\.(?P<path>.+)\.weight")


class Stacks:
    """Scales of weights by stack, family and role; the rest by name.

    Attributes:
        lines: (stack, family) -> role -> {layer: scale}. A family is the submodule that holds the weight, such as
            ``self_attn``; weights directly in the layer make up ``matrices`` and ``norms`` (vectors).
        outside: name -> scale of the weights in no stack.
    """

    def __init__(self, record: Record) -> None:
        self.lines = defaultdict(lambda: defaultdict(dict))
        self.outside = {}
        for block, scale in zip(record.blocks, record.state.scales.tolist(), strict=True):
            if not block["learnable"] or block["name"].endswith("bias"):
                continue
            match = IN_A_STACK.fullmatch(block["name"])
            if match is None:
                self.outside[block["name"]] = scale
                continue
            *family, role = match["path"].split(".")
            kind = ".".join(family) or ("matrices" if len(block["shape"]) > 1 else "norms")
            self.lines[match["stack"], kind][role][int(match["layer"])] = scale

    @property
    def rows(self) -> list[str]:
        """The stacks."""
        return list(dict.fromkeys(stack for stack, _ in self.lines))

    @property
    def columns(self) -> list[str]:
        """The families, those of submodules first."""
        families = dict.fromkeys(family for _, family in self.lines)
        return sorted(families, key=lambda family: ("matrices", "norms").index(family) if family in GENERIC else -1)


GENERIC = ("matrices", "norms")


def draw(record: Record) -> Figure:
    """The figure of one record.

    Raises:
        RecordError: nothing was learned yet.
    """
    if not record.state.history:
        raise RecordError("the record holds no iteration yet; wait for the first ones")
    stacks = Stacks(record)
    rows, columns = stacks.rows, stacks.columns
    with pyplot.rc_context({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}):
        figure = pyplot.figure(figsize=(max(8.0, 2.6 * len(columns)), 2.0 * len(rows) + 3.2), layout="constrained")
        above, below = (
            figure.subfigures(2, 1, height_ratios=(max(1.0, 2.0 * len(rows)), 2.4)) if rows else (None, figure)
        )
        if rows:
            _draw_scales(above, stacks, rows, columns)
        loss, norm = below.subplots(1, 2)
        _draw_loss(loss, record)
        _draw_norm(norm, record)
        outside = ", ".join(f"{name.removesuffix('.weight')} {scale:.2f}" for name, scale in stacks.outside.items())
        if outside:
            below.suptitle(f"scales outside the layers: {outside}", fontsize=8)
    return figure


def _draw_scales(figure, stacks: Stacks, rows: list[str], columns: list[str]) -> None:
    grid = figure.subplots(len(rows), len(columns), sharey=True, squeeze=False)
    for axes_row, stack in zip(grid, rows, strict=True):
        for axes, family in zip(axes_row, columns, strict=True):
            lines = stacks.lines.get((stack, family))
            if lines is None:
                axes.axis("off")
                continue
            axes.axhline(1, color="0.7", linewidth=0.8)
            for number, (role, scales) in enumerate(lines.items()):
                colour = COLOURS[number % len(COLOURS)]
                axes.plot(scales.keys(), scales.values(), "o-", color=colour, label=role, linewidth=1, markersize=3)
            _log_axis(axes)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_title(f"{stack}: {family}", fontsize=8)
            axes.legend(frameon=False, fontsize=6.5)
        axes_row[0].set_ylabel("learned scale")
    for axes in grid[-1]:
        axes.set_xlabel("layer")


def _draw_loss(axes: Axes, record: Record) -> None:
    history = record.state.history
    axes.plot(
        range(1, len(history) + 1), [entry["loss"] for entry in history], color=COLOURS[0], linewidth=0.8, label="S"
    )
    ahead = [(i, entry["ahead"]) for i, entry in enumerate(history, 1) if entry["ahead"] is not None]
    if ahead:
        axes.plot(*zip(*ahead, strict=True), ".", color=COLOURS[1], markersize=3, label="S~ after one step")
    axes.set_xlabel("iteration of GradInit")
    axes.set_ylabel("loss (nats per token)")
    axes.legend(frameon=False)


def _draw_norm(axes: Axes, record: Record) -> None:
    history = record.state.history
    adam = record.settings["step"] == "adam"
    axes.plot(range(1, len(history) + 1), [entry["norm"] for entry in history], color="0.6", linewidth=0.6)
    for kind, colour in (("objective", COLOURS[1]), (CONSTRAINT, COLOURS[0])):
        points = [(i, entry["norm"]) for i, entry in enumerate(history, 1) if entry["kind"] == kind]
        if points:
            axes.plot(*zip(*points, strict=True), ".", color=colour, markersize=3, label=f"{kind} step")
    axes.axhline(record.settings["gamma"], color="black", linewidth=0.8, linestyle="--", label="gamma")
    _log_axis(axes)
    axes.set_xlabel("iteration of GradInit")
    axes.set_ylabel(f"gradient norm ({'L1' if adam else 'L2'})")
    axes.legend(frameon=False)


def _log_axis(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def main() -> None:
    """Draws the record that the arguments name."""
    parser = argparse.ArgumentParser(prog="python -m gradinit_mt.plots.scales", description=__doc__.splitlines()[0])
    parser.add_argument("save_dir", type=Path, metavar="SAVE_DIR", help="save dir of a run, or a gradinit.safetensors")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the picture: .png, .svg or .pdf")
    options = parser.parse_args(sys.argv[1:])
    write(draw(Record.load(options.save_dir)), options.output)
    print(options.output)


if __name__ == "__main__":
    command.run(main)
