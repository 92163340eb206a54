"""Draws the learned scales by layer and role, and how they were learned, from the record of one run.

Above: one row of panels per stack of layers (encoder, decoder), one column per kind of submodule, one line per weight.
Below, over the iterations: every scale; the loss on S before and the objective on S~ after the look-ahead (including
the lost signal, if it counts); the gradient norm and its bound gamma, if there is one.
Biases are left out; they are in ``gradinit.json``.
"""

import matplotlib
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from gradinit_mt.common.figures import COLOURS, STYLE
from gradinit_mt.core.state import CONSTRAINT, OBJECTIVE
from gradinit_mt.record.layers import Scale, by_stack, placed
from gradinit_mt.record.record import Record

TITLE = (
    "GradInit multiplied each weight by a learned scale, shown here with the loss and the gradient norm as it learned."
)
# legends below the axes and their labels, so that they cover no curve
BELOW = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "borderaxespad": 4.5, "frameon": False, "fontsize": 7}
BELOW |= {"ncols": 2, "handlelength": 1.2, "handletextpad": 0.5, "columnspacing": 0.8}


def draw(record: Record) -> Figure:
    """The figure of one record.

    Raises:
        RecordError: nothing was learned yet.
    """
    record.require_iterations()
    scales = placed(record)
    stacks = by_stack(scales)
    families = list(dict.fromkeys(scale.family for scale in scales if scale.stack is not None))
    with matplotlib.rc_context(STYLE | {"font.size": 8}):
        size = max(10.0, 2.6 * len(families)), 1.8 * len(stacks) + 4.2
        figure = Figure(size, layout="constrained")
        outside = ", ".join(f"{scale.name} {scale.value:.2f}" for scale in scales if scale.stack is None)
        figure.suptitle(TITLE + (f"\nScales outside the layers: {outside}" if stacks and outside else ""), fontsize=9)
        below: Figure | SubFigure = figure
        if stacks:
            above, below = figure.subfigures(2, 1, height_ratios=(1.8 * len(stacks) + 0.8, 3.0))
            _draw_layers(above, stacks, families)
        panels = below.subplots(1, 3)
        _draw_trajectories(panels[0], record, scales)
        _draw_loss(panels[1], record.state.history)
        _draw_norm(panels[2], record)
        for axes in panels:
            axes.set_xlabel("iteration of GradInit")
    return figure


def _draw_layers(figure: SubFigure, stacks: dict[str, dict], families: list[str]) -> None:
    grid = figure.subplots(len(stacks), len(families), sharey=True, squeeze=False)
    for column, family in zip(grid.T, families, strict=True):
        roles = list(dict.fromkeys(role for present in stacks.values() for role in present.get(family, {})))
        lines = {}
        for axes, (stack, present) in zip(column, stacks.items(), strict=True):
            if family not in present:
                axes.axis("off")
                continue
            axes.axhline(1, color="0.7", linewidth=0.8)
            for role, values in present[family].items():
                number = roles.index(role)
                # smaller dots for later lines, so that none is hidden
                style = {"color": COLOURS[number % len(COLOURS)], "linewidth": 1, "markersize": max(2, 5 - number)}
                (lines[role],) = axes.plot(list(values), list(values.values()), "o-", **style)
            _log_axis(axes)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
            axes.set_title(f"{stack}: {family}", fontsize=8)
            axes.set_xlabel("layer")
        column[-1].legend(lines.values(), lines, **BELOW)
    for axes in grid[:, 0]:
        axes.set_ylabel("learned scale")


def _draw_trajectories(axes: Axes, record: Record, scales: list[Scale]) -> None:
    values = torch.stack(record.state.trajectory)  # [iterations, blocks]
    iterations = range(1, len(values) + 1)
    families = list(dict.fromkeys(scale.family for scale in scales))
    lines = {}
    for scale in scales:
        colour = COLOURS[families.index(scale.family) % len(COLOURS)]
        (line,) = axes.plot(iterations, values[:, scale.index], color=colour, linewidth=0.7, alpha=0.7)
        lines[scale.family] = line
    if len(families) <= len(COLOURS):
        axes.legend(lines.values(), lines, **BELOW)
    _log_axis(axes)
    axes.set_ylabel("scale")


def _draw_loss(axes: Axes, history: list[dict]) -> None:
    losses = [entry["loss"] for entry in history]
    axes.plot(range(1, len(history) + 1), losses, color=COLOURS[0], linewidth=0.8, label="loss on S")
    ahead = {number: entry["ahead"] for number, entry in enumerate(history, 1) if entry["ahead"] is not None}
    _dots(axes, ahead, COLOURS[1], "objective on S~ after the look-ahead")
    axes.set_ylabel("nats per token")
    axes.legend(**BELOW)


def _draw_norm(axes: Axes, record: Record) -> None:
    history, gamma = record.state.history, record.settings["gamma"]
    axes.plot(range(1, len(history) + 1), [entry["norm"] for entry in history], color="0.6", linewidth=0.6)
    for kind, colour in ((OBJECTIVE, COLOURS[1]), (CONSTRAINT, COLOURS[0])):
        norms = {number: entry["norm"] for number, entry in enumerate(history, 1) if entry["kind"] == kind}
        _dots(axes, norms, colour, f"{kind} step")
    if gamma is not None:
        axes.axhline(gamma, color="black", linewidth=0.8, linestyle="--", label=f"bound gamma, {gamma:g}")
    _log_axis(axes)
    axes.set_ylabel(f"gradient norm ({'L1' if record.settings['step'] == 'adam' else 'L2'})")
    axes.legend(**BELOW)


def _dots(axes: Axes, values: dict[int, float], colour: str, label: str) -> None:
    if values:
        axes.plot(list(values), list(values.values()), ".", color=colour, markersize=3, label=label)


def _log_axis(axes: Axes) -> None:
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    axes.yaxis.set_minor_formatter(NullFormatter())
