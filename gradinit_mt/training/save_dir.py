"""What the launcher keeps in a save dir: the run's description, its lock, and the checkpoint to go on from."""

import contextlib
import datetime
import fcntl
import json
import os
import shlex
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

from gradinit_mt.common.files import whole, write_json
from gradinit_mt.common.versions import package_version
from gradinit_mt.record.record import TENSORS
from gradinit_mt.training import TrainingError, checkpoints

RUN = "run.json"
LOCK = ".lock"
LOG = "train.log"


@contextlib.contextmanager
def locked(save_dir: Path) -> Iterator[int]:
    """Makes the save dir and keeps other launchers out of it.

    Yields:
        A file descriptor. The lock lasts until the last process that holds it has ended, killed or not, so the training
        process is to inherit it.

    Raises:
        TrainingError: another launcher, or the training process of one that was killed, is at work there.
    """
    try:
        save_dir.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise TrainingError(f"{save_dir}: exists and is no directory; use another --save-dir") from error
    descriptor = os.open(save_dir / LOCK, os.O_CREAT | os.O_RDWR, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise TrainingError(
                f"{save_dir} is in use by another run; wait until it has ended, or use another --save-dir"
            ) from error
        yield descriptor
    finally:
        os.close(descriptor)


def read_run(save_dir: Path) -> dict | None:
    """What ``run.json`` holds; None where there is none.

    Raises:
        TrainingError: it is not what ``note_start`` writes.
    """
    path = save_dir / RUN
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except ValueError as error:
        raise TrainingError(f"{path}: cannot be read ({error}); restore it, or use another save dir") from error
    kinds = {"data": str, "options": list, "starts": list}
    if not isinstance(run, dict) or any(not isinstance(run.get(name), kind) for name, kind in kinds.items()):
        raise TrainingError(
            f"{path}: does not describe a run (data, options, starts); restore it, or use another save dir"
        )
    return run


def has_begun(save_dir: Path) -> bool:
    """Whether there is a checkpoint or a record to go on from. (fairseq also leaves a ``crash.pt`` where it fails.)"""
    return any(save_dir.glob("checkpoint*.pt")) or (save_dir / TENSORS).exists()


def require_usable(save_dir: Path) -> None:
    """Raises TrainingError where the save dir holds files of which nothing is known."""
    if not save_dir.is_dir() or (save_dir / RUN).exists():
        return
    if any(path.name != LOCK for path in save_dir.iterdir()):
        raise TrainingError(f"{save_dir} is not empty and holds no {RUN}; use another --save-dir")


def note_start(save_dir: Path, run: dict, command: list[str]) -> None:
    """Adds this start to ``run.json``."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    versions = {name: package_version(name) for name in ("torch", "fairseq", "gradinit-mt")}
    run["starts"].append({"time": now, "command": shlex.join(command), "versions": versions})
    write_json(save_dir / RUN, run)


def is_complete(save_dir: Path, max_update: int | None) -> bool:
    """Whether the last checkpoint has all updates.

    fairseq-train itself would make one more and write its checkpoints again.
    """
    last = save_dir / "checkpoint_last.pt"
    return bool(max_update) and last.exists() and checkpoints.facts(last).updates >= max_update


def mend_last_checkpoint(save_dir: Path) -> str | None:
    """Replaces a ``checkpoint_last.pt`` that a kill left truncated by the newest whole checkpoint beside it.

    Returns:
        What was done, or None if there was nothing to mend.
    """
    last = save_dir / "checkpoint_last.pt"
    if not last.exists() or zipfile.is_zipfile(last):
        return None
    last.rename(save_dir / "checkpoint_last.broken")
    others = [*checkpoints.numbered(save_dir, "epoch").values(), *checkpoints.numbered(save_dir, "update").values()]
    others += save_dir.glob("checkpoint_best.pt")
    for path in sorted(others, key=lambda path: path.stat().st_mtime, reverse=True):
        if zipfile.is_zipfile(path):
            with whole(last) as temporary:
                shutil.copyfile(path, temporary)
            return f"{last} was truncated: going on from {path.name}"
    return f"{last} was truncated and no other checkpoint is whole: starting again"
