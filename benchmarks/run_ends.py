"""What a run of scripts/train.sh has left in its save dir: whole files, and the same end as another run."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from gradinit_mt.common.errors import UserError
from gradinit_mt.record.record import SUMMARY, Record
from gradinit_mt.training import checkpoints, log

TIMED = ("wps", "ups", "train_wall", "wall")
CHECKPOINT_PARTS = ("model", "last_optimizer_state")


def half_written(directory: Path) -> list[str]:
    """The files that cannot be read to their end, of those that a run writes."""
    readers: dict[str, Callable[[Path], object]] = {
        "*.pt": checkpoints.load,
        "*.json": lambda path: json.loads(path.read_text()),
        "*.safetensors": lambda path: Record.load(path.parent),
    }
    paths = [(path, read) for pattern, read in readers.items() for path in directory.glob(pattern)]
    return [path.name for path, read in paths if not path.name.startswith(".") and not _readable(path, read)]


def _readable(path: Path, read: Callable[[Path], object]) -> bool:
    try:
        read(path)
    except (UserError, ValueError):
        return False
    return True


def newest_update(directory: Path) -> int:
    """The updates of the newest checkpoint; 0 if there is none."""
    return max((checkpoints.facts(path).updates for path in directory.glob("checkpoint*.pt")), default=0)


def differences(one: Path, other: Path) -> list[str]:
    """The parts in which the ends of two runs differ, bit for bit: none for the same run.

    Compared are parameters, optimizer and schedule, the place in the data, the parameters of the best checkpoint, the
    names of all files, the history of GradInit, its scales and ``gradinit.json``, and the losses of every update that
    both logs have. (A log lacks what training has printed after its launcher was killed.)
    """
    parts = [_parts(directory) for directory in (one, other)]
    found = [name for name in parts[0] if not _same(*(part[name] for part in parts))]
    logged = [losses(directory) for directory in (one, other)]
    same = all(texts == logged[1].get(update, texts) for update, texts in logged[0].items())
    return found if same else [*found, "losses"]


def _parts(directory: Path) -> dict[str, object]:
    last, best = (checkpoints.load(checkpoints.choose(directory, name)) for name in ("last", "best"))
    record = Record.load(directory).state
    return {name: last[name] for name in CHECKPOINT_PARTS} | {
        "schedule": last["optimizer_history"][-1],  # the list has an item for each start
        "place": last["extra_state"]["train_iterator"],
        "best": best["model"],
        "files": sorted(path.name for path in directory.iterdir()),
        "summary": json.loads((directory / SUMMARY).read_text()) | {"seconds": None},
        "history": record.history,
        "scales": record.scales,
    }


def _same(one: Any, other: Any) -> bool:
    """Equality of nested lists, dictionaries and tensors."""
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(_same(value, other[name]) for name, value in one.items())
    if isinstance(one, list):
        return len(one) == len(other) and all(map(_same, one, other))
    return bool(one == other)


def losses(directory: Path) -> dict[str, list[str]]:
    """What was logged of every update, without measured times; more than one text if starts differed."""
    found: dict[str, set[str]] = {}
    for line in (directory / log.LOG).read_text(errors="replace").splitlines():
        kind, numbers = log.statistics(line) or ("", {})
        if kind == "train_inner":
            kept = {name: value for name, value in numbers.items() if name not in TIMED}
            found.setdefault(numbers["num_updates"], set()).add(json.dumps(kept))
    return {update: sorted(texts) for update, texts in found.items()}
