"""What can be measured before training, and whether it ranks initializations as training does.

    .venv/bin/python experiments/no_warmup/at_initialization.py CORPUS \\
        --runs runs/comparison --output runs/at-initialization

It takes about 15 minutes on one core. ``--runs`` is the output of ``comparison/study.py``, whose model this study uses.
The study includes the scales learned there by the settings ``gradinit-signal`` and ``gradinit-paper`` with beta2 0.98,
if they were run. Its output:

- ``noise.md``: the derivatives, by each scale, of the loss after one and after several steps, and of the signal lost by
  then: their mean over batches against their standard deviation;
- ``drop.md``: how much of the first step's drop of the loss is due to embeddings and softmax, and how much to the
  layers;
- ``quantities.md``: loss, signal and source gain after a few steps from each initialization;
- ``surface.png``: these quantities over one common scale of all residual branches;
- ``first_updates.md``, ``first_updates.png``: validation loss, source gain and signal over the first 200 updates.

All numbers are from one seed (``--seed``); each repetition draws new batches.
"""

import argparse
import ast
import copy
import itertools
import logging
import math
import statistics
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import torch
from fairseq import tasks, utils
from matplotlib import pyplot
from torch import Tensor, nn
from tqdm import tqdm

sys.path.insert(1, str(Path(__file__).resolve().parents[1]))  # for the package of the study beside this one

from comparison.cells import PRESET, Cell
from comparison.scales_by_hand import fairseq_config, scales_by_hand
from comparison.settings import BRANCHES, SETTINGS
from comparison.train import SAVE_DIR

from gradinit_mt.common import command
from gradinit_mt.common.figures import COLOURS, STYLE, write
from gradinit_mt.common.files import write_text
from gradinit_mt.common.tables import markdown, spread
from gradinit_mt.core import find_blocks, scale_blocks
from gradinit_mt.core.forms import FORMS
from gradinit_mt.core.signal import SignalLoss
from gradinit_mt.corpora.layout import PreparedCorpus
from gradinit_mt.lr_schedulers.linear import lr_at
from gradinit_mt.plugin.source_gain import source_gain
from gradinit_mt.plugin.stacks import stacks_of
from gradinit_mt.record.record import Record, RecordError, fingerprint
from gradinit_mt.training.presets import COMMON, PRESETS

BETAS = ast.literal_eval(str(COMMON["adam-betas"]))
STEPS = FORMS["signal"].look_ahead
TOKENS = PRESETS[PRESET].tokens_per_update
DECAY_UPDATES = PRESETS[PRESET].options["total-num-update"]
HAND = dict.fromkeys(BRANCHES, 0.3)  # the best rule known before this study
LEARNED = {"paper": "gradinit-paper", "gradinit": "gradinit-signal"}  # name in the tables: setting of the runs
STEP_TOKENS = TOKENS // STEPS
LAST = "decoder.layers.{}.final_layer_norm"
COMMON_SCALES = (0.05, 0.1, 0.2, 0.3, 0.45, 0.7, 1.0, 1.4)
CHANCE = 100_000  # columns of pure noise
NOTED_UPDATES = (0, 1, 2, 3, 5, 8, 12, 20, 30, 50, 75, 100, 150, 200)
NOTES = ("validation loss (bits)", "source gain (bits)", "encoder: signal left", "decoder: signal left")
Notes = dict[str, list[tuple[float, ...]]]  # by start, a row of NOTES for each of NOTED_UPDATES


