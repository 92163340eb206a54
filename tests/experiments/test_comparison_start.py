"""What study.py and report.py check before they start anything, from their command lines; nothing is trained."""

import json
import os
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest
import yaml
from comparison import engine, report, study
from comparison.cells import Cell
from comparison.configuration import load
from comparison.plan import finished, plan

from gradinit_mt.common.errors import UserError
from gradinit_mt.common.processor import processor_name

CELL = Cell("toy", "warmup-tuned", 1e-3, 0.98, None, 1, 3)


def reading(cell):
    measured = dict.fromkeys(("smoothed", "source_gain", "initialization_seconds", "seconds"), 1.0)
    told = {"options": cell.options(), "chosen": [], "end": "complete", "precision": "float32"}
    return cell.fields | {"further": list(cell.further)} | told | measured | {"training": {}, "validation": {}}


def prepared(path):
    """The corpus that a directory names."""
    return SimpleNamespace(name=path.name, directory=path, languages=("de", "en"), sha256={"train.de": "aa"})


@pytest.fixture
def start(root, tmp_path, monkeypatch):
    """Runs study.py on the smoke configuration with these options; the corpora are what the first ones name."""

    def run(*further, corpora=("toy",)):
        monkeypatch.setattr(study.PreparedCorpus, "load", prepared)
        smoke = root / "experiments/comparison/smoke.yaml"
        line = ["study.py", *corpora, "--config", smoke, "--output", tmp_path / "out", *further]
        monkeypatch.setattr("sys.argv", list(map(str, line)))
        study.main()

    return run


@pytest.fixture
def cells(root):
    """The cells of the smoke configuration."""
    config = load(root / "experiments/comparison/smoke.yaml")
    return [planned.cell for planned in plan(config | {"corpora": {"toy": ""}}, [])]


def save(readings, path):
    path.write_text("".join(json.dumps(entry) + "\n" for entry in readings))
    return path


def test_a_dry_run_names_what_is_left_beside_known_readings_and_writes_nothing(start, cells, tmp_path, capsys):
    first, *others = cells
    known = save([reading(first) | {"device": processor_name()}], tmp_path / "known.jsonl")
    start("-n", "--known", known)
    shown = capsys.readouterr()
    assert shown.out.splitlines() == [cell.name for cell in others]
    assert "rates, a rule by hand: 1 of 1 cells done\n" in shown.err
    assert "bleu, one with scores: 0 of 3 cells done, " in shown.err
    assert "together: 1 of 4 cells done" in shown.err
    assert list(tmp_path.iterdir()) == [known]


