"""Trains one cell with the launcher behind ``scripts/train.sh``, or continues it.

A run that diverges is a result: it ends with ``trained.json`` like one that completes. Any other failure is an error.
"""

import argparse
import json
import sys
from functools import partial
from pathlib import Path

from comparison.cells import Cell
from comparison.device import device_name, place
from comparison.folder import ASKED, MEASURED, SAVE_DIR, TRAINED
from comparison.scales_by_hand import write_record
from gradinit_mt.common import command
from gradinit_mt.common.errors import UserError, differing
from gradinit_mt.common.files import write_json
from gradinit_mt.corpora.layout import PreparedCorpus
from gradinit_mt.training import launch
from gradinit_mt.training.log import LOG

DIVERGED = "FloatingPointError: gradients are Nan/Inf"  # fairseq's trainer, after which it ends


def outcome(arguments: list[str], log: Path) -> str:
    """Trains with these arguments of the launcher; returns ``complete`` or ``diverged``."""
    try:
        launch.train(arguments)
    except UserError:
        if not log.exists() or DIVERGED not in log.read_text(encoding="utf-8", errors="replace"):
            raise
        return "diverged"
    return "complete"


def train(cell: Cell, corpus: Path, directory: Path, device: str, tuned: Path | None) -> None:
    """Trains the cell in ``directory``, and writes its outcome there, with what it was asked to be.

    Args:
        tuned: the file with the chosen length of warmup, for a row that has one.

    Raises:
        UserError: training has begun there with another rule by hand or another tuning, which it would keep.
    """
    (directory / MEASURED).unlink(missing_ok=True)
    further, asked = [], {"options": cell.options(), "by_hand": cell.row.by_hand}
    if tuned is not None:
        choice = json.loads(tuned.read_text(encoding="utf-8"))
        further = ["--warmup-updates", str(choice["warmup"])]
        asked["tuning"] = choice["tuning"]
    _note(directory / ASKED, asked)
    if cell.row.by_hand:
        record = directory / "by-hand"
        write_record(cell, PreparedCorpus.load(corpus), record)
        further = ["--gradinit-from", str(record)]
    save_dir = directory / SAVE_DIR
    found = outcome(cell.launch(corpus, save_dir, device, further), save_dir / LOG)
    chosen = [part.removeprefix(f"{directory}/") for part in further]  # a reading names no directory of this machine
    made = {"chosen": chosen, "device": device_name(device), "end": found}
    write_json(directory / TRAINED, {"cell": cell.fields, **asked, **made})


def _note(path: Path, asked: dict) -> None:
    """Writes what is asked for, which must be the same in every start."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        write_json(path, asked)
    elif changes := differing(json.loads(path.read_text(encoding="utf-8")), asked):
        raise UserError(f"{path.parent} has begun otherwise ({'; '.join(changes)}): remove it to train the cell again")


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """The options; ``output`` is an absolute path."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cell", type=json.loads, required=True, metavar="JSON", help="the fields of the cell")
    parser.add_argument("--corpus", type=Path, required=True, metavar="DIR", help="the prepared corpus")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="the cell's directory")
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help="(default: %(default)s)")
    parser.add_argument("--tuned", type=Path, metavar="FILE", help="the chosen length of warmup")
    chosen = parser.parse_args(arguments)
    chosen.output = chosen.output.resolve()
    return chosen


def main(chosen: argparse.Namespace) -> None:
    with place(chosen.device):
        train(Cell.of(chosen.cell), chosen.corpus.resolve(), chosen.output, chosen.device, chosen.tuned)


if __name__ == "__main__":
    options = parse_arguments(sys.argv[1:])
    command.run(partial(main, options), interrupted=f"the same command continues the run in {options.output}")
