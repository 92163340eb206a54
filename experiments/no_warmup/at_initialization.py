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
import logging
from dataclasses import replace
from pathlib import Path

import torch
from bench import BETAS, Bench  # which also makes the package comparison known
from comparison.cells import Cell
from comparison.folder import SAVE_DIR
from comparison.settings import HAND_BRANCHES, HAND_OUTPUT
from derivatives import drop_table, noise_table
from first_updates import draw_first_updates, first_updates, first_updates_table
from quantities import quantities, quantities_table, surface
from torch import Tensor

from gradinit_mt.common import command
from gradinit_mt.common.figures import write
from gradinit_mt.common.files import write_text
from gradinit_mt.corpora.layout import PreparedCorpus
from gradinit_mt.record.record import Record, RecordError, fingerprint

BY_HAND = {"hand": HAND_BRANCHES, "hand-output": HAND_OUTPUT}  # the first was the best rule known before this study
LEARNED = {"paper": "gradinit-paper", "gradinit": "gradinit-signal"}  # name in the tables: setting of the runs


def learned_scales(bench: Bench, run: Cell, runs: Path) -> dict[str, Tensor]:
    """The scales of LEARNED by name; says which were not learned for this model."""
    found = {}
    for name, setting in LEARNED.items():
        try:
            record = Record.load(runs / "cells" / replace(run, setting=setting).name / SAVE_DIR)
            record.require_blocks_of(bench.theta0)
            if record.theta0 != fingerprint(bench.theta0):
                raise RecordError("its scales were learned for other initial parameters")
            found[name] = record.state.scales
        except RecordError as error:
            command.step(f"without {name}: {error}")
    return found


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
    initial = {"xavier": None} | {name: bench.scales(rule) for name, rule in BY_HAND.items()}
    initial |= learned_scales(bench, run, chosen.runs)
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
