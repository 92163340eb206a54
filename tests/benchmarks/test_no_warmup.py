"""The bench of initializations from the command line, on the small corpus and a narrow model."""

import json
import statistics
import subprocess
import sys

import pytest

from gradinit_mt.records import Record


@pytest.fixture(scope="module")
def bench(root, toy_corpus, tmp_path_factory):
    """Runs the bench; returns its output directory and what it printed."""
    output = tmp_path_factory.mktemp("bench") / "out"

    def run(*arguments):
        line = [sys.executable, root / "benchmarks/no_warmup.py", toy_corpus, "--output", output, "--width", "16"]
        line += ["--settings", "hand", "--updates", "50", "--readings", "50", "--seeds", "1", "2", *arguments]
        return subprocess.run(list(map(str, line)), capture_output=True, text=True)

    first = run()
    assert first.returncode == 0, first.stderr[-3000:]
    return output, first.stdout, run


def test_every_run_gives_a_reading_and_every_setting_a_row(bench):
    output, printed, _ = bench
    readings = [json.loads(line) for line in (output / "readings.jsonl").read_text().splitlines()]
    assert {(r["setting"], r["seed"]) for r in readings} == {("hand", 1), ("hand", 2)}
    for reading in readings:
        assert list(reading["training"]) == ["50"]
        assert 0 < reading["training"]["50"] < 9
        assert reading["gradinit_seconds"] == 0
    losses = [reading["training"]["50"] for reading in readings]
    [row] = [[cell.strip() for cell in line.split("|")[1:-1]] for line in printed.splitlines()[2:]]
    assert row[:3] == ["hand", "0.001", "2"]
    assert row[3] == f"{statistics.mean(losses):.2f} ± {statistics.stdev(losses):.2f}"
    assert row[4] == f"{max(losses):.2f}"
    assert (output / "table.md").read_text() == printed
    assert (output / "curves.png").stat().st_size > 10_000
    assert not list(output.rglob("*.pt")), "checkpoints are not kept"


def test_the_hand_rule_scales_the_matrices_of_the_residual_branches_alone(bench):
    record = Record.load(bench[0] / "hand-lr0.001-seed1")
    scaled = {b["name"] for b, s in zip(record.blocks, record.state.scales.tolist(), strict=True) if s != 1}
    # encoder layer: v, out, fc1, fc2; decoder layer: two more for the cross-attention
    assert len(scaled) == 6 * 4 + 6 * 6
    assert set(record.state.scales.tolist()) == {0.3, 1.0}


def test_the_second_rule_changes_two_tensors_more(bench, root, monkeypatch):
    monkeypatch.syspath_prepend(root / "benchmarks")
    from no_warmup import SETTINGS, scales_by_hand

    record = Record.load(bench[0] / "hand-lr0.001-seed1")
    names = [block["name"] for block in record.blocks]
    found = scales_by_hand(SETTINGS["hand-output"].by_hand, names)
    changed = {n: s for n, s, first in zip(names, found.tolist(), record.state.scales, strict=True) if s != first}
    assert changed == {"decoder.layers.5.final_layer_norm.weight": 4.0, "decoder.embed_tokens.weight": 0.2}


def test_runs_that_are_done_are_not_repeated(bench):
    output, printed, run = bench
    before = (output / "readings.jsonl").read_bytes()
    again = run()
    assert again.stdout == printed
    assert (output / "readings.jsonl").read_bytes() == before


def test_readings_that_training_does_not_reach_are_refused(bench):
    refused = bench[2]("--readings", "100")
    assert refused.returncode == 2
    assert "expected multiples of 50 up to --updates (50)" in refused.stderr
