"""The checkpoint to resume from: the newest whole one."""

import contextlib
import re
import zipfile
from pathlib import Path

from gradinit_mt.common.errors import UserError
from gradinit_mt.common.files import copy_file
from gradinit_mt.plugin.checkpoints import untrusted

LAST = "checkpoint_last.pt"
BEST = "checkpoint_best.pt"

# fairseq's names: checkpoint7.pt, checkpoint_2_1000.pt, checkpoint_best.pt, checkpoint.best_loss_4.0210.pt
_SAVED = re.compile(r"checkpoint(\d+|_\d+_\d+|_best|_last|\.best_.*)\.pt")


def mend(save_dir: Path) -> list[str]:
    """Makes ``checkpoint_last.pt`` the newest whole checkpoint, and clears away what a kill left of a save.

    A damaged checkpoint is renamed, never deleted. A kill between the files of one save leaves a numbered checkpoint
    with more updates than the last one, written after it. It takes the last one's place, and perhaps that of the best
    one. One with more updates that was written earlier is from before the last one: the updates count from 0 again
    after ``--reset-optimizer``, and the user may have gone back to an earlier checkpoint. A file that is whole, but no
    checkpoint that can be loaded, stays: loading it gives an error that names it.

    Returns:
        Messages that say what was done.
    """
    for path in (*save_dir.glob(".checkpoint*.pt.tmp"), *save_dir.glob("checkpoint*.pt.tmp")):
        if not path.name.startswith(".checkpoint_average"):  # which evaluation may be making
            path.unlink()
    last = save_dir / LAST
    updates = {path: _updates(path) for path in save_dir.iterdir() if _SAVED.fullmatch(path.name)}
    written = {path: path.lstat().st_mtime_ns for path in updates}  # of a link, which may be broken: its own

    def newness(path: Path) -> tuple:
        return path == last or written[path] > written.get(last, -1), updates[path], path == last

    newest_first = sorted(updates, key=newness, reverse=True)
    damaged = [path for path in newest_first if updates[path] < 0 and not _is_whole(path)]
    readable = [path for path in newest_first if updates[path] >= 0]
    while readable and not _is_whole(readable[0]):
        damaged.append(readable.pop(0))
    said = [f"{path} is damaged: set aside as {_set_aside(path).name}" for path in damaged]
    if last in damaged and not readable:
        return [*said, "no other checkpoint is whole: starting over"]
    if readable and readable[0] != last and (last in readable or not last.exists()):
        copy_file(readable[0], last)
        said.append(f"resuming from {readable[0].name} (update {updates[readable[0]]})")
        best = save_dir / BEST
        is_newer = updates.get(best, -1) < updates[readable[0]] and written.get(best, -1) < written[readable[0]]
        if (is_newer or not best.exists()) and _is_best(readable[0]):
            copy_file(readable[0], best)
            said.append(f"{readable[0].name} is the best so far")
    return said


def has_saved(save_dir: Path) -> bool:
    """Whether there is a checkpoint with one of fairseq's names."""
    return any(_SAVED.fullmatch(path.name) for path in save_dir.glob("checkpoint*.pt"))


def _is_best(path: Path) -> bool:
    """Whether a readable checkpoint had the best validation loss of its run when it was saved."""
    state = untrusted.read(path, mmap=True).get("extra_state", {})
    return state.get("val_loss") is not None and state["val_loss"] == state.get("best")


def _updates(path: Path) -> int:
    """The updates of a checkpoint; -1 if it cannot be read."""
    try:
        return int(untrusted.read(path, mmap=True)["optimizer_history"][-1]["num_updates"])
    except (UserError, LookupError, TypeError, ValueError):
        return -1


def _is_whole(path: Path) -> bool:
    """Whether a checkpoint is complete and undamaged."""
    with contextlib.suppress(UserError):
        untrusted.require_undamaged(path)
        return zipfile.is_zipfile(path)  # a truncated one is none
    return False


def _set_aside(path: Path) -> Path:
    names = [path.with_suffix(f".broken{number or ''}") for number in range(1000)]
    free = next(name for name in names if not name.exists())
    return path.rename(free)
