"""Translates validation and test set with a cell's best and last checkpoint, and scores the translations."""

import argparse
import itertools
import json
from pathlib import Path

from comparison.device import place
from comparison.folder import CHECKPOINTS, SAVE_DIR, SCORES, TRAINED
from gradinit_mt.common import command
from gradinit_mt.common.files import write_json
from gradinit_mt.evaluation import results, run


def score(directory: Path, device: str) -> None:
    """Makes the results ``scores-CHECKPOINT-SPLIT`` that are missing; a diverged run has none."""
    trained = json.loads((directory / TRAINED).read_text(encoding="utf-8"))
    made = []
    if trained["end"] == "complete":
        for checkpoint, split in itertools.product(CHECKPOINTS, ("valid", "test")):
            output = directory / f"scores-{checkpoint}-{split}"
            if not (output / results.SCORES).exists():
                arguments = [str(directory / SAVE_DIR), "--checkpoint", checkpoint, "--split", split]
                run.evaluate(run.parse_arguments([*arguments, "--output", str(output), *["--cpu"] * (device == "cpu")]))
            made.append(output.name)
    write_json(directory / SCORES, made)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("directory", type=Path, metavar="DIR", help="the cell's directory")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help="(default: %(default)s)")
    chosen = parser.parse_args()
    with place(chosen.device):
        score(chosen.directory, chosen.device)


if __name__ == "__main__":
    command.run(main)
