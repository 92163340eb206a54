"""Validation loss, source gain and signal over the first updates of training."""

from collections.abc import Iterator

import torch
from bench import TOKENS, Bench  # which also makes the package comparison known
from comparison.cells import PRESET
from matplotlib import pyplot
from torch import Tensor, nn
from tqdm import tqdm

from gradinit_mt.common.figures import COLOURS, STYLE
from gradinit_mt.common.tables import markdown
from gradinit_mt.core.signal import SignalLoss
from gradinit_mt.lr_schedulers.linear import lr_at
from gradinit_mt.plugin.source_gain import source_gain
from gradinit_mt.plugin.stacks import stacks_of
from gradinit_mt.training.presets import PRESETS

DECAY_UPDATES = PRESETS[PRESET].options["total-num-update"]
NOTED_UPDATES = (0, 1, 2, 3, 5, 8, 12, 20, 30, 50, 75, 100, 150, 200)
NOTES = ("validation loss (bits)", "source gain (bits)", "encoder: signal left", "decoder: signal left")
Notes = dict[str, list[tuple[float, ...]]]  # by start, a row of NOTES for each of NOTED_UPDATES


def first_updates(bench: Bench, starts: dict[str, tuple[Tensor | None, int]], samples: list[dict]) -> Notes:
    """Trains from each start, given by its scales and warmup updates, and takes notes on the way."""
    return {
        name: list(_notes(bench, bench.model(scales), warmup, samples, name))
        for name, (scales, warmup) in starts.items()
    }


def first_updates_table(found: Notes) -> str:
    """Markdown with a line per start and update."""
    rows = [
        [name, str(update), f"{loss:.2f}", f"{gain:.4f}", *(f"{share:.2g}" for share in left)]
        for name, notes in found.items()
        for update, (loss, gain, *left) in zip(NOTED_UPDATES, notes, strict=True)
    ]
    return markdown(["initialization", "updates", *NOTES], rows)


def draw_first_updates(found: Notes) -> pyplot.Figure:
    """A figure with a panel per note."""
    with pyplot.rc_context(STYLE):
        figure, grid = pyplot.subplots(2, 2, figsize=(8, 5.5), sharex=True, layout="constrained")
        for (name, rows), colour in zip(found.items(), COLOURS, strict=False):
            for axes, column in zip(grid.flat, zip(*rows, strict=True), strict=True):
                axes.plot(NOTED_UPDATES, column, "o-", color=colour, markersize=2.5, linewidth=1.2, label=name)
        for axes, title in zip(grid.flat, NOTES, strict=True):
            axes.set_title(title, fontsize=9)
            axes.set_xscale("symlog", linthresh=1)
        for axes in grid[1]:
            axes.set_yscale("log")
            axes.set_xlabel("updates")
        figure.legend(*grid[0][0].get_legend_handles_labels(), loc="outside upper left", ncols=3, frameon=False)
    return figure


def _notes(bench: Bench, model: nn.Module, warmup: int, samples: list[dict], name: str) -> Iterator[tuple[float, ...]]:
    optimizer, batches = bench.adam(model), bench.batches(TOKENS, 300)
    for update in tqdm(range(NOTED_UPDATES[-1] + 1), name, disable=None):
        if update in NOTED_UPDATES:
            gain = source_gain(model, bench.criterion, samples)
            watch = SignalLoss(stacks_of(model))
            with torch.no_grad(), watch.watching():
                model(**samples[0]["net_input"])
                left = [watch.signals(samples[0], stack)[-1].item() for stack in range(2)]
            yield gain.loss, gain.gain, *left
        model.train()
        for group in optimizer.param_groups:
            group["lr"] = lr_at(update, bench.lr, DECAY_UPDATES, warmup=warmup)
        optimizer.zero_grad()
        bench.loss(model, next(batches)).backward()
        optimizer.step()
