"""Arguments of short runs, and the models they leave."""

import json
import signal
import time
from pathlib import Path

import torch

from gradinit_mt.plugin.checkpoints import untrusted
from gradinit_mt.record.record import Record

MODEL = [
    *("--arch", "post_ln_transformer_tiny", "--encoder-layers", "2", "--encoder-embed-dim", "32"),
    *("--encoder-ffn-embed-dim", "64", "--encoder-attention-heads", "2", "--share-decoder-input-output-embed"),
]
TRAINING = [
    *("--criterion", "label_smoothed_cross_entropy", "--label-smoothing", "0.1", "--max-tokens", "400"),
    *("--lr-scheduler", "linear", "--num-workers", "0", "--cpu", "--log-format", "json", "--log-interval", "1"),
    *("--no-epoch-checkpoints", "--seed", "7"),
]
ADAM = ["--optimizer", "adam", "--adam-betas", "(0.9, 0.98)", "--lr", "1e-3"]
GRADINIT = ["--task", "gradinit_translation", "--gradinit-iterations", "6", "--gradinit-tau", "0.02"]


def short_run(save_dir, updates):
    """Arguments of ``fairseq-train`` for the small model."""
    return [*MODEL, *TRAINING, "--save-dir", save_dir, "--max-update", updates]


def kill_during_gradinit(fairseq, save_dir, *settings):
    """Kills a run as soon as there is a record of unfinished scales."""
    command = fairseq.start("train", *short_run(save_dir, 1), *settings)
    deadline = time.monotonic() + 120
    while not (save_dir / "gradinit.safetensors").exists() and time.monotonic() < deadline:
        time.sleep(0.01)
    command.send(signal.SIGKILL)
    command.ended()
    assert not Record.load(save_dir).complete, "the kill came too late to test anything"


def losses(output: str) -> list[tuple[str, str]]:
    """(update, loss) of every logged update."""
    lines = [json.loads(line[line.index("{") :]) for line in output.splitlines() if "| train_inner | {" in line]
    return [(line["num_updates"], line["loss"]) for line in lines]


def last_model(save_dir: Path) -> dict[str, torch.Tensor]:
    """The parameters in the last checkpoint of a run."""
    return untrusted.read(save_dir / "checkpoint_last.pt")["model"]


def same_model(one: Path, other: Path) -> bool:
    """Whether two runs ended with the same parameters, bit for bit."""
    a, b = last_model(one), last_model(other)
    return a.keys() == b.keys() and all(torch.equal(value, b[name]) for name, value in a.items())
