"""The report of the comparison study, from invented readings."""

import csv
import io
import json
import math
import statistics
from dataclasses import replace

import pytest
from comparison import measures, pictures, tables
from comparison.cells import Cell
from comparison.collect import collect, score_of
from comparison.groups import Group, Part, by_part
from comparison.report import make

from gradinit_mt.common.errors import UserError
from gradinit_mt.evaluation.results import Texts

CELL = Cell("toy", "gradinit", 1e-3, 0.98, None, 1, 100)
BASELINES = ["warmup-tuned", "t-fixup"]


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
    """The scores of a checkpoint: BLEU on the validation and on the test set."""
    others = {name: {"value": test} for name in ("tokenized_lowercase_bleu", "detokenized_chrf")}
    return {
        "valid": {"detokenized_bleu": {"value": valid}, **others},
        "test": {"detokenized_bleu": {"value": test}, **others},
    }


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
    make(readings, tmp_path, BASELINES)
    page = (tmp_path / "report.html").read_text()
    drawn = list(tmp_path.glob("*.png"))
    names = {"rates-toy-100-adam-0.98.png", "beta2-toy-100.png", "beta2-toy-100---dropout-0.3.png"}
    assert names <= {path.name for path in drawn}
    assert page.count("data:image/png;base64,") == len(drawn)
    assert "http" not in page, "the page is self-contained"
    runs = list(csv.DictReader((tmp_path / "runs.csv").open()))
    assert len(runs) == len(readings)
    assert [row["training_loss"] for row in runs if row["end"] == "diverged"] == [""]


def test_rows_have_mean_spread_and_failures(readings):
    readings.append(reading(replace(CELL, seed=3), 4.0, 2.5))
    readings.append(reading(replace(CELL, seed=4), 5.0, 3.0, training={}))
    [(part, groups), *_] = by_part(readings).items()
    row = dict(zip(*((table := tables.details(part, groups, BASELINES)).columns, table.rows[-1]), strict=True))
    assert (row["setting"], row["seeds"], row["failed"], row["diverged"]) == ("gradinit", "1, 2, 3, 4", "1", "1")
    assert row["training loss"] == f"3.50 ± {statistics.stdev([3.0, 4.0]):.2f} (2)", "one was not logged"
    assert row["validation loss"] == f"4.50 ± {statistics.stdev([3.5, 4.5, 5.5]):.2f}"
    assert (row["seconds"], row["without initialization"]) == ("110 ± 0", "100 ± 0")
    by_rate = tables.by_rate(part, groups, "source gain", measures.gain)
    rows = {setting: text for _section, setting, text in by_rate.rows}
    assert rows == {"xavier": "0.00 (1 of 1 failed)", "warmup-200": "2.00", "gradinit": "2.50 ± 0.50 (1 of 4 failed)"}


def test_both_csv_files_have_the_numbers_of_the_tables(readings):
    score = scored(30.0, 29.0)
    score["test"]["detokenized_bleu"]["signature"] = "tok:13a"
    against = {"t-fixup": {"difference": -1.0, "p": 0.25}}
    readings.append(reading(replace(CELL, seed=3), 4.0, 2.5, scores={"best": score, "last": score}, paired=against))
    found = by_part(readings)
    [line, *_] = [row for row in rows_of(tables.settings_csv(found)) if row["setting"] == "gradinit"]
    assert (line["corpus"], line["optimizer"], line["moment"], line["lr"]) == ("toy", "Adam", "0.98", "0.001")
    assert (line["seeds"], line["failed"], line["diverged"]) == ("3", "1", "1")
    assert [float(line[f"training_loss_{kind}"]) for kind in ("mean", "deviation", "seeds")] == [3.5, 0.7071, 2]
    assert [line[f"bleu_{kind}"] for kind in ("mean", "deviation", "seeds")] == ["29.0", "", "1"]
    assert line["seconds_without_initialization_mean"] == "100.0"
    run = rows_of(tables.runs_csv(readings, BASELINES))[-1]
    assert (run["seed"], run["bleu"], run["bleu_signature"]) == ("3", "29.0", "tok:13a")
    assert (run["bleu_difference_t-fixup"], run["p_t-fixup"]) == ("-1.0", "0.25")
    assert (run["bleu_difference_warmup-tuned"], run["p_warmup-tuned"]) == ("", "")


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_the_conditions_say_what_runs_have_in_common_and_how_many_state_it():
    told = {"vocabulary": {"de": 7792}, "tokens_per_update": 2048, "parameters": 3_986_176}
    told["data_sha256"] = {"train.de": "0123456789abcdef", "test.de": "ff"}
    readings = [reading(CELL, **told), reading(replace(CELL, setting="pre-ln"), **told | {"parameters": 3_982_848})]
    table = tables.conditions(by_part([*readings, reading(replace(CELL, seed=2))]))
    assert table.rows == [
        [
            "toy, 100 updates, Adam, beta2 0.98",
            "2 of 3",
            "2,048",
            "de 7,792",
            "3,982,848, 3,986,176",
            "train.de 0123456789ab",
        ]
    ]


