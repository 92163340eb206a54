"""The report's pictures: source gain over rates and moments, and training loss over updates."""

import itertools
import re
import statistics
from collections import Counter, defaultdict
from collections.abc import Iterator

import numpy as np
from matplotlib import pyplot
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle

from comparison import measures
from comparison.groups import Group, Part, rates_of
from comparison.settings import SETTINGS
from gradinit_mt.common.figures import COLOURS, STYLE
from gradinit_mt.training.curve import diverged

LINES = ("-", "--", ":", "-.")
SECTIONS = {"A": "one flag", "B": "scales", "C": "residual sums", "D": "learned"}
BEST = 5.0  # bits of source gain at the end of the colours
WIDEST = 3  # panels side by side
LOWEST = 1.8  # inches
SHOWN = 0.6  # bits of validation loss above the lowest


def over_moments(found: dict[Part, list[Group]]) -> Iterator[tuple[str, str, Figure]]:
    """The source gain over rates and moments, a panel per setting: for parts that differ in their moment only.

    Yields:
        A name for the file, a title, and the figure.
    """
    alike: dict[tuple, dict[float, list[Group]]] = defaultdict(dict)
    for part, groups in found.items():
        alike[part.corpus, part.updates, part.further, part.optimizer][part.moment] = groups
    for (corpus, updates, further, optimizer), by_moment in alike.items():
        name = "momentum" if optimizer == "SGD" else "beta2"
        figure = _over_moments(by_moment, name) if len(by_moment) > 1 else None
        if figure is not None:
            title = ", ".join([corpus, f"{updates:,} updates", optimizer, *[" ".join(further)] * bool(further)])
            file = re.sub(r"[^\w.-]+", "-", " ".join([f"{name}-{corpus}-{updates}", *further]))
            yield file, f"{title}: source gain over learning rate and {name}", figure


def over_settings(groups: list[Group]) -> Figure:
    """The source gain of each setting of a part over its rates."""
    settings = list(dict.fromkeys(group.setting for group in groups))
    rates = rates_of(groups)
    with pyplot.rc_context(STYLE):
        size = (2.6 + 0.75 * len(rates), max(LOWEST, 0.8 + 0.26 * len(settings)))
        figure, axes = pyplot.subplots(figsize=size, layout="constrained")
        cells = {(settings.index(group.setting), rates.index(group.lr)): group for group in groups}
        image = _draw_map(axes, cells, (len(settings), len(rates)))
        _label(axes, [f"{lr:g}" for lr in rates], [f"{SETTINGS[name].section}  {name}" for name in settings])
        axes.set_xlabel("learning rate")
        _bar(figure, image, axes)
    return figure


