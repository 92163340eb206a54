"""What the launcher keeps in a save dir: the run's description, its lock and its log; and how far the run has come."""

import contextlib
import datetime
import json
import shlex
from collections.abc import Iterator
from pathlib import Path

from gradinit_mt.common import lock
from gradinit_mt.common.errors import UserError
from gradinit_mt.common.files import temporary_name, write_json
from gradinit_mt.common.versions import package_version
from gradinit_mt.corpora.layout import PreparedCorpus
from gradinit_mt.plugin.checkpoints import newest
from gradinit_mt.record.record import TENSORS
from gradinit_mt.training import checkpoints, options

RUN = "run.json"


@contextlib.contextmanager
def locked(save_dir: Path) -> Iterator[int]:
    """Makes the save dir and keeps other launchers out of it.

    Yields:
        The lock, for the training process to inherit; see ``common.lock``.

    Raises:
        UserError: another launcher is running there, or the training process of a killed one.
    """
    try:
        save_dir.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise UserError(f"{save_dir}: exists and is not a directory; use another --save-dir") from error
    except OSError as error:
        raise UserError(f"{save_dir}: cannot be made ({error.strerror}); use another --save-dir") from error
    refusal = f"{save_dir} is in use by another run; wait until it has ended, or use another --save-dir"
    with lock.locked(save_dir, refusal) as descriptor:
        yield descriptor


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
    left_by_a_kill = (save_dir / lock.NAME, temporary_name(save_dir / RUN))
    if any(path not in left_by_a_kill for path in save_dir.iterdir()):
        raise UserError(f"{save_dir} is not empty and holds no {RUN}; use another --save-dir")


def new_run(corpus: PreparedCorpus, arguments: list[str]) -> dict:
    """A new run on the corpus with these arguments of fairseq-train, as noted in ``run.json``.

    Raises:
        UserError: the data to train on has changed since the corpus was prepared.
    """
    checksums = corpus.checksums(corpus.binarized("train", "valid"))
    return {"data": str(corpus.directory), "data_sha256": checksums, "options": arguments, "starts": []}


def checked_run(save_dir: Path, here: dict) -> dict:
    """The run to note in ``run.json``: the one that the save dir has begun, or the new one ``here``.

    Raises:
        UserError: the save dir has begun a run with other settings or data. The data may have moved, if its checksums
            were noted.
    """
    there = read_run(save_dir)
    if there is None or not has_begun(save_dir):
        return here
    noted = there.get("data_sha256")
    changes = options.changed(there["options"], here["options"], may_move=noted is not None)
    if noted not in (None, here["data_sha256"]):
        changes += [f"data of {there['data']} there, other data in {here['data']} here"]
    if changes:
        raise UserError(
            f"{save_dir} holds a run with other settings ({'; '.join(changes)}); use another --save-dir, or remove it"
        )
    return there | here | {"starts": there["starts"]}


def note_start(save_dir: Path, run: dict, line: list[str]) -> None:
    """Adds this start to ``run.json``."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    versions = {name: package_version(name) for name in ("torch", "fairseq", "gradinit-mt")}
    run["starts"].append({"time": now, "command": shlex.join(line), "versions": versions})
    write_json(save_dir / RUN, run)


def is_complete(save_dir: Path, given: dict) -> bool:
    """Whether the last checkpoint has all updates: fairseq-train would still make another one, and save again.

    Args:
        save_dir: of the run.
        given: the options of its command line by name, of which the checkpoint may repeat any.
    """
    last = save_dir / newest.LAST
    max_update = given.get("max_update")
    return bool(max_update and last.exists() and checkpoints.facts(last, given.items()).updates >= max_update)