def test_a_setting_whose_runs_all_diverged_is_marked():
    group = Group("gradinit", 1e-3, (diverged(CELL), diverged(replace(CELL, seed=2))))
    assert tables.with_failures(group, measures.training) == "diverged"


def test_a_cross_ends_the_curve_of_a_setting_of_which_a_run_diverged():
    broken = reading(replace(CELL, seed=2), end="diverged", training={"50": 4.0, "100": None})
    for readings, marker, updates in (((reading(CELL), broken), "x", [50]), ((reading(CELL),), "None", [50, 100])):
        group = Group("gradinit", 1e-3, readings)
        [line] = pictures.curves([group], "warmup-tuned").axes[0].get_lines()
        assert (line.get_marker(), list(line.get_xdata())) == (marker, updates)


def test_a_seed_without_logged_losses_leaves_the_curve_of_the_others():
    group = Group("gradinit", 1e-3, (reading(CELL), reading(replace(CELL, seed=2), training={})))
    [line] = pictures.curves([group], "warmup-tuned").axes[0].get_lines()
    assert list(line.get_xdata()) == [50, 100]


def test_a_source_gain_that_is_no_number_is_not_drawn_as_0():
    group = Group("gradinit", 1e-3, (reading(CELL, gain=None),))
    assert [text.get_text() for text in pictures.over_settings([group]).axes[0].texts] == ["nan"]


def test_validation_losses_are_shown_where_they_are_low():
    falling = {str(update): 2.0 + 10 / update for update in range(1, 101)}
    group = Group("gradinit", 1e-3, (reading(CELL, validation=falling),))
    [axes] = pictures.curves([group], "warmup-tuned", "validation").axes
    low, high = axes.get_ylim()
    assert low < min(falling.values()) < high < 3
    assert [list(line.get_ydata()) for line in axes.get_lines()] == [list(falling.values())]


@pytest.mark.parametrize(("optimizer", "name", "field"), [("Adam", "beta2", "beta2"), ("SGD", "momentum", "momentum")])
def test_the_map_over_moments_has_the_settings_and_rates_with_more_than_one(optimizer, name, field):
    at = {
        0.9: [("gradinit", 1e-3), ("xavier", 2e-3)],
        0.98: [("gradinit", 1e-3), ("gradinit", 5e-3), ("t-fixup", 1e-3)],
    }
    cell = replace(CELL, beta2=None)
    found = {
        Part("toy", 100, (), optimizer, moment): [
            Group(setting, lr, (reading(replace(cell, setting=setting, lr=lr, **{field: moment})),))
            for setting, lr in cells
        ]
        for moment, cells in at.items()
    }
    [(file, title, figure)] = pictures.over_moments(found)
    assert (file, title.rpartition(" and ")[2]) == (f"{name}-toy-100", name)
    panels = [axes for axes in figure.axes if axes.get_title()]
    assert [axes.get_title() for axes in panels] == ["gradinit"]
    assert panels[0].get_ylabel() == name
    assert [label.get_text() for label in panels[0].get_xticklabels()] == ["0.001"]
    assert [label.get_text() for label in panels[0].get_yticklabels()] == ["0.9", "0.98"]


