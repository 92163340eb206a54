"""Chooses a length of warmup: the one with the lowest validation loss among readings that differ in nothing else."""

import argparse
import json
import math
from pathlib import Path

from comparison.cells import Cell
from comparison.settings import LENGTHS
from gradinit_mt.common import command
from gradinit_mt.common.errors import UserError
from gradinit_mt.common.files import write_json


def last_validation(reading: dict) -> float:
    """The validation loss after the last update; infinite if the run diverged or the loss is not finite.

    Raises:
        UserError: a complete run has no loss after its last update.
    """
    if reading["end"] == "diverged":
        return math.inf
    last = str(reading["updates"])
    if last not in reading["validation"]:
        raise UserError(
            f"{Cell.of(reading).name} has no validation loss after update {last}: remove the cell's directory, and its "
            "line in the file of --known if it came from there, to train it again"
        )
    loss = reading["validation"][last]
    return math.inf if loss is None else loss


def choose(readings: list[dict]) -> dict:
    """The length with the lowest loss, the shortest of equals; all losses by length; how it was chosen.

    Raises:
        UserError: a complete run has no loss after its last update.
    """
    losses = {LENGTHS[reading["setting"]]: last_validation(reading) for reading in readings}
    best = min(sorted(losses), key=lambda length: losses[length])
    shown = {str(length): loss if math.isfinite(loss) else None for length, loss in sorted(losses.items())}
    tuning = {name: readings[0][name] for name in ("seed", "updates", "beta2")}
    return {"warmup": best, "validation": shown, "tuning": tuning | {"lengths": sorted(losses)}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("readings", nargs="+", type=Path, metavar="FILE", help="one per length")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="the choice, as JSON")
    chosen = parser.parse_args()
    write_json(chosen.output, choose([json.loads(path.read_text(encoding="utf-8")) for path in chosen.readings]))


if __name__ == "__main__":
    command.run(main)
