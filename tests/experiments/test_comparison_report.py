"""The report of the comparison study, from invented readings."""

import csv
import json
import statistics
from dataclasses import replace

import pytest
from comparison import groups as of
from comparison import pictures, tables
from comparison.cells import Cell
from comparison.collect import bleu_of, collect
from comparison.read import finite, rule_seconds
from comparison.report import make

from gradinit_mt.evaluation.results import Texts

CELL = Cell("toy", "gradinit", 1e-3, 0.98, None, 1, 100)


def reading(cell, loss=3.0, gain=2.0, **changes):
    return (
        cell.fields
        | {"options": cell.options(), "chosen": [], "end": "complete", "initialization_seconds": 10.0}
        | {"training": {"50": loss + 2, "100": loss}, "validation": {"100": loss + 0.5}, "source_gain": gain}
        | {"seconds": 110.0, "precision": "float32", "smoothed": 4.0, "further": list(cell.further)}
        | changes
    )


def diverged(cell):
    return reading(cell, gain=None, end="diverged", training={}, validation={}, seconds=None, precision=None)


def scored(valid, test):
    return {"valid": {"detokenized_bleu": {"value": valid}}, "test": {"detokenized_bleu": {"value": test}}}


@pytest.fixture
def readings():
    """Two seeds at one rate of which one diverged, a failed setting at two moments, SGD, and a length of warmup."""
    failed = replace(CELL, setting="xavier")
    return [
        reading(CELL),
        diverged(replace(CELL, seed=2)),
        reading(failed, 8.0, 0.0),
        reading(replace(failed, beta2=0.9), 8.0, 0.01),
        reading(replace(CELL, beta2=0.9, lr=2e-3), 3.5, 1.8),
        reading(replace(CELL, beta2=None, momentum=0.9), 5.0, 1.5),
        reading(replace(CELL, setting="warmup-200", seed=101)),
        *(reading(replace(CELL, beta2=beta2, further=("--dropout", "0.3"))) for beta2 in (0.9, 0.98)),
    ]


def save(readings, directory):
    for entry in readings:
        path = directory / "cells" / Cell.of(entry).name / "reading.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(entry))


def test_the_report_of_a_partial_study_has_all_its_parts(readings, tmp_path):
    make(readings, tmp_path, "warmup-tuned")
    page = (tmp_path / "report.html").read_text()
    drawn = list(tmp_path.glob("*.png"))
    names = {"rates-toy-100-adam-0.98.png", "beta2-toy-100.png", "beta2-toy-100---dropout-0.3.png"}
    assert names <= {path.name for path in drawn}
    assert page.count("data:image/png;base64,") == len(drawn)
    assert "http" not in page, "the page is self-contained"
    assert page.count("<tr>") == page.count("</tr>")
    runs = list(csv.DictReader((tmp_path / "runs.csv").open()))
    assert len(runs) == len(readings)
    assert [row["training_loss"] for row in runs if row["end"] == "diverged"] == [""]


def test_rows_have_mean_spread_and_failures(readings):
    readings.append(reading(replace(CELL, seed=3), 4.0, 2.5))
    [(part, groups), *_] = of.parts(readings).items()
    row = dict(zip(*((table := tables.details(part, groups)).columns, table.rows[-1]), strict=True))
    assert (row["setting"], row["seeds"], row["failed"], row["diverged"]) == ("gradinit", "1, 2, 3", "1", "1")
    assert row["training loss"] == f"3.50 ± {statistics.stdev([3.0, 4.0]):.2f}"
    assert (row["seconds"], row["without initialization"]) == ("110 ± 0", "100 ± 0")
    by_rate = tables.by_rate(part, groups, "source gain", of.gain)
    assert by_rate.rows == [["A", "xavier", "0.00 (1 of 1 failed)"], ["D", "gradinit", "2.25 ± 0.35 (1 of 3 failed)"]]


def test_a_setting_whose_runs_all_diverged_is_marked():
    group = of.Group("gradinit", 1e-3, (diverged(CELL), diverged(replace(CELL, seed=2))))
    assert tables.with_failures(group, of.training) == "diverged"
    assert pictures.curves(of.Part.of(group.readings[0]), [group], "warmup-tuned").axes


def test_a_few_settings_share_a_panel_and_many_have_one_per_section():
    few = ["xavier", "t-fixup", "gradinit"]
    many = [*few, "pre-ln", "radam", "gi-adam", "ds-init", "nio", "metainit"]
    for settings, lines in ((few, [3]), (many, [4, 2, 3])):
        groups = [of.Group(name, 1e-3, (reading(replace(CELL, setting=name), 3.0, 2.0),)) for name in settings]
        panels = pictures.curves(of.Part.of(groups[0].readings[0]), groups, "warmup-tuned").axes
        assert [len(axes.get_lines()) for axes in panels] == lines