def test_a_few_settings_share_a_panel_and_many_have_one_per_section():
    few = ["xavier", "t-fixup", "gradinit", "warmup-tuned", "nio", "ds-init", "gi-adam"]
    many = [*few[:3], "pre-ln", "radam", "gi-adam", "ds-init", "nio", "metainit"]
    for settings, lines in ((few, [7]), (many, [4, 2, 3])):
        groups = [Group(name, 1e-3, (reading(replace(CELL, setting=name), 3.0, 2.0),)) for name in settings]
        panels = pictures.curves(groups, "warmup-tuned").axes
        assert [len(axes.get_lines()) for axes in panels] == lines
        for axes in panels:
            assert len({line.get_color() for line in axes.get_lines()}) == len(axes.get_lines())


def test_lengths_of_warmup_are_in_no_table_if_they_choose_that_of_another_setting(readings):
    def shown(readings: list[dict]) -> set[str]:
        return {group.setting for groups in by_part(readings).values() for group in groups}

    assert shown(readings) == {"gradinit", "xavier", "warmup-200"}
    tuned = reading(replace(CELL, setting="warmup-tuned"))
    assert shown([*readings, tuned]) == {"gradinit", "xavier", "warmup-tuned"}
    of_its_own = reading(replace(CELL, setting="warmup-400"))
    assert shown([*readings, tuned, of_its_own]) == {"gradinit", "xavier", "warmup-tuned", "warmup-400"}


def test_times_are_apart_for_each_device():
    on = [
        reading(replace(CELL, seed=seed), seconds=s, device=d) for seed, s, d in ((1, 20.0, "GPU"), (2, 200.0, "CPU"))
    ]
    [(part, groups)] = by_part(on).items()
    shown = tables.details(part, groups, BASELINES)
    row = dict(zip(shown.columns, shown.rows[0], strict=True))
    assert (row["seconds"], row["without initialization"]) == ("200 (CPU); 20 (GPU)", "190 (CPU); 10 (GPU)")
    assert row["device"] == "CPU, GPU"


def test_collecting_is_reproducible_and_keeps_earlier_readings(readings, tmp_path):
    first, second, output = tmp_path / "first", tmp_path / "second", tmp_path / "report"
    save(readings[:4], first)
    save([reading(CELL, 1.0), *readings[4:]], second)
    output.mkdir()
    collect([first], output, BASELINES)
    collect([second], output, BASELINES)
    text = (output / "readings.jsonl").read_text()
    found = collect([], output, BASELINES)
    assert (output / "readings.jsonl").read_text() == text
    assert len(found) == len(readings)
    assert [entry["training"]["100"] for entry in found if Cell.of(entry) == CELL] == [1.0]


def test_paired_tests_stay_when_the_translations_are_gone(tmp_path):
    scores = {"best": scored(2.0, 1.0), "last": scored(1.0, 1.0)}
    output = tmp_path / "report"
    save([reading(CELL, scores=scores, paired={"t-fixup": {"difference": 1.0, "p": 0.5}})], tmp_path / "first")
    collect([tmp_path / "first"], output, BASELINES)
    save([reading(CELL, scores=scores)], tmp_path / "second")
    [found] = collect([tmp_path / "second"], output, BASELINES)
    assert found["paired"] == {"t-fixup": {"difference": 1.0, "p": 0.5}}
    save([reading(CELL, scores=scores | {"last": scored(3.0, 4.0)})], tmp_path / "third")
    [found] = collect([tmp_path / "third"], output, BASELINES)
    assert "paired" not in found, "other translations"


