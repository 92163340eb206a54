"""Outcomes of runs in a file with one JSON object per line, added as they come."""

import json
from pathlib import Path

from gradinit_mt.common.files import whole


def read(path: Path) -> list[dict]:
    """The outcomes noted so far; a last line that a kill cut short is taken out of the file first."""
    *whole_lines, cut = path.read_text(encoding="utf-8").split("\n") if path.exists() else [""]
    if cut:
        with whole(path) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in whole_lines), encoding="utf-8")
    return [json.loads(line) for line in whole_lines]


def add(path: Path, outcome: dict) -> None:
    """Notes one more outcome."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(outcome) + "\n")