@pytest.mark.skipif(not engine.ENGINE.exists(), reason="no workflow engine; run make study")
def test_the_profile_for_slurm_is_one_that_the_engine_takes(root, tmp_path):
    """A dry run, which submits nothing."""
    config = load(root / "experiments/comparison/smoke.yaml")
    config |= {"corpora": {"toy": "toy"}, "output": str(tmp_path), "python": sys.executable, "device": "cpu"}
    profile = root / "experiments/comparison/profiles/slurm"
    chosen = SimpleNamespace(output=tmp_path, cores=50, gpus=0, further=["--profile", profile, "--dry-run"])
    line = engine.command_line(config, chosen)
    with open(line[0], "rb") as program:
        assert program.read(2) != b"#!", "a script that names the Python of the place where it was installed"
    found = subprocess.run(line, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    assert "train" in found.stdout + found.stderr
    assert not list(tmp_path.glob("cells"))


def test_known_readings_are_taken_over_and_the_cells_own_ones_stay(cells, tmp_path):
    first, second, *_ = cells
    study.adopt([reading(first)], tmp_path)
    study.adopt([reading(first) | {"smoothed": 2.0}, reading(second)], tmp_path)
    assert {Cell.of(entry): entry["smoothed"] for entry in finished(tmp_path)} == {first: 1.0, second: 1.0}


def test_a_trained_cell_without_a_reading_is_not_taken_over(cells, tmp_path):
    directory = tmp_path / "cells" / cells[0].name
    directory.mkdir(parents=True)
    (directory / "trained.json").write_text("{}")
    study.adopt([reading(cells[0])], tmp_path)
    assert finished(tmp_path) == []


def test_a_damaged_reading_is_named(cells, tmp_path):
    study.adopt([reading(cells[0])], tmp_path)
    [path] = tmp_path.rglob("reading.json")
    path.write_text(path.read_text()[:40])
    with pytest.raises(UserError, match=rf"{path}: not JSON .*; remove the cell's directory to train it again"):
        finished(tmp_path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (None, "known.jsonl: no such file"),
        (['{"corpus": "toy"'], 'known.jsonl, line 1: expected a JSON object, found \'{"corpus": "toy"\''),
        (['{"corpus": "toy"}'], "known.jsonl, line 1 has no setting: expected a reading"),
        ([reading(CELL), reading(CELL) | {"setting": "hand"}], "line 2: the setting hand is not in settings.py"),
        ([reading(CELL), reading(CELL)], "known.jsonl: lines 1 and 2 are of the same cell; remove one of them"),
        ([reading(CELL) | {"lr": "0.001"}], "line 1: lr is '0.001', expected a number"),
        ([reading(CELL) | {"further": None}], "line 1: further is None, expected a list of texts"),
        ([reading(CELL) | {"training": []}], "line 1: training is [], expected losses by update"),
        ([reading(CELL) | {"source_gain": "high"}], "line 1: source_gain is 'high', expected a number or null"),
        ([reading(CELL) | {"end": "killed"}], "line 1: end is 'killed', expected complete or diverged"),
        (
            [reading(CELL) | {"momentum": 0.9}],
            "line 1: expected either a beta2 or a momentum, and null for the other one",
        ),
        (
            [reading(CELL) | {"scores": {"best": {}}}],
            "line 1: its scores are not scores by checkpoint and split, or null",
        ),
        ([reading(CELL) | {"data_sha256": {"train.de": "aa"}}], "line 1 has no vocabulary: expected a reading"),
        ([reading(CELL) | {"corpus": "../toy"}], "the corpus's name is '../toy', expected one without slashes"),
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


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("", [1], "[1], expected the fields baselines, tuning, further, blocks"),
        ("baselines", ["lamb"], "baselines is ['lamb'], expected a list of xavier, "),
        ("baselines", ["t-fixup"], "no block trains t-fixup: add it to one, or choose other baselines"),
        ("tuning seed", None, "tuning has no seed: expected a whole number, at least 0"),
        ("tuning lengths", [300], "tuning: lengths is [300], expected a list of 50, 100, 200, 400, 800"),
        ("further", ["--dropout", 0.3], "further is ['--dropout', 0.3], expected a list of options of fairseq-train"),
        ("blocks", {}, "blocks is {}, expected blocks by name"),
        ("blocks a", "toy", "block a is 'toy', expected the fields about, corpus, "),
        ("blocks a about", None, "block a has no about: expected text: what the block is about"),
        ("blocks a stages", None, "block a has no stages: expected a list of stages"),
        ("blocks a updates", 2.5, "block a: updates is 2.5, expected a whole number above 0"),
        ("blocks a bleu", "yes", "block a: bleu is 'yes', expected true or false"),
        ("blocks a beta2", None, "block a has neither beta2 nor momentum: give it beta2 for Adam, or momentum for SGD"),
        ("blocks a beta2", [1.0], "block a: beta2 is [1.0], expected a list of numbers from 0 to below 1"),
        ("blocks a betas", [0.9], "block a has the unknown field betas: expected of about, corpus, "),
        (
            "blocks a stages 0 lr",
            ["1e-3"],
            "stage 1: lr is ['1e-3'], expected a list of numbers above 0 (YAML",
        ),
        ("blocks a stages 0 lr", 0.001, "block a, stage 1: lr is 0.001, expected a list"),
        ("blocks a stages 0 lr", [], "block a, stage 1: lr is [], expected a list"),
        ("blocks a stages 0 seeds", [True], "block a, stage 1: seeds is [True], expected a list of whole numbers"),
        ("blocks a stages 0 settings", "xavier", "stage 1: settings is 'xavier', expected all, trained, or a list of "),
        ("blocks a stages 0 settings", ["xavier", "lamb"], "settings is ['xavier', 'lamb'], expected all, trained, or"),
        ("blocks a momentum", [0.9], "block a, stage 1: radam change Adam, but momentum makes cells of SGD"),
    ],
)
def test_a_configuration_is_refused_with_block_field_value_and_what_is_expected(path, value, message, tmp_path):
    stage = {"settings": ["xavier", "radam"], "lr": [0.001], "seeds": [1]}
    block = {"about": "a test", "corpus": "toy", "updates": 2, "beta2": [0.98], "stages": [stage]}
    config = {"baselines": ["xavier"], "tuning": {"seed": 101, "updates": 2, "lengths": [100]}, "blocks": {"a": block}}
    file = tmp_path / "study.yaml"
    file.write_text(yaml.safe_dump(config))
    assert load(file) == config
    file.write_text(yaml.safe_dump(changed(config, path.split(), value)))
    with pytest.raises(UserError) as refused:
        load(file)
    assert str(refused.value).startswith(str(file))
    assert message in str(refused.value)


def changed(config, path, value):
    """The configuration with another value at the end of the path, or without the field if the value is None."""
    if not path:
        return value
    *parents, last = [int(part) if part.isdigit() else part for part in path]
    inner = config
    for name in parents:
        inner = inner[name]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return config