def test_lengths_of_warmup_are_in_no_table(readings):
    settings = {group.setting for groups in of.parts(readings).values() for group in groups}
    assert settings == {"gradinit", "xavier"}


def test_collecting_is_reproducible_and_keeps_earlier_readings(readings, tmp_path):
    first, second, output = tmp_path / "first", tmp_path / "second", tmp_path / "report"
    save(readings[:4], first)
    save([reading(CELL, 1.0), *readings[4:]], second)
    output.mkdir()
    collect([first], output, "warmup-tuned")
    collect([second], output, "warmup-tuned")
    text = (output / "readings.jsonl").read_text()
    found = collect([], output, "warmup-tuned")
    assert (output / "readings.jsonl").read_text() == text
    assert len(found) == len(readings)
    assert [entry["training"]["100"] for entry in found if Cell.of(entry) == CELL] == [1.0]


def test_the_checkpoint_is_chosen_by_its_bleu_on_the_validation_set():
    assert bleu_of({"scores": {"best": scored(30.0, 1.0), "last": scored(29.0, 99.0)}}) == 1.0
    assert bleu_of({"scores": {"best": scored(30.0, 1.0), "last": scored(31.0, 0.5)}}) == 0.5
    assert bleu_of({}) is None


def test_scored_cells_are_tested_against_the_baseline_of_the_same_seed(tmp_path):
    reference = [f"the {word} dog runs in the park" for word in ("old", "big", "red", "shy")]
    hypotheses = {"gradinit": reference, "warmup-tuned": [f"a {line[4:-5]}" for line in reference]}
    scores = {"best": scored(2.0, 1.0), "last": scored(1.0, 1.0)}
    saved = []
    for setting, lines in hypotheses.items():
        cell = replace(CELL, setting=setting)
        saved.append(reading(cell, scores=scores))
        directory = tmp_path / "cells" / cell.name / "scores-best-test"
        directory.mkdir(parents=True)
        Texts(lines, reference, lines, reference).write(directory)
        settings = {"settings": {"data_sha256": "1", "split": "test"}, "data": {"lowercased": False}}
        (directory / "scores.json").write_text(json.dumps(settings))
        (directory.parent / "reading.json").write_text(json.dumps(saved[-1]))
    alone = reading(replace(CELL, seed=2), scores=scores)
    elsewhere = [reading(replace(CELL, setting=name, seed=3), scores=scores) for name in ("gradinit", "warmup-tuned")]
    tested = reading(replace(CELL, setting="pre-ln", seed=3), scores=scores, paired={"difference": 1.0, "p": 0.5})
    save([alone, *elsewhere, tested], tmp_path)
    (tmp_path / "report").mkdir()
    found = {Cell.of(entry): entry for entry in collect([tmp_path], tmp_path / "report", "warmup-tuned")}
    paired = found[CELL]["paired"]
    assert (paired["baseline"], paired["system"]) == ("warmup-tuned", pytest.approx(100))
    assert paired["difference"] == pytest.approx(100 - paired["baseline_score"])
    assert 0 < paired["p"] < 0.1
    assert [cell for cell, entry in found.items() if "paired" in entry] == [CELL, Cell.of(tested)]
    assert found[Cell.of(tested)]["paired"] == tested["paired"], "its translations are not there"
    [(part, groups)] = of.parts(list(found.values())).items()
    shown = tables.details(part, groups)
    [row] = [dict(zip(shown.columns, row, strict=True)) for row in shown.rows if row[1] == "gradinit"]
    assert row["difference, p"] == f"{paired['difference']:+.2f}, {paired['p']:.2f}"


def test_the_time_of_a_rule_is_that_since_fairseqs_last_line():
    lines = [
        "2026-01-31 23:59:50 | INFO | fairseq_cli.train | Start iterating over samples",
        "a line without a time",
        "2026-01-31 23:59:58 | INFO | gradinit_mt.common.progress | NIO: 5/100, 60 s left",
    ]
    assert rule_seconds(lines) == 0
    lines.append("2026-02-01 00:00:02 | INFO | gradinit_mt.plugin.initialize | initializer: nio")
    assert rule_seconds(lines) == 12
    lines.append("2026-02-01 00:00:09 | INFO | fairseq.trainer | Saving checkpoint")
    assert rule_seconds(lines) == 12


def test_numbers_that_json_does_not_know_are_none():
    assert [finite(value) for value in (1.23456, float("nan"), float("inf"))] == [1.235, None, None]
