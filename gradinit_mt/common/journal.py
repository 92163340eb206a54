"""Results of experiments in a file with one JSON object per line, appended as they arrive."""

import json
from pathlib import Path

from gradinit_mt.common.errors import UserError
from gradinit_mt.common.files import atomic_write


def load(path: Path) -> list[dict]:
    """The results in a finished file, which stays as it is; the last line may lack its newline.

    Raises:
        UserError: there is no such file, or a line is not a JSON object.
    """
    if not path.exists():
        raise UserError(f"{path}: no such file; expected one with a JSON object per line")
    text = path.read_bytes().removesuffix(b"\n")
    return [_parsed(line, f"{path}, line {number}") for number, line in enumerate(text.split(b"\n"), start=1) if text]


def _parsed(line: bytes, where: str) -> dict:
    try:
        outcome = json.loads(line)
    except ValueError:
        outcome = None
    if not isinstance(outcome, dict):
        found = line[:40].decode(errors="replace")
        raise UserError(f"{where}: expected a JSON object, found {found!r}; repair or remove the line")
    return outcome


def resume(path: Path) -> list[dict]:
    """The results so far of a run that will add others: none before the first.

    An incomplete last line, left by a killed run, is first removed from the file.

    Raises:
        UserError: another line is not a JSON object.
    """
    *whole_lines, cut = path.read_bytes().split(b"\n") if path.exists() else [b""]
    results = [_parsed(line, f"{path}, line {number}") for number, line in enumerate(whole_lines, start=1)]
    if cut:
        with atomic_write(path) as temporary:
            temporary.write_bytes(b"".join(line + b"\n" for line in whole_lines))
    return results


def add(path: Path, outcome: dict) -> None:
    """Appends a result."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(outcome) + "\n")