def _over_moments(by_moment: dict[float, list[Group]], name: str) -> Figure | None:
    groups = [group for groups in by_moment.values() for group in groups]
    # a setting at a single moment needs no panel, and a rate at a single one no column
    moments = sorted(by_moment)
    count = Counter((group.setting, group.lr) for group in groups)
    several = [group for group in groups if count[group.setting, group.lr] > 1]
    settings = [name for name in SETTINGS if any(group.setting == name for group in several)]
    rates = rates_of(several)
    if not settings:
        return None
    columns = min(WIDEST, len(settings))
    rows = -(-len(settings) // columns)
    with pyplot.rc_context(STYLE):
        size = (1.3 + columns * (0.5 + 0.55 * len(rates)), max(LOWEST, rows * (0.9 + 0.38 * len(moments))))
        figure, panels = pyplot.subplots(rows, columns, figsize=size, squeeze=False, layout="constrained")
        for axes, setting in itertools.zip_longest(panels.flat, settings):
            if setting is None:
                axes.set_visible(False)
                continue
            cells = {
                (row, rates.index(group.lr)): group
                for row, moment in enumerate(moments)
                for group in by_moment[moment]
                if group.setting == setting and group.lr in rates
            }
            image = _draw_map(axes, cells, (len(moments), len(rates)))
            _label(axes, [f"{lr:g}" for lr in rates], [f"{moment:g}" for moment in moments])
            axes.set_title(setting, fontsize=9)
        for axes in panels[:, 0]:
            axes.set_ylabel(name)
        figure.supxlabel("learning rate", fontsize=9)
        _bar(figure, image, panels)
    return figure


def _draw_map(axes: Axes, cells: dict[tuple[int, int], Group], shape: tuple[int, int]) -> AxesImage:
    """The source gain in colour and as a number; a cross where runs failed, grey where there are none."""
    values, texts = np.full(shape, np.nan), {}
    for at, group in cells.items():
        gain = group.mean(measures.gain)
        values[at], texts[at] = (0.0, "nan") if gain is None else (gain, f"{gain:.1f}")
    axes.set_facecolor("0.92")
    image = axes.imshow(values, cmap="viridis", vmin=0, vmax=BEST, aspect="auto")
    for (row, column), group in cells.items():
        text = texts[row, column]
        dark = values[row, column] < 0.6 * BEST
        if group.failed:
            axes.add_patch(Rectangle((column - 0.5, row - 0.5), 1, 1, fill=False, hatch="xxx", edgecolor="0.6", lw=0))
            text += f"\n{group.failed}/{len(group.readings)}" if 0 < group.failed < len(group.readings) else ""
        box = {"boxstyle": "round,pad=0.1", "facecolor": "#440154", "edgecolor": "none"} if group.failed else None
        axes.text(column, row, text, ha="center", va="center", fontsize=7, color="white" if dark else "black", bbox=box)
    return image


def _label(axes: Axes, columns: list[str], rows: list[str]) -> None:
    axes.set_xticks(range(len(columns)), columns, fontsize=8)
    axes.set_yticks(range(len(rows)), rows, fontsize=8)
    axes.tick_params(length=0)
    for side in axes.spines.values():
        side.set_visible(False)


def _bar(figure: Figure, image: AxesImage, axes: Axes | np.ndarray) -> None:
    bar = figure.colorbar(image, ax=axes, extend="max", shrink=0.8)
    bar.set_label("source gain (bits)", fontsize=8)


def curves(groups: list[Group], baseline: str, losses: str = "training") -> Figure:
    """Losses over updates: a column of panels per rate, the baseline in each panel.

    A few settings share a row of panels; of many, each section has a row of its own.

    Args:
        groups: of one part.
        baseline: a setting.
        losses: ``training``, or ``validation``, of which the lowest are shown.
    """
    logged = [group for group in groups if any(reading[losses] for reading in group.readings)]
    rates = rates_of(logged or groups)
    rows = _rows(list(dict.fromkeys(group.setting for group in groups)))
    with pyplot.rc_context(STYLE):
        figure, panels = pyplot.subplots(
            *(len(rows), len(rates)),
            figsize=(2.2 + 2.3 * max(len(rates), 2), 0.6 + 2.1 * max(len(rows), 1.5)),
            sharex=True,
            sharey=True,
            squeeze=False,
            layout="constrained",
        )
        for row, (label, inside) in zip(panels, rows.items(), strict=True):
            others = [setting for setting in inside if setting != baseline]
            styles = dict(zip(others, itertools.product(LINES, COLOURS[:-1]), strict=False))
            styles[baseline] = ("-", COLOURS[-1])
            for axes, lr in zip(row, rates, strict=True):
                for group in groups:
                    if group.lr == lr and group.setting in styles:
                        _draw_line(axes, group, losses, *styles[group.setting])
            lines = {line.get_label(): line for axes in row for line in axes.get_lines()}
            lines = {name: lines[name] for name in styles if name in lines}
            row[-1].legend(lines.values(), lines, loc="upper left", bbox_to_anchor=(1, 1), frameon=False, fontsize=7)
            row[0].set_ylabel(f"{label}\n{losses} loss (bits per target token)".lstrip(), fontsize=8)
        for axes, lr in zip(panels[0], rates, strict=True):
            axes.set_title(f"learning rate {lr:g}", fontsize=9)
        for axes in panels[-1]:
            axes.set_xlabel("updates")
        ends = [min(line.get_ydata(), default=np.inf) for axes in panels.flat for line in axes.get_lines()]
        lowest = [end for end in ends if np.isfinite(end)]
        if losses == "validation" and lowest:
            panels[0, 0].set_ylim(min(lowest) - 0.05, min(lowest) + SHOWN)
    return figure


def _rows(settings: list[str]) -> dict[str, list[str]]:
    """The settings of each row of panels, by its label."""
    if len(settings) <= len(COLOURS):
        return {"": settings}
    by_section = {
        f"{name}: {about}": [s for s in settings if SETTINGS[s].section == name] for name, about in SECTIONS.items()
    }
    return {label: inside for label, inside in by_section.items() if inside}


def _draw_line(axes: Axes, group: Group, losses: str, style: str, colour: str) -> None:
    """The mean over the seeds that have losses, where all of these have one that can be drawn.

    A cross ends it if a seed diverged.
    """
    runs = [
        {int(update): loss for update, loss in reading[losses].items() if loss is not None and not diverged(loss)}
        for reading in group.readings
        if reading[losses]
    ]
    shared = sorted(set.intersection(*map(set, runs))) if runs else []
    means = [statistics.mean(run[update] for run in runs) for update in shared]
    marker = "x" if group.diverged else None
    at = [-1] if shared else []
    axes.plot(shared, means, style, color=colour, linewidth=1.1, label=group.setting, marker=marker, markevery=at)