class Bench:
    """The model of the comparison study, its criterion and its batches, with the seed and learning rate of a run."""

    def __init__(self, run: Cell, corpus: PreparedCorpus) -> None:
        cfg = fairseq_config(run, corpus, Path("unused"))
        utils.set_torch_seed(run.seed)
        self.task = tasks.setup_task(cfg.task)
        self.theta0 = self.task.build_model(cfg.model)
        self.criterion = self.task.build_criterion(cfg.criterion)
        self.lr, self.seed = run.lr, run.seed
        for split in ("train", "valid"):
            self.task.load_dataset(split)

    def model(self, scales: Tensor | None = None) -> nn.Module:
        """A copy of the initial model in evaluation mode, its blocks scaled."""
        model = copy.deepcopy(self.theta0).eval()
        if scales is not None:
            scale_blocks(find_blocks(model), scales)
        return model

    def branches(self, scale: float) -> Tensor:
        """One common scale for the matrices of all residual branches."""
        return scales_by_hand(dict.fromkeys(BRANCHES, scale), [block.name for block in find_blocks(self.theta0)])

    def batches(self, tokens: int, number: int, split: str = "train") -> Iterator[dict]:
        """An endless sequence of batches, different for each ``number``."""
        dataset = self.task.dataset(split)
        batches = dataset.batch_by_size(dataset.ordered_indices(), max_tokens=tokens)
        generator = torch.Generator().manual_seed(1000 * self.seed + number)
        while True:
            for index in torch.randperm(len(batches), generator=generator).tolist():
                yield dataset.collater([dataset[member] for member in batches[index]])

    def fixed(self, count: int) -> list[dict]:
        """Validation batches, always the same."""
        return list(itertools.islice(self.batches(TOKENS, 0, "valid"), count))

    def loss(self, model: nn.Module, sample: dict) -> Tensor:
        """Nats per token, with label smoothing."""
        loss, size, _ = self.criterion(model, sample)
        return loss / size

    def adam(self, model: nn.Module) -> torch.optim.Adam:
        return torch.optim.Adam(model.parameters(), lr=self.lr, betas=BETAS)

    def walk(self, model: nn.Module, steps: int, batches: Iterator[dict]) -> None:
        """Takes the first steps of Adam; the very first one is the published sign step."""
        optimizer = self.adam(model)
        for sample in itertools.islice(batches, steps):
            optimizer.zero_grad()
            self.loss(model, sample).backward()
            optimizer.step()

    def signal_lost(self, model: nn.Module, sample: dict) -> Tensor:
        lost = SignalLoss(stacks_of(model))
        with lost.watching():
            model(**sample["net_input"])
            return lost(sample)


@dataclass(frozen=True)
class Quantities:
    """Measurements after a few steps from an initialization: losses in bits per token, with label smoothing."""

    before: float
    one_step: float
    several: float
    signal_lost: float  # nats, after several steps
    source_gain: float  # bits per token, after several steps


@torch.no_grad()
def _mean(function: Callable[[dict], Tensor], samples: list[dict]) -> float:
    return statistics.mean(float(function(sample)) for sample in samples)


def quantities(bench: Bench, scales: Tensor | None, samples: list[dict]) -> Quantities:
    """Measures one initialization on validation batches."""

    def bits(model: nn.Module) -> float:
        return _mean(lambda sample: bench.loss(model, sample), samples) / math.log(2)

    initial, one, several = (bench.model(scales) for _ in range(3))
    bench.walk(one, 1, bench.batches(TOKENS, 1))
    bench.walk(several, STEPS, bench.batches(STEP_TOKENS, 1))
    return Quantities(
        bits(initial),
        bits(one),
        bits(several),
        _mean(lambda sample: bench.signal_lost(several, sample), samples),
        source_gain(several, bench.criterion, samples).gain,
    )


def quantities_table(found: dict[str, Quantities]) -> str:
    """Markdown with a line per initialization."""
    columns = ["initialization", "loss before", "after 1 step", f"after {STEPS} steps", "signal lost", "source gain"]
    rows = [
        [name, *(f"{value:.2f}" for value in (q.before, q.one_step, q.several, q.signal_lost)), f"{q.source_gain:.4f}"]
        for name, q in found.items()
    ]
    return markdown(columns, rows)


