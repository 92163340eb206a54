"""The learned scales by layer and role, and how they were learned, from the record of one run.

Above: one row of panels per stack of layers (encoder, decoder), one line per weight. Below: every scale over the
iterations, the loss on S before and the objective on S~ after the look-ahead (with the signal lost, where that counts),
and the gradient norm against its bound gamma, if there is one.
Biases are left out; they are in ``gradinit.json``.
"""

import torch
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator, MaxNLocator, NullFormatter, StrMethodFormatter

from gradinit_mt.common.figures import COLOURS
from gradinit_mt.core.state import CONSTRAINT
from gradinit_mt.record.layers import Scale, by_stack, placed, submodules_first
from gradinit_mt.record.record import Record


def draw(record: Record) -> Figure:
    """The figure of one record.

    Raises:
        RecordError: nothing was learned yet.
    """
    record.require_iterations()
    scales = placed(record)
    stacks = by_stack(scales)
    families = sorted(dict.fromkeys(family for stack in stacks.values() for family in stack), key=submodules_first)
    with pyplot.rc_context({"font.size": 8, "axes.spines.top": False, "axes.spines.right": False}):
        figure = pyplot.figure(figsize=(max(9.0, 2.6 * len(families)), 2.0 * len(stacks) + 3.2), layout="constrained")
        above, below = (
            figure.subfigures(2, 1, height_ratios=(max(1.0, 2.0 * len(stacks)), 2.4)) if stacks else (None, figure)
        )
        if stacks:
            _draw_layers(above, stacks, families)
        trajectories, loss, norm = below.subplots(1, 3)
        _draw_trajectories(trajectories, record, scales)
        _draw_loss(loss, record)
        _draw_norm(norm, record)
        outside = ", ".join(f"{scale.name} {scale.value:.2f}" for scale in scales if scale.stack is None)
        if outside and stacks:
            below.suptitle(f"scales outside the layers: {outside}", fontsize=8)
    return figure


def _draw_layers(figure, stacks: dict[str, dict], families: list[str]) -> None:
    grid = figure.subplots(len(stacks), len(families), sharey=True, squeeze=False)
    for axes_row, (stack, present) in zip(grid, stacks.items(), strict=True):
        for axes, family in zip(axes_row, families, strict=True):
            if family not in present:
                axes.axis("off")
                continue
            axes.axhline(1, color="0.7", linewidth=0.8)
            for number, (role, values) in enumerate(present[family].items()):
                colour = COLOURS[number % len(COLOURS)]
                axes.plot(values.keys(), values.values(), "o-", color=colour, label=role, linewidth=1, markersize=3)
            _log_axis(axes)
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
            axes.set_title(f"{stack}: {family}", fontsize=8)
            axes.legend(frameon=False, fontsize=6.5)
        axes_row[0].set_ylabel("learned scale")
    for axes in grid[-1]:
        axes.set_xlabel("layer")


def _draw_trajectories(axes: Axes, record: Record, scales: list[Scale]) -> None:
    values = torch.stack(record.state.trajectory)  # [iterations, blocks]
    iterations = range(1, len(values) + 1)
    families = list(dict.fromkeys(scale.family for scale in scales))
    for scale in scales:
        colour = COLOURS[families.index(scale.family) % len(COLOURS)]
        axes.plot(iterations, values[:, scale.index], color=colour, linewidth=0.6, alpha=0.6)
    if len(families) <= len(COLOURS):
        for number, family in enumerate(families):
            axes.plot([], [], color=COLOURS[number], label=family)
        axes.legend(frameon=False, fontsize=6.5)
    _log_axis(axes)
    axes.set_xlabel("iteration of GradInit")
    axes.set_ylabel("scale")


def _draw_loss(axes: Axes, record: Record) -> None:
    history = record.state.history
    axes.plot(
        range(1, len(history) + 1), [entry["loss"] for entry in history], color=COLOURS[0], linewidth=0.8, label="S"
    )
    ahead = [(i, entry["ahead"]) for i, entry in enumerate(history, 1) if entry["ahead"] is not None]
    if ahead:
        axes.plot(
            *zip(*ahead, strict=True), ".", color=COLOURS[1], markersize=3, label="objective on S~ after the look-ahead"
        )
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
    if record.settings["gamma"] is not None:
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
