"""The bench of initializations from the command line, on the small corpus with a narrow model."""

import json
import signal
import statistics
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from gradinit_mt.common.errors import UserError
from gradinit_mt.record.record import Record


@pytest.fixture(scope="module")
def bench(root, toy_corpus, tmp_path_factory):
    """Runs the bench; returns its output directory and what it printed."""
    output = tmp_path_factory.mktemp("bench") / "out"

    def run(*arguments):
        line = [
            sys.executable,
            root / "experiments/no_warmup/bench.py",
            toy_corpus,
            "--output",
            output,
            "--width",
            "16",
        ]
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
    assert row[:3] == ["hand", "0.001", "1, 2"]
    assert row[3] == f"{statistics.mean(losses):.2f} ± {statistics.stdev(losses):.2f}"
    assert row[4] == f"{max(losses):.2f}"
    assert (output / "table.md").read_text() == printed
    assert (output / "curves.png").stat().st_size > 10_000
    assert not list(output.rglob("*.pt")), "checkpoints are not kept"


def test_the_hand_rule_scales_only_the_matrices_of_the_residual_branches(bench):
    record = Record.load(bench[0] / "hand-lr0.001-seed1-d16-50updates")
    scaled = {b["name"] for b, s in zip(record.blocks, record.state.scales.tolist(), strict=True) if s != 1}
    # per encoder layer v, out, fc1, fc2; per decoder layer two more for the cross-attention
    assert len(scaled) == 6 * 4 + 6 * 6
    assert set(record.state.scales.tolist()) == {0.3, 1.0}


def test_the_second_rule_scales_two_more_tensors(bench, root, monkeypatch):
    monkeypatch.syspath_prepend(root / "experiments/no_warmup")
    from bench import SETTINGS, scales_by_hand

    record = Record.load(bench[0] / "hand-lr0.001-seed1-d16-50updates")
    names = [block["name"] for block in record.blocks]
    found = scales_by_hand(SETTINGS["hand-output"].by_hand, names)
    changed = {n: s for n, s, first in zip(names, found.tolist(), record.state.scales, strict=True) if s != first}
    assert changed == {"decoder.layers.5.final_layer_norm.weight": 4.0, "decoder.embed_tokens.weight": 0.2}


def test_finished_runs_are_not_repeated(bench):
    output, printed, run = bench
    before = (output / "readings.jsonl").read_bytes()
    again = run()
    assert again.stdout == printed
    assert (output / "readings.jsonl").read_bytes() == before


def test_readings_of_another_initialization_of_the_same_name_are_refused(bench, tmp_path):
    output, _, run = bench
    lines = (output / "readings.jsonl").read_text()
    (tmp_path / "readings.jsonl").write_text(lines.replace(", 0.3]", ", 0.5]"))
    refused = run("--output", tmp_path)
    assert refused.returncode == 2
    assert "has hand-lr0.001-seed1-d16-50updates with other settings (rule " in refused.stderr
    assert refused.stderr.rstrip().endswith("use another --output")


def test_the_table_alone_uses_longer_runs_up_to_the_last_reading(bench, tmp_path):
    """It shows no source gain for them. Of two runs of a seed it uses the shorter, and none with other options."""
    output, _, run = bench
    first, second = sorted(
        (json.loads(line) for line in (output / "readings.jsonl").read_text().splitlines()),
        key=lambda reading: reading["seed"],
    )
    longer = {"updates": 100, "source_gain": 9.0, "training": {"50": 3.0, "100": 1.0}, "validation": {"50": 4.0}}
    readings = [first | longer, first, second | longer, first | {"seed": 3, "further": ["--dropout", "0"]}]
    (tmp_path / "readings.jsonl").write_text("".join(json.dumps(reading) + "\n" for reading in readings))
    shown = run("--output", tmp_path, "--table-only", "--seeds", "1", "2", "3")
    assert shown.returncode == 0, shown.stderr
    [row] = [[cell.strip() for cell in line.split("|")[1:-1]] for line in shown.stdout.splitlines()[2:]]
    losses = [first["training"]["50"], 3.0]
    assert row[2:5] == ["1, 2", f"{statistics.mean(losses):.2f} ± {statistics.stdev(losses):.2f}", f"{max(losses):.2f}"]
    assert row[6] == f"{first['source_gain']:.2f} (1)"
    nothing = run("--output", tmp_path, "--table-only", "--seeds", "7")
    assert nothing.returncode == 2
    assert "has none of these runs up to update 50" in nothing.stderr