@pytest.mark.parametrize("text", [b"blocks: [", "# für die Übung\n".encode("latin-1")])
def test_text_that_is_no_yaml_is_refused(tmp_path, text):
    (tmp_path / "study.yaml").write_bytes(text)
    with pytest.raises(UserError, match=r"study\.yaml is not YAML in UTF-8: "):
        load(tmp_path / "study.yaml")


def test_all_settings_are_too_many_for_sgd(tmp_path):
    stage = {"settings": "all", "lr": [0.1], "seeds": [1]}
    block = {"about": "a test", "corpus": "toy", "updates": 2, "momentum": [0.9], "stages": [stage]}
    config = {"baselines": ["xavier"], "tuning": {"seed": 101, "updates": 2, "lengths": [100]}, "blocks": {"a": block}}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(UserError, match="stage 1: warmup-untuned, adam-eps, radam, gi-adam, novograd change Adam"):
        load(tmp_path / "study.yaml")


@pytest.fixture
def started(root, monkeypatch):
    """The command lines of the engine, which is not run, on a machine without a GPU."""
    lines = []
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr(engine, "ENGINE", root / "setup.py")
    monkeypatch.setattr(engine, "run", lambda line, *_: lines.append(line) or 0)
    return lines


def test_gpus_that_are_not_there_are_refused(start, started):
    with pytest.raises(UserError, match=r"no GPU was found: start study\.py without --gpus"):
        start("--gpus", "2")
    assert not started


def test_a_machine_that_hands_jobs_to_a_cluster_needs_no_gpu(start, started):
    start("--gpus", "2", "--", "--profile", "slurm")
    assert len(started) == 1


def test_two_corpora_of_one_name_are_refused(start, tmp_path):
    with pytest.raises(UserError, match="two of the corpora have the name toy: leave one of them out"):
        start(corpora=["toy", "copy/toy"])
    assert not list(tmp_path.iterdir())


def test_a_cell_that_must_not_be_used_does_not_end_the_engine(start, cells, root, tmp_path, monkeypatch):
    """Others run beside it; the check follows when the engine has ended."""
    tuned = next(cell for cell in cells if cell.row.tuned)

    def run(line, lock, progress):
        told = {"tuning": {"seed": 9}, "options": tuned.options(), "by_hand": None, "end": "complete"}
        (tmp_path / "out/cells" / tuned.name).mkdir(parents=True)
        (tmp_path / "out/cells" / tuned.name / "trained.json").write_text(json.dumps(tuned.fields | told))
        assert "cells done" in progress()
        return 0

    monkeypatch.setattr(engine, "ENGINE", root / "setup.py")
    monkeypatch.setattr(engine, "run", run)
    with pytest.raises(UserError, match="the tuning's seed 9 there"):
        start()


def test_a_block_that_is_asked_for_needs_its_corpus(start, root, tmp_path):
    with pytest.raises(UserError, match="--blocks d-tatoeba: its corpus tatoeba is not among the arguments"):
        start("--config", root / "experiments/comparison/config.yaml", "--blocks", "d-tatoeba", corpora=["multi30k"])
    assert not list(tmp_path.iterdir())


class HangsUpInside(subprocess.Popen):
    """A hangup comes once the engine runs, before its caller knows of it."""

    def __init__(self, *arguments, **named):
        super().__init__(*arguments, **named)
        os.kill(os.getpid(), signal.SIGHUP)
        time.sleep(0.1)  # another thread may be the one to take it


@pytest.mark.parametrize(("popen", "hangup"), [(subprocess.Popen, "sleep 0.2; kill -HUP $PPID"), (HangsUpInside, "")])
def test_a_hangup_ends_the_engine_too(start, tmp_path, monkeypatch, popen, hangup):
    """The terminal was closed, and the command had been started without nohup."""
    engines = []

    def started(*arguments, **named):
        assert len(named["pass_fds"]) == 1, "the lock"
        engines.append(popen(*arguments, **named))
        return engines[-1]

    script = tmp_path / "engine"
    script.write_text(f"#!/bin/sh\n{hangup}\nexec sleep 60\n")
    script.chmod(0o700)
    monkeypatch.setattr(engine, "ENGINE", script)
    monkeypatch.setattr(engine, "START", [str(script)])
    monkeypatch.setattr(engine.subprocess, "Popen", started)
    before = signal.signal(signal.SIGHUP, lambda number, _: sys.exit(128 + number))  # as command.run sets it
    try:
        with pytest.raises(SystemExit) as ended:
            start()
    finally:
        signal.signal(signal.SIGHUP, before)
    assert ended.value.code == 128 + signal.SIGHUP
    assert [process.returncode for process in engines] == [-signal.SIGINT]
