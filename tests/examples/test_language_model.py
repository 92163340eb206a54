"""The language model of examples/, from the command line, with smaller batches and fewer updates."""

import re
import subprocess
import sys


def test_without_warmup_it_learns_with_gradinit_only(root):
    line = [sys.executable, root / "examples/language_model.py", "--sentences", "16", "--updates", "90"]
    bits = {}
    for start in ("--plain", None):
        output = subprocess.run([*line, start] if start else line, capture_output=True, text=True, check=True).stdout
        bits[start] = [float(value) for value in re.findall(r"update \d+: ([\d.]+) bits per token", output)]
    assert len(bits["--plain"]) == len(bits[None]) == 2
    assert bits[None][1] < bits["--plain"][1] - 0.4
