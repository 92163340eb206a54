"""Results of runs in a file with one JSON object per line, appended as they arrive."""

import json
from pathlib import Path

from gradinit_mt.common.files import whole


def read(path: Path) -> list[dict]:
    """The results so far; an incomplete last line, left by a killed run, is first removed from the file."""
    *whole_lines, cut = path.read_text(encoding="utf-8").split("\n") if path.exists() else [""]
    if cut:
        with whole(path) as temporary:
            temporary.write_text("".join(f"{line}\n" for line in whole_lines), encoding="utf-8")
    return [json.loads(line) for line in whole_lines]


def add(path: Path, outcome: dict) -> None:
    """Appends a result."""
    with path.open("a", encoding="utf-8") as file:
        file.write(json.dumps(outcome) + "\n")
