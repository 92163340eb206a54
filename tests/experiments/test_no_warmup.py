"""The tables of the study without warmup, made from its committed readings."""

import json
import statistics
import sys

import pytest
import tables

from gradinit_mt.common.errors import UserError

FOLDER = "docs/results/no-warmup"
NAMES = ["xavier", "warmup200", "warmup400", "hand", "hand-output", "paper", "gradinit"]
RATES = ["5e-4", "1e-3", "2e-3", "3e-3"]


@pytest.fixture
def show(tmp_path, monkeypatch, capsys):
    """Runs the command on a file in this process; returns what it printed."""

    def run(file, *arguments):
        monkeypatch.setattr(sys, "argv", ["tables.py", str(file), "--output", str(tmp_path / "out"), *arguments])
        tables.main()
        return capsys.readouterr().out

    return run


def reading(**changes):
    plain = {"setting": "hand", "lr": 0.001, "seed": 1, "updates": 50, "width": 128, "further": []}
    measured = {"training": {"50": 4.0}, "validation": {"50": 4.5}, "smoothed": 5.0, "source_gain": 0.5}
    return plain | measured | {"gradinit_seconds": 0.0, "seconds": 10.0} | changes


@pytest.mark.parametrize(
    "arguments",
    [
        ["--settings", *NAMES, "--lr", *RATES, "--seeds", "1", "2", "3", "4", "5"],
        ["--settings", "warmup100", "warmup200", "warmup400", "--lr", *RATES[1:], "--seeds", "101"],
        ["--settings", "warmup200", "gradinit", "--readings", "800", "4900"],
        [
            *("--settings", "xavier", "gradinit", "--lr", "0.1", "--readings", "800", "2450"),
            *("--", "--optimizer", "sgd", "--momentum", "0.9"),
        ],
    ],
    ids=["first updates", "lengths of warmup", "20 epochs", "SGD"],
)
def test_the_committed_table_is_made_from_the_committed_readings(root, show, arguments):
    committed = (root / FOLDER / "table.md").read_text(encoding="utf-8")
    assert show(root / FOLDER / "readings.jsonl", *arguments) in committed


def test_longer_runs_count_up_to_the_last_reading(show, tmp_path):
    """It shows no source gain for them. Of two runs of a seed it uses the shorter, and none with other options."""
    longer = {"updates": 100, "source_gain": 9.0, "training": {"50": 3.0, "100": 1.0}, "validation": {"50": 4.0}}
    readings = [
        reading(**longer),
        reading(),
        reading(seed=2, **longer),
        reading(seed=3, further=["--dropout", "0"]),
        reading(seed=4, width=256),
    ]
    file = tmp_path / "readings.jsonl"
    file.write_text("".join(json.dumps(entry) + "\n" for entry in readings))
    shown = show(file, "--settings", "hand", "--readings", "50", "--seeds", "1", "2", "3", "4")
    [row] = [[cell.strip() for cell in line.split("|")[1:-1]] for line in shown.splitlines()[2:]]
    assert row[2:5] == ["1, 2", f"3.50 ± {statistics.stdev([4.0, 3.0]):.2f}", "4.00"]
    assert row[6] == "0.50 (1)"
    with pytest.raises(UserError, match="has none of these runs with a loss after 50 updates"):
        show(file, "--settings", "hand", "--readings", "50", "--seeds", "7")


def test_a_bleu_of_zero_is_shown():
    none = {"valid": {"detokenized_bleu": {"value": 0.0}}, "test": {"detokenized_bleu": {"value": 0.0}}}
    head, _, row = tables.table([reading(scores={"best": none, "last": none})], [50]).splitlines()
    assert row.split("|")[head.split("|").index(" BLEU ")].strip() == "0.00"
    assert "BLEU" not in tables.table([reading()], [50])
