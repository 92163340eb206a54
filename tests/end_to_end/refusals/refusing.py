"""Runs a command of the package in this process, as its script does, and returns the error that it ends with."""

import io
import json
import re
import signal
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
from machine import limited
from unchanged import unchanged

from gradinit_mt.common import command
from gradinit_mt.common.files import sha256
from gradinit_mt.corpora import iwslt14, parallel
from gradinit_mt.corpora.layout import SUBWORD_FILES
from gradinit_mt.evaluation import average, export, run, translate
from gradinit_mt.record import report
from gradinit_mt.training import curve, launch

EVALUATE = "evaluate run --data corpus --cpu"
RESUME = "train corpus --save-dir run --device cpu"
BEST, LAST = "run/checkpoint_best.pt", "run/checkpoint_last.pt"
RECORD = "run/gradinit.safetensors"

COMMANDS = {
    "prepare_corpus": parallel.main,
    "prepare_iwslt14": iwslt14.main,
    "train": lambda: launch.train(sys.argv[1:]),
    "evaluate": run.main,
    "export": export.main,
    "translate": translate.main,
    "average": average.main,
    "report": report.main,
    "curve": curve.main,
}


@dataclass(frozen=True)
class Bad:
    """One bad input: the command line, the pattern of its message, and what makes the folder bad first."""

    name: str
    command: str  # with its arguments; the folder is the working directory
    message: str
    spoil: Callable[[Path], object] = lambda folder: None
    stdin: bytes = b""
    largest: int | None = None  # bytes that a file may have, as if the disk were full then
    leaves: tuple[str, ...] = ()  # names that may change, like the lock of a save dir


def refusal(bad: Bad, folder: Path) -> str:
    """The error of a command that must end with status 2, print no traceback, and leave the folder as it was."""
    name, *arguments = bad.command.split()
    bad.spoil(folder)
    with pytest.MonkeyPatch.context() as patch, unchanged(folder, bad.leaves), limited(bad.largest):
        patch.chdir(folder)
        patch.setattr(signal, "signal", lambda *_: None)
        patch.setattr(sys, "argv", [name, *arguments])
        patch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(bad.stdin)))
        said = io.StringIO()
        patch.setattr(sys, "stderr", said)
        with pytest.raises(SystemExit) as ended:
            command.run(COMMANDS[name])
    assert ended.value.code == 2, said.getvalue()
    return said.getvalue().partition("error: ")[2]


def refused(bad: Bad, folder: Path) -> None:
    said = refusal(bad, folder)
    assert re.match(bad.message, said), said


def text(name: str, content: str | bytes) -> Callable[[Path], object]:
    """Writes a file."""
    return lambda folder: (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def removed(*names: str) -> Callable[[Path], object]:
    return lambda folder: [(folder / name).unlink() for name in names]


def described(change: Callable[[dict], object]) -> Callable[[Path], None]:
    """Writes ``export.json``."""

    def spoil(folder: Path) -> None:
        limits = {"max_source_positions": 99, "max_target_positions": 99}
        stored = {"corpus": "toy", "source": "de", "target": "en", "subword": "sentencepiece", "quantization": "int8"}
        stored |= {"moses_tokenized": False, "checkpoint": limits, "versions": {}, "vocabulary_map": None, "format": 3}
        subwords = [folder / "model" / name for name in SUBWORD_FILES["sentencepiece"]]
        stored["subword_sha256"] = {path.name: sha256(path) for path in subwords}
        change(stored)
        (folder / "model" / "export.json").write_text(json.dumps(stored))

    return spoil
