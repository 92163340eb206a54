"""What study.py and report.py check before they start anything, from their command lines; nothing is trained."""

import json
from types import SimpleNamespace

import pytest
import yaml
from comparison import report, study
from comparison.cells import Cell
from comparison.plan import finished, plan

from gradinit_mt.common.errors import UserError

CELL = Cell("toy", "warmup-tuned", 1e-3, 0.98, None, 1, 3)


def reading(cell):
    measured = dict.fromkeys(("smoothed", "source_gain", "initialization_seconds", "seconds"), 1.0)
    told = {"options": cell.options(), "chosen": [], "end": "complete", "precision": "float32"}
    return cell.fields | {"further": list(cell.further)} | told | measured | {"training": {}, "validation": {}}


@pytest.fixture
def start(root, tmp_path, monkeypatch):
    """Runs study.py on the smoke configuration with these options; the corpora are what the first ones name."""

    def run(*further, corpora=("toy",)):
        monkeypatch.setattr(study.PreparedCorpus, "load", lambda path: SimpleNamespace(name=path.name, directory=path))
        smoke = root / "experiments/comparison/smoke.yaml"
        line = ["study.py", *corpora, "--config", smoke, "--output", tmp_path / "out", *further]
        monkeypatch.setattr("sys.argv", list(map(str, line)))
        study.main()

    return run


@pytest.fixture
def cells(root):
    """The cells of the smoke configuration."""
    config = yaml.safe_load((root / "experiments/comparison/smoke.yaml").read_text(encoding="utf-8"))
    return [planned.cell for planned in plan(config | {"corpora": {"toy": ""}}, [])]


def save(readings, path):
    path.write_text("".join(json.dumps(entry) + "\n" for entry in readings))
    return path


def test_a_dry_run_names_what_is_left_beside_known_readings_and_writes_nothing(start, cells, tmp_path, capsys):
    first, *others = cells
    known = save([reading(first)], tmp_path / "known.jsonl")
    start("-n", "--known", known)
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [cell.name for cell in others]
    assert f"1 of {len(cells)} cells done" in shown.err
    assert list(tmp_path.iterdir()) == [known]


def test_known_readings_are_taken_over_and_the_cells_own_ones_stay(cells, tmp_path):
    first, second, *_ = cells
    study.adopt([reading(first)], tmp_path)
    study.adopt([reading(first) | {"smoothed": 2.0}, reading(second)], tmp_path)
    assert {Cell.of(entry): entry["smoothed"] for entry in finished(tmp_path)} == {first: 1.0, second: 1.0}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (None, "known.jsonl: no such file"),
        (['{"corpus": "toy"'], 'known.jsonl, line 1: expected a JSON object, found \'{"corpus": "toy"\''),
        (['{"corpus": "toy"}'], "known.jsonl, line 1 has no setting: expected a reading"),
        ([reading(CELL), reading(CELL) | {"setting": "hand"}], "line 2: the setting hand is not in settings.py"),
    ],
)
def test_known_readings_must_be_readings_and_their_file_stays(start, tmp_path, lines, message):
    path = tmp_path / "known.jsonl"
    text = "\n".join(line if isinstance(line, str) else json.dumps(line) for line in lines or ())
    if lines:
        path.write_text(text)
    with pytest.raises(UserError) as refused:
        start("--known", path)
    assert message in str(refused.value)
    assert not (tmp_path / "out").exists()
    assert not lines or path.read_text() == text


def test_a_report_of_what_is_no_output_of_the_study_is_refused(tmp_path, monkeypatch):
    line = ["report.py", tmp_path / "typo", "--output", tmp_path / "report"]
    monkeypatch.setattr("sys.argv", list(map(str, line)))
    with pytest.raises(UserError, match=r"typo holds no cells/: expected an output of study\.py"):
        report.main()
    assert not list(tmp_path.iterdir())


def test_a_report_refuses_readings_of_a_setting_that_is_not_there_any_more(tmp_path, monkeypatch):
    study.adopt([reading(CELL) | {"setting": "hand"}], tmp_path / "runs")
    monkeypatch.setattr("sys.argv", ["report.py", str(tmp_path / "runs"), "--output", str(tmp_path / "report")])
    with pytest.raises(UserError, match=r"reading\.json: the setting hand is not in settings\.py"):
        report.main()
