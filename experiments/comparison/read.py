"""Reads a trained cell into ``reading.json``, and removes its checkpoints."""

import argparse
import json
import math
from pathlib import Path

import torch
from fairseq import checkpoint_utils
from fairseq.data import data_utils

from comparison.facts import facts
from comparison.folder import CHECKPOINTS, MEASURED, READING, SAVE_DIR, SCORES, TRAINED
from comparison.times import times
from gradinit_mt.common import command
from gradinit_mt.common.errors import UserError
from gradinit_mt.common.files import write_json
from gradinit_mt.evaluation import results
from gradinit_mt.plugin.source_gain import source_gain
from gradinit_mt.training import checkpoints
from gradinit_mt.training.curve import read_log
from gradinit_mt.training.log import LOG

SEED = 1  # of the order of sentences
TOKENS = 4096  # per batch of the source gain, which gives each target another source of its batch


def read(directory: Path) -> dict:
    """The reading of the trained cell in ``directory``, whose checkpoints are removed.

    The engine removes ``reading.json`` if the step that writes it is interrupted. The checkpoints go only when the
    reading is whole in ``measured.json``, which the engine does not know; a later start takes it from there.
    """
    kept = directory / MEASURED
    if not kept.exists():
        write_json(kept, reading(directory))
    for checkpoint in (directory / SAVE_DIR).glob("*.pt"):
        checkpoint.unlink()
    return json.loads(kept.read_text(encoding="utf-8"))


def reading(directory: Path) -> dict:
    """What the trained cell in ``directory`` tells; losses are in bits per target token.

    ``smoothed`` (the validation loss of the last checkpoint) and ``source_gain`` include label smoothing, the other
    losses do not. Numbers that are not finite, and those of a model that is not there, are None.

    Raises:
        UserError: a file of the run is missing or damaged.
    """
    trained = json.loads((directory / TRAINED).read_text(encoding="utf-8"))
    save_dir, end = directory / SAVE_DIR, trained["end"]
    found = trained.pop("cell") | trained | losses(save_dir, end) | facts(save_dir)
    if end == "complete":
        measured, seconds = at_the_end(save_dir)
        return found | measured | times(save_dir, seconds) | scores(directory)
    return found | {"smoothed": None, "source_gain": None} | times(save_dir, None)


def losses(save_dir: Path, end: str) -> dict:
    """The losses on the training and the validation set by update.

    Args:
        end: ``complete``, or ``diverged``: such a run may have ended before its first loss, and then there are none.

    Raises:
        UserError: a complete run has logged no training loss, or its log is damaged.
    """
    try:
        curve = read_log(save_dir / LOG, save_dir.name)
    except UserError:
        if end != "diverged":
            raise
        return {"training": {}, "validation": {}}
    return {
        name: {str(update): finite(loss) for update, loss in series.items()}
        for name, series in (("training", curve.training), ("validation", curve.validation))
    }


def at_the_end(save_dir: Path) -> tuple[dict, float]:
    """What the last checkpoint tells, and fairseq's count of the seconds up to it."""
    last = checkpoints.choose(save_dir, "last")
    models, cfg, task = checkpoint_utils.load_model_ensemble_and_task([str(last)])
    task.load_dataset("valid")
    dataset = task.dataset("valid")
    with data_utils.numpy_seed(SEED):  # of sentences of equal length: each target is scored with the source before it
        batches = dataset.batch_by_size(dataset.ordered_indices(), max_tokens=TOKENS)
    samples = (dataset.collater([dataset[index] for index in batch]) for batch in batches)
    gain = source_gain(models[0], task.build_criterion(cfg.criterion), samples)
    found = {"smoothed": finite(gain.loss), "source_gain": finite(gain.gain)}
    return found, checkpoints.facts(last).training_seconds


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
    write_json(directory / READING, read(directory))


if __name__ == "__main__":
    command.run(main)
