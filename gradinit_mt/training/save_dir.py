"""What the launcher keeps in a save dir: the run's description, its lock and its log; and how far the run has come."""

import contextlib
import datetime
import fcntl
import json
import shlex
from collections.abc import Iterator
from pathlib import Path

from gradinit_mt.common import command
from gradinit_mt.common.errors import UserError
from gradinit_mt.common.files import temporary_name, write_json
from gradinit_mt.common.versions import package_version
from gradinit_mt.record.record import TENSORS
from gradinit_mt.training import checkpoints

RUN = "run.json"
LOCK = ".lock"
LOG = "train.log"


@contextlib.contextmanager
def locked(save_dir: Path) -> Iterator[int]:
    """Makes the save dir and keeps other launchers out of it.

    Yields:
        A file descriptor for the training process to inherit: the lock lasts until every process that holds it ends.
        On a file system without locks it keeps nobody out, and a message says so.

    Raises:
        UserError: another launcher is running there, or the training process of a killed one.
    """
    try:
        save_dir.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise UserError(f"{save_dir}: exists and is not a directory; use another --save-dir") from error
    except OSError as error:
        raise UserError(f"{save_dir}: cannot be made ({error.strerror}); use another --save-dir") from error
    with (save_dir / LOCK).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(
                f"{save_dir} is in use by another run; wait until it has ended, or use another --save-dir"
            ) from error
        except OSError as error:  # as on Lustre that is mounted without flock
            command.say(
                f"beware: the file system of {save_dir} has no locks ({error.strerror}); start no second run there"
            )
        yield file.fileno()


def read_run(save_dir: Path) -> dict | None:
    """The content of ``run.json``, or None if there is no such file.

    Raises:
        UserError: ``note_start`` did not write it.
    """
    path = save_dir / RUN
    kinds = {"data": str, "options": list, "starts": list}
    try:
        run = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(run, dict) or any(not isinstance(run.get(name), kind) for name, kind in kinds.items()):
            raise ValueError(f"it lacks one of {', '.join(kinds)}")
        if not all(isinstance(option, str) for option in run["options"]):
            raise ValueError("its options are not text")
        if not isinstance(run.get("data_sha256", {}), dict):  # of a run of this version
            raise ValueError("its checksums are not listed by name")
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read ({error}); restore it, or use another save dir") from error
    return run


def has_begun(save_dir: Path) -> bool:
    """Whether there is a checkpoint or a record to resume from. (A failing fairseq leaves a ``crash.pt``, too.)"""
    return any(save_dir.glob("checkpoint*.pt")) or (save_dir / TENSORS).exists()


def require_usable(save_dir: Path) -> None:
    """Raises UserError if the save dir holds files, but no description of their run."""
    if not save_dir.is_dir() or (save_dir / RUN).exists():
        return
    left_by_a_kill = (save_dir / LOCK, temporary_name(save_dir / RUN))
    if any(path not in left_by_a_kill for path in save_dir.iterdir()):
        raise UserError(f"{save_dir} is not empty and holds no {RUN}; use another --save-dir")


def note_start(save_dir: Path, run: dict, line: list[str]) -> None:
    """Adds this start to ``run.json``."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    versions = {name: package_version(name) for name in ("torch", "fairseq", "gradinit-mt")}
    run["starts"].append({"time": now, "command": shlex.join(line), "versions": versions})
    write_json(save_dir / RUN, run)


def is_complete(save_dir: Path, options: dict) -> bool:
    """Whether the last checkpoint has all updates: fairseq-train would still make another one, and save again.

    Args:
        save_dir: of the run.
        options: those of its command line, of which the checkpoint may repeat any.
    """
    last = checkpoints.choose(save_dir, "last")
    max_update = options.get("max_update")
    return bool(max_update and last.exists() and checkpoints.facts(last, options.items()).updates >= max_update)