def test_the_checkpoint_is_chosen_by_its_bleu_on_the_validation_set(root, monkeypatch):
    monkeypatch.syspath_prepend(root / "experiments/no_warmup")
    from tables import chosen_bleu

    def scored(valid, test):
        return {"valid": {"detokenized_bleu": {"value": valid}}, "test": {"detokenized_bleu": {"value": test}}}

    assert chosen_bleu({"scores": {"best": scored(30.0, 1.0), "last": scored(29.0, 99.0)}}) == 1.0
    assert chosen_bleu({"scores": {"best": scored(30.0, 1.0), "last": scored(31.0, 0.5)}}) == 0.5
    assert chosen_bleu({}) is None


def test_a_bleu_of_zero_is_shown(bench, root, monkeypatch):
    monkeypatch.syspath_prepend(root / "experiments/no_warmup")
    from tables import table

    reading = json.loads((bench[0] / "readings.jsonl").read_text().splitlines()[0])
    none = {"valid": {"detokenized_bleu": {"value": 0.0}}, "test": {"detokenized_bleu": {"value": 0.0}}}
    head, _, row = table([reading | {"scores": {"best": none, "last": none}}], [50]).splitlines()
    assert row.split("|")[head.split("|").index(" BLEU ")].strip() == "0.00"
    assert "BLEU" not in table([reading], [50])


def test_a_rule_for_other_layers_is_refused(root, monkeypatch):
    monkeypatch.syspath_prepend(root / "experiments/no_warmup")
    from bench import SETTINGS, scales_by_hand

    names = ["decoder.embed_tokens.weight", "decoder.layers.3.final_layer_norm.weight", "encoder.layers.0.fc1.weight"]
    with pytest.raises(UserError, match=r"decoder.layers.5.final_layer_norm.weight, but no tensor's name ends with it"):
        scales_by_hand(SETTINGS["hand-output"].by_hand, names)


def test_readings_beyond_the_training_are_refused(bench):
    for readings, expected in (("100", "expected at most --updates (50)"), ("30", "expected multiples of 50")):
        refused = bench[2]("--readings", readings)
        assert refused.returncode == 2
        assert expected in refused.stderr


def test_readings_without_the_requested_scores_are_refused(bench):
    refused = bench[2]("--bleu")
    assert refused.returncode == 2
    assert "has hand-lr0.001-seed1-d16-50updates without --bleu" in refused.stderr


def test_a_failed_run_is_reported_after_the_others_have_finished(bench, tmp_path):
    blocked = tmp_path / "hand-lr0.001-seed1-d16-50updates"
    blocked.mkdir()
    (blocked / "notes.txt").write_text("someone else's")
    failed = bench[2]("--output", tmp_path, "--workers", "1")
    assert failed.returncode == 2
    assert "error: 1 of 2 runs failed:\nhand-lr0.001-seed1-d16-50updates: training.launch ended" in failed.stderr
    assert "is not empty and holds no run.json" in failed.stderr
    [reading] = (tmp_path / "readings.jsonl").read_text().splitlines()
    assert json.loads(reading)["seed"] == 2
    assert [path.name for path in blocked.iterdir()] == ["notes.txt"]


def test_a_terminated_bench_leaves_no_training_running(root, toy_corpus, tmp_path):
    line = [sys.executable, root / "experiments/no_warmup/bench.py", toy_corpus, "--output", tmp_path, "--width", "16"]
    line += ["--settings", "xavier", "--updates", "5000", "--seeds", "1"]
    with subprocess.Popen(list(map(str, line)), stderr=subprocess.DEVNULL) as process:
        log = tmp_path / "xavier-lr0.001-seed1-d16-5000updates/train.log"
        deadline = time.monotonic() + 120
        while not (log.exists() and "num_updates" in log.read_text()) and time.monotonic() < deadline:
            time.sleep(0.1)
        assert processes_with(str(tmp_path))
        process.terminate()
    assert process.returncode == 128 + signal.SIGTERM
    assert not processes_with(str(tmp_path))
    assert not (tmp_path / "readings.jsonl").exists()


def processes_with(argument):
    """The running processes with ``argument`` in their command line."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            if argument.encode() in path.read_bytes():
                found.append(path.parent.name)
    return found