def noise_table(bench: Bench, repetitions: int) -> str:
    """Signal against noise of the derivatives by log m at m = 1, over repetitions with new batches, as Markdown."""
    names = [block.name for block in find_blocks(bench.theta0)]
    in_layers = torch.tensor([".layers." in name for name in names])
    kinds = {
        "loss after 1 step": (1, bench.loss),
        f"loss after {STEPS} steps": (STEPS, bench.loss),
        f"signal lost after {STEPS} steps": (STEPS, bench.signal_lost),
    }
    columns = ["derivative of", "layers: median of mean / deviation", "sign agrees with the mean"]
    columns += ["largest mean in a layer", "largest mean outside"]
    ratio, agrees = _against_noise(torch.randn(repetitions, CHANCE))
    rows = [["nothing: pure noise", f"{ratio:.2f}", f"{agrees:.0%}", "", ""]]
    for title, (steps, function) in kinds.items():
        draws = []
        for number in range(repetitions):
            model = bench.model()
            first = [p.detach().clone() for p in model.parameters()]
            bench.walk(model, steps, bench.batches(TOKENS // steps, 10 + number))
            sample = next(bench.batches(TOKENS, 100 + number))
            derivative = torch.autograd.grad(function(model, sample), list(model.parameters()), materialize_grads=True)
            draws.append(torch.stack([(a * b).sum() for a, b in zip(first, derivative, strict=True)]))
        h = torch.stack(draws)
        learnable = h.abs().sum(0) > 0
        mean, layers = h.mean(0), in_layers & learnable
        ratio, agrees = _against_noise(h[:, layers])
        largest = (f"{mean[there].abs().max():.4f}" for there in (layers, ~in_layers & learnable))
        rows.append([title, f"{ratio:.2f}", f"{agrees:.0%}", *largest])
    return markdown(columns, rows)


def _against_noise(draws: Tensor) -> tuple[float, float]:
    """Over columns: the median of mean / deviation, and how often a draw has the sign of the mean."""
    mean = draws.mean(0)
    ratio = (mean.abs() / draws.std(0)).median()
    agrees = (draws.sign() == mean.sign()).float().mean()
    return ratio.item(), agrees.item()


def drop_table(bench: Bench, samples: list[dict], repetitions: int) -> str:
    """The drop of the loss by Adam's first step, a sign step, if only some of the parameters move, as Markdown."""
    groups = {
        "all parameters": lambda name: True,
        "embeddings and softmax": lambda name: "embed" in name,
        "the layers": lambda name: ".layers." in name,
        "the last LayerNorm alone": lambda name: name.startswith(LAST.format(len(bench.theta0.decoder.layers) - 1)),
    }
    drops: dict[str, list[float]] = {title: [] for title in groups}
    for number in range(repetitions):
        model = bench.model()
        before = _mean(partial(bench.loss, model), samples)
        bench.loss(model, next(bench.batches(TOKENS, 200 + number))).backward()
        for title, moves in groups.items():
            moved = bench.model()
            with torch.no_grad():
                for (name, p), given in zip(moved.named_parameters(), model.parameters(), strict=True):
                    if moves(name) and given.grad is not None:
                        p.sub_(bench.lr * given.grad.sign())
            after = _mean(partial(bench.loss, moved), samples)
            drops[title].append((before - after) / math.log(2))
    columns = ["what moves", "loss taken away, bits per token"]
    return markdown(columns, [[title, spread(values, 3)] for title, values in drops.items()])


def surface(bench: Bench, samples: list[dict]) -> pyplot.Figure:
    """A figure of the quantities over one common scale of the residual branches."""
    found = [quantities(bench, bench.branches(scale), samples) for scale in tqdm(COMMON_SCALES, "surface")]
    with pyplot.rc_context(STYLE):
        figure, (loss, signal) = pyplot.subplots(1, 2, figsize=(8, 3.2), layout="constrained")
        titles = {"before": "before", "one_step": "after 1 step", "several": f"after {STEPS} steps"}
        for (name, label), colour in zip(titles.items(), COLOURS, strict=False):
            loss.plot(COMMON_SCALES, [getattr(q, name) for q in found], "o-", color=colour, markersize=3, label=label)
        loss.set_ylabel("loss (bits per target token)")
        figure.legend(loc="outside upper left", ncols=len(titles), frameon=False)
        signal.plot(COMMON_SCALES, [q.signal_lost for q in found], "o-", color="0.2", markersize=3)
        signal.set_ylabel(f"signal lost after {STEPS} steps (nats)")
        for axes in (loss, signal):
            axes.set_xscale("log")
            axes.set_xticks(COMMON_SCALES, [f"{scale:g}" for scale in COMMON_SCALES])
            axes.minorticks_off()
            axes.set_xlabel("common scale of v_proj, out_proj, fc1, fc2")
    return figure


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
    for update in tqdm(range(NOTED_UPDATES[-1] + 1), name):
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


def main() -> None:
    logging.disable(logging.INFO)  # fairseq makes the root logger verbose
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path, metavar="CORPUS", help="a prepared corpus")
    parser.add_argument("--runs", type=Path, required=True, metavar="DIR", help="output of comparison/study.py")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="directory for tables and pictures")
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="(default: %(default)s)")
    parser.add_argument("--lr", type=float, default=1e-3, metavar="RATE", help="(default: %(default)s)")
    parser.add_argument(
        "--updates", type=int, default=800, metavar="N", help="updates of those runs (default: %(default)s)"
    )
    parser.add_argument("--repetitions", type=int, default=6, metavar="N", help="at least 2 (default: %(default)s)")
    chosen = parser.parse_args()
    if chosen.repetitions < 2:
        parser.error(f"--repetitions {chosen.repetitions}: a deviation needs at least 2")
    if chosen.output.exists():
        parser.error(f"--output {chosen.output}: already exists; name another output, or remove it first")
    torch.set_num_threads(1)
    corpus = PreparedCorpus.load(chosen.corpus.resolve())
    run = Cell(corpus.name, "xavier", chosen.lr, BETAS[1], None, chosen.seed, chosen.updates)
    bench = Bench(run, corpus)
    samples = bench.fixed(5)
    names = [block.name for block in find_blocks(bench.theta0)]
    rules = {"hand": HAND, "hand-output": SETTINGS["hand-output"].by_hand or {}}
    initial = {"xavier": None} | {name: scales_by_hand(rule, names) for name, rule in rules.items()}
    for name, setting in LEARNED.items():
        try:
            record = Record.load(chosen.runs / "cells" / replace(run, setting=setting).name / SAVE_DIR)
            record.require_blocks_of(bench.theta0)
            if record.theta0 != fingerprint(bench.theta0):
                raise RecordError("its scales were learned for other initial parameters")
            initial[name] = record.state.scales
        except RecordError as error:
            command.step(f"without {name}: {error}")
    chosen.output.mkdir(parents=True)
    tables = {
        "noise.md": lambda: noise_table(bench, chosen.repetitions),
        "drop.md": lambda: drop_table(bench, samples, chosen.repetitions),
        "quantities.md": lambda: quantities_table({n: quantities(bench, s, samples) for n, s in initial.items()}),
    }
    for name, make in tables.items():
        text = make()
        write_text(chosen.output / name, text)
        print(text)
    write(surface(bench, samples), chosen.output / "surface.png")
    starts = {name: (scales, 0) for name, scales in initial.items()} | {"xavier, warmup 200": (None, 200)}
    notes = first_updates(bench, starts, samples)
    write_text(chosen.output / "first_updates.md", first_updates_table(notes))
    write(draw_first_updates(notes), chosen.output / "first_updates.png")


if __name__ == "__main__":
    command.run(main)
