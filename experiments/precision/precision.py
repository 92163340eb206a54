"""Whether bfloat16 changes what GradInit learns: scales at both precisions over seeds, on a prepared corpus.

    .venv/bin/python experiments/precision/precision.py CORPUS --output runs/precision

It takes about 5 minutes on 2 CPU cores.

It uses the published form. A seed fixes the initial parameters and the batches of both precisions; each precision uses
its default Hessian-vector product. The difference between their scales is compared with the scales' standard deviation
over seeds. Records that already exist in the output are not learned again.
"""

import argparse
import multiprocessing
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import torch
from tqdm import tqdm

from gradinit_mt.common import command
from gradinit_mt.common.errors import UserError
from gradinit_mt.common.files import write_text
from gradinit_mt.corpora.layout import PreparedCorpus
from gradinit_mt.corpora.workers import add_workers
from gradinit_mt.record.record import Record

PRECISIONS = ("full", "bfloat16")
ROOT = Path(__file__).resolve().parents[2]
TRAINING = [
    *("--task", "gradinit_translation", "--arch", "post_ln_transformer_tiny", "--share-decoder-input-output-embed"),
    *("--criterion", "label_smoothed_cross_entropy", "--label-smoothing", "0.1", "--optimizer", "adam"),
    *("--adam-betas", "(0.9, 0.98)", "--lr", "5e-4", "--lr-scheduler", "linear", "--max-tokens", "1024"),
    *("--gradinit-form", "paper", "--gradinit-iterations", "150", "--gradinit-tau", "1e-2"),
    *("--max-update", "1", "--total-num-update", "1"),
    *("--disable-validation", "--no-save", "--cpu", "--num-workers", "0"),
]


def learn(corpus: Path, output: Path, key: tuple[str, int]) -> Record:
    """The record of one run of fairseq-train, which reuses a complete record with these settings.

    Args:
        corpus: the binarized one.
        output: directory for the save dirs.
        key: precision and seed.
    """
    precision, seed = key
    save_dir = output / f"{precision}-seed{seed}"
    line = [sys.executable, "-m", "fairseq_cli.train", corpus, "--user-dir", ROOT / "gradinit_mt", *TRAINING]
    line += ["--gradinit-precision", precision, "--seed", str(seed), "--save-dir", save_dir]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run(list(map(str, line)), env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        raise UserError(command.failure("fairseq-train", done.returncode, done.stderr.splitlines()))
    return Record.load(save_dir)


def compare(records: dict[tuple[str, int], Record], seeds: int) -> str:
    """Differences between the precisions, and between seeds, over the blocks whose scale is learned."""
    scales = {
        precision: torch.stack([records[precision, seed].state.scales for seed in range(1, seeds + 1)])
        for precision in PRECISIONS
    }
    learnable = torch.tensor([block["learnable"] for block in records["full", 1].blocks])
    full, bfloat16 = (scales[precision][:, learnable] for precision in PRECISIONS)
    spread, shift = full.std(dim=0), (bfloat16 - full).mean(dim=0).abs()
    within = (bfloat16 - full).abs().mean(dim=0)
    correlation = torch.corrcoef(torch.stack([full.mean(dim=0), bfloat16.mean(dim=0)]))[0, 1]
    lines = [
        f"{learnable.sum()} scales, {seeds} seeds; full: {full.min():.3f} to {full.max():.3f}",
        f"standard deviation over seeds, full precision     median {spread.median():.4f}, most {spread.max():.4f}",
        f"difference of the precisions, same seed           median {within.median():.4f}, most {within.max():.4f}",
        f"the same, mean over seeds                         median {shift.median():.4f}, most {shift.max():.4f}",
        f"correlation of the mean scales                    {correlation:.4f}",
    ]
    for precision in PRECISIONS:
        own = [records[precision, seed].state for seed in range(1, seeds + 1)]
        constraint = sum(state.steps[1] for state in own) / seeds
        seconds = sum(state.seconds for state in own) / seeds
        lines.append(f"{precision:9} {constraint:.1f} constraint steps, {seconds:.1f} s on one thread (means)")
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("corpus", type=Path, metavar="CORPUS", help="a prepared corpus")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="directory for records and the result"
    )
    parser.add_argument("--seeds", type=command.positive_int, default=3, metavar="N", help="(default: %(default)s)")
    add_workers(parser)
    options = parser.parse_args()
    if options.seeds < 2:
        parser.error("a spread needs at least 2 seeds")
    corpus = PreparedCorpus.load(options.corpus.resolve())
    keys = [(precision, seed) for seed in range(1, options.seeds + 1) for precision in PRECISIONS]
    with multiprocessing.Pool(options.workers) as pool:
        learned = pool.imap(partial(learn, corpus.bin, options.output), keys)
        records = dict(zip(keys, tqdm(learned, "runs", len(keys), disable=None), strict=True))
    text = compare(records, options.seeds)
    write_text(options.output / "precision.txt", text)
    print(text, end="")


if __name__ == "__main__":
    command.run(main, interrupted="finished runs are kept; the same command continues")
