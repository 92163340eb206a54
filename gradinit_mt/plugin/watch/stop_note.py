"""The note that a stopped run leaves in its save dir, and its exit status. The launcher reads both, without fairseq."""

import json
from contextlib import suppress
from pathlib import Path

from gradinit_mt.common.files import write_json

STATUS = 3  # of fairseq-train and of the launcher; torchrun and fairseq's own spawning turn it into 1
NOTE = "stopped.json"  # in the save dir, until the run is started again


def write(save_dir: Path, content: dict) -> None:
    """Writes the note, whose ``message`` says what was seen and what to try."""
    save_dir.mkdir(parents=True, exist_ok=True)
    write_json(save_dir / NOTE, content)


def message(save_dir: Path) -> str | None:
    """What the note says; None if the run was not stopped, or the disk had no space for the note."""
    with suppress(FileNotFoundError):
        return json.loads((save_dir / NOTE).read_text(encoding="utf-8"))["message"]
    return None


def remove(save_dir: Path) -> None:
    """Removes the note of an earlier start."""
    (save_dir / NOTE).unlink(missing_ok=True)
