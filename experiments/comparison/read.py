"""Reads a trained cell into ``reading.json``, and removes its checkpoints."""

import argparse
import json
import math
import re
from datetime import datetime
from pathlib import Path

import torch
from fairseq import checkpoint_utils

from comparison.score import CHECKPOINTS, SCORES
from comparison.train import SAVE_DIR, TRAINED
from gradinit_mt.common import command
from gradinit_mt.common.errors import UserError
from gradinit_mt.common.files import write_json
from gradinit_mt.evaluation import results
from gradinit_mt.plugin.precision import working_precision
from gradinit_mt.plugin.source_gain import source_gain
from gradinit_mt.record.record import Record, RecordError
from gradinit_mt.training import checkpoints
from gradinit_mt.training.curve import read_log
from gradinit_mt.training.save_dir import LOG

READING = "reading.json"
_STAMPED = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) \| \w+ \| (\S+) \| (.*)")  # a line of fairseq's log
TOKENS = 4096  # per batch of the source gain, whose sources are permuted within a batch


def reading(directory: Path) -> dict:
    """The reading of the trained cell in ``directory``; losses are in bits per target token.

    ``smoothed`` (the validation loss of the last checkpoint) and ``source_gain`` include label smoothing, the other
    losses do not. Numbers that are not finite, and those of a model that is not there, are None.
    """
    trained = json.loads((directory / TRAINED).read_text(encoding="utf-8"))
    save_dir = directory / SAVE_DIR
    found = trained["cell"] | {name: trained[name] for name in ("options", "chosen", "end")}
    found |= losses(save_dir) | {"initialization_seconds": initialization_seconds(save_dir)}
    if trained["end"] == "complete":
        return found | at_the_end(save_dir) | scores(directory)
    return found | {"smoothed": None, "source_gain": None, "seconds": None, "precision": None}


def losses(save_dir: Path) -> dict:
    """The losses on the training and the validation set by update; empty if the run ended before the first of them."""
    try:
        curve = read_log(save_dir / LOG, save_dir.name)
    except UserError:
        return {"training": {}, "validation": {}}
    return {
        name: {str(update): finite(loss) for update, loss in series.items()}
        for name, series in (("training", curve.training), ("validation", curve.validation))
    }


def at_the_end(save_dir: Path) -> dict:
    """What the last checkpoint tells."""
    last = checkpoints.choose(save_dir, "last")
    models, cfg, task = checkpoint_utils.load_model_ensemble_and_task([str(last)])
    task.load_dataset("valid")
    dataset = task.dataset("valid")
    batches = dataset.batch_by_size(dataset.ordered_indices(), max_tokens=TOKENS)
    samples = (dataset.collater([dataset[index] for index in batch]) for batch in batches)
    gain = source_gain(models[0], task.build_criterion(cfg.criterion), samples)
    return {
        "smoothed": finite(gain.loss),
        "source_gain": finite(gain.gain),
        "seconds": checkpoints.facts(last).training_seconds,
        "precision": working_precision(cfg.task, models[0]),
    }


def initialization_seconds(save_dir: Path) -> float:
    """The time that the initializer and GradInit took together: 0 for a model's own initialization."""
    try:
        learning = Record.load(save_dir).state.seconds
    except RecordError:
        learning = 0.0
    log = save_dir / LOG
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
    return round(learning + rule_seconds(lines), 1)


def rule_seconds(lines: list[str]) -> float:
    """The time from fairseq's last line before the log's last ``initializer: NAME`` to that line; in whole seconds."""
    stamped = [match.groups() for line in lines if (match := _STAMPED.match(line))]
    found = [number for number, (*_, message) in enumerate(stamped) if message.startswith("initializer: ")]
    before = [time for time, logger, _ in stamped[: max(found, default=0)] if logger.startswith("fairseq")]
    if not before:
        return 0.0
    return (datetime.fromisoformat(stamped[found[-1]][0]) - datetime.fromisoformat(before[-1])).total_seconds()


def scores(directory: Path) -> dict:
    """By checkpoint and split, if the cell was scored."""
    if not (directory / SCORES).exists():
        return {}
    found = {
        checkpoint: {
            split: results.load(directory / f"scores-{checkpoint}-{split}")["scores"] for split in ("valid", "test")
        }
        for checkpoint in CHECKPOINTS
    }
    return {"scores": found}


def finite(value: float) -> float | None:
    """Rounded to three digits; None for nan and infinity, which JSON does not know."""
    return round(value, 3) if math.isfinite(value) else None


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, metavar="DIR", help="the cell's directory")
    directory = parser.parse_args().directory
    torch.set_num_threads(1)
    write_json(directory / READING, reading(directory))
    for checkpoint in (directory / SAVE_DIR).glob("*.pt"):
        checkpoint.unlink()


if __name__ == "__main__":
    command.run(main)