def test_scores_are_not_lost_to_the_same_cell_without_them(tmp_path):
    output, scores = tmp_path / "report", {"best": scored(2.0, 1.0), "last": scored(1.0, 1.0)}
    save([reading(CELL, scores=scores)], tmp_path / "first")
    collect([tmp_path / "first"], output, BASELINES)
    before = (output / "readings.jsonl").read_text()
    save([reading(CELL)], tmp_path / "second")
    with pytest.raises(UserError, match=rf"{CELL.name} has scores in {output}/readings\.jsonl and none in .*/second: "):
        collect([tmp_path / "second"], output, BASELINES)
    assert (output / "readings.jsonl").read_text() == before


def test_validation_losses_beyond_any_scale_leave_the_panels_without_limits():
    high = {str(update): 40.0 for update in range(1, 12)}
    [(_, groups)] = by_part([reading(CELL, validation=high)]).items()
    [axes] = pictures.curves(groups, "gradinit", "validation").axes
    assert all(map(math.isfinite, axes.get_ylim()))


def test_cells_of_different_preparations_of_a_corpus_are_refused(tmp_path):
    cells = (CELL, replace(CELL, seed=2), replace(CELL, seed=3))
    stated = {"vocabulary": {"de": 9}, "tokens_per_update": 9, "parameters": None}
    save([reading(cell, data_sha256={"train.de": cell.seed % 2}, **stated) for cell in cells[1:]], tmp_path)
    with pytest.raises(
        UserError, match=r"gradinit-.*seed2-.* and .*seed3-.* were trained on different prepar.* of toy"
    ):
        collect([tmp_path], tmp_path / "report", BASELINES)
    save([reading(CELL)], tmp_path / "other")
    collect([tmp_path / "other"], tmp_path / "report", BASELINES)


def test_the_checkpoint_is_chosen_by_its_bleu_on_the_validation_set():
    assert score_of({"scores": {"best": scored(30.0, 1.0), "last": scored(29.0, 99.0)}}) == 1.0
    assert score_of({"scores": {"best": scored(30.0, 1.0), "last": scored(31.0, 0.5)}}) == 0.5
    assert score_of({}) is None


def test_scored_cells_are_tested_against_the_baselines_of_the_same_seed(tmp_path):
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
        settings = {"settings": {"data_sha256": {"raw/test.en": "1"}, "split": "test"}, "data": {"lowercased": False}}
        (directory / "scores.json").write_text(json.dumps(settings))
        (directory.parent / "reading.json").write_text(json.dumps(saved[-1]))
    alone = reading(replace(CELL, seed=2), scores=scores)
    elsewhere = [reading(replace(CELL, setting=name, seed=3), scores=scores) for name in ("gradinit", "warmup-tuned")]
    earlier = {"t-fixup": {"difference": 1.0, "p": 0.5}}
    tested = reading(replace(CELL, setting="pre-ln", seed=3), scores=scores, paired=earlier)
    save([alone, *elsewhere, tested], tmp_path)
    (tmp_path / "report").mkdir()
    found = {Cell.of(entry): entry for entry in collect([tmp_path], tmp_path / "report", BASELINES)}
    [test] = found[CELL]["paired"].values()
    assert test["system"] == pytest.approx(100)
    assert test["difference"] == pytest.approx(100 - test["baseline"])
    assert 0 < test["p"] < 0.1
    assert [cell for cell, entry in found.items() if "paired" in entry] == [CELL, Cell.of(tested)]
    assert found[Cell.of(tested)]["paired"] == earlier, "its translations are not there"
    [(part, groups)] = by_part(list(found.values())).items()
    shown = tables.details(part, groups, BASELINES)
    rows = {row[1]: dict(zip(shown.columns, row, strict=True)) for row in shown.rows}
    assert rows["gradinit"]["BLEU - warmup-tuned"] == f"{test['difference']:+.2f} (seed 1, p {test['p']:.3f})"
    assert rows["gradinit"]["BLEU - t-fixup"] == ""
    assert rows["pre-ln"]["BLEU - t-fixup"] == "+1.00 (seed 3, p 0.500)"
    assert "BLEU - t-fixup" not in tables.details(part, groups, ["warmup-tuned"]).columns
