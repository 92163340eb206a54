"""Runs a command of the package in this process, as its script does, and returns the error that it ends with."""

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from unchanged import unchanged

from gradinit_mt.common import command
from gradinit_mt.corpora import iwslt14, parallel
from gradinit_mt.evaluation import average, export, run, translate
from gradinit_mt.record import report
from gradinit_mt.training import curve, launch

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


def refusal(name: str, arguments: list, folder: Path, stdin: bytes = b"") -> str:
    """The error of a command that must end with status 2 and leave the folder, its working directory, as it was."""
    with pytest.MonkeyPatch.context() as patch, unchanged(folder):
        patch.chdir(folder)
        patch.setattr(command.signal, "signal", lambda *_: None)
        patch.setattr(sys, "argv", [name, *map(str, arguments)])
        patch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(stdin)))
        patch.setattr(sys, "stderr", io.StringIO())
        with pytest.raises(SystemExit) as ended:
            command.run(COMMANDS[name])
        said = sys.stderr.getvalue()
    assert ended.value.code == 2, said
    return said.splitlines()[-1].partition("error: ")[2]
