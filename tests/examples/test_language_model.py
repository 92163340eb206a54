"""The language model of examples/, from the command line, with smaller batches and fewer updates."""

import re
import runpy
import subprocess
import sys

import pytest


def test_without_warmup_it_learns_with_gradinit_only(root):
    line = [sys.executable, root / "examples/language_model.py", "--sentences", "16", "--updates", "90"]
    bits = {}
    for start in ("--plain", None):
        output = subprocess.run([*line, start] if start else line, capture_output=True, text=True, check=True).stdout
        bits[start] = [float(value) for value in re.findall(r"update \d+: ([\d.]+) bits per token", output)]
    assert len(bits["--plain"]) == len(bits[None]) == 2
    assert bits[None][1] < bits["--plain"][1] - 0.4


def test_batches_without_sentences_are_refused(root, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["language_model.py", "--sentences", "0"])
    with pytest.raises(SystemExit):
        runpy.run_path(str(root / "examples/language_model.py"), run_name="__main__")
    assert "error: --sentences 0: expected at least 1" in capsys.readouterr().err


def test_it_has_under_100_lines(root):
    """As the README says."""
    assert len((root / "examples/language_model.py").read_text(encoding="utf-8").splitlines()) < 100
