"""The steps of a cell of the comparison study: trained, scored and read, without a run."""

import json
import os
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

import numpy
import pytest
from comparison import device, facts, folder, read, scales_by_hand, score, train
from comparison.cells import Cell
from comparison.known import check
from comparison.settings import SETTINGS
from comparison.study import parse_arguments
from fairseq import tasks

from gradinit_mt.common.errors import UserError
from gradinit_mt.common.files import sha256
from gradinit_mt.corpora.layout import PreparedCorpus
from gradinit_mt.plugin.source_gain import SourceGain
from gradinit_mt.training.options import compose

CELL = Cell("toy", "gradinit", 1e-3, 0.98, None, 1, 100)


# An interruption


def test_a_reading_outlives_an_interruption_while_the_checkpoints_are_removed(monkeypatch, tmp_path):
    save_dir = tmp_path / folder.SAVE_DIR
    save_dir.mkdir()
    for name in ("checkpoint_best.pt", "checkpoint_last.pt"):
        (save_dir / name).touch()

    unlink = Path.unlink

    def interrupted(path, **options):
        unlink(path, **options)
        if path.suffix == ".pt":
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "argv", ["read", str(tmp_path)])
    monkeypatch.setattr(read, "reading", lambda directory: {"source_gain": len(list(save_dir.glob("*.pt")))})
    with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
        patched.setattr(Path, "unlink", interrupted)
        read.main()
    assert len(list(save_dir.glob("*.pt"))) == 1
    (tmp_path / read.READING).unlink(missing_ok=True)  # as the engine does with the output of an interrupted step
    read.main()
    assert json.loads((tmp_path / read.READING).read_text()) == {"source_gain": 2}
    assert not list(save_dir.glob("*.pt"))


def test_each_target_is_scored_with_the_same_other_source_again(monkeypatch, toy_corpus, tmp_path):
    """Sentences of equal length come in an order that fairseq draws."""
    corpus, orders = PreparedCorpus.load(toy_corpus), []
    cfg = scales_by_hand.fairseq_config(CELL, corpus, tmp_path)
    loaded = [None], cfg, tasks.setup_task(cfg.task)
    monkeypatch.setattr(read.checkpoint_utils, "load_model_ensemble_and_task", lambda paths: loaded)
    monkeypatch.setattr(read.checkpoints, "facts", lambda path: Namespace(training_seconds=1.0))

    def noting(model, criterion, samples):
        orders.append([sample["id"].tolist() for sample in samples])
        return SourceGain(1.0, 1.0)

    monkeypatch.setattr(read, "source_gain", noting)
    for seed in (1, 2):
        numpy.random.seed(seed)
        read.at_the_end(tmp_path)
    assert orders[0] == orders[1]


def test_another_training_is_measured_anew(monkeypatch, tmp_path):
    (tmp_path / folder.MEASURED).write_text("{}")
    monkeypatch.setattr(train.launch, "train", lambda arguments: None)
    train.train(CELL, tmp_path, tmp_path, "cpu", None)
    assert not (tmp_path / folder.MEASURED).exists()
    trained = json.loads((tmp_path / folder.TRAINED).read_text())
    assert trained["end"] == "complete"
    assert trained["device"] == device.device_name("cpu")


def test_a_training_that_has_begun_with_another_rule_is_not_continued(monkeypatch, tmp_path):
    """Its parameters would be those of the earlier rule, and its reading would tell of the later one."""
    cell = replace(CELL, setting="hand-output")
    monkeypatch.setattr(train.launch, "train", lambda arguments: None)
    monkeypatch.setattr(train.PreparedCorpus, "load", lambda path: None)
    monkeypatch.setattr(train, "write_record", lambda cell, corpus, record: None)
    train.train(cell, tmp_path, tmp_path, "cpu", None)
    (tmp_path / folder.TRAINED).unlink()  # as an interruption may leave it
    train.train(cell, tmp_path, tmp_path, "cpu", None)
    (tmp_path / folder.TRAINED).unlink()
    row = replace(SETTINGS["hand-output"], by_hand={"fc1.weight": 0.25})
    monkeypatch.setitem(SETTINGS, "hand-output", row)
    with pytest.raises(UserError, match=rf"{tmp_path} has begun otherwise \(by_hand .*: remove it to train the cell"):
        train.train(cell, tmp_path, tmp_path, "cpu", None)
    assert not (tmp_path / folder.TRAINED).exists()


def test_an_interrupted_training_names_its_output():
    given = ["--cell", json.dumps(CELL.fields), "--corpus", "toy", "--output", "some/cell", "--device", "cpu"]
    assert train.parse_arguments(given).output == Path("some/cell").resolve()


# Losses and facts


def test_only_a_diverged_run_may_have_no_losses(tmp_path):
    assert read.losses(tmp_path, "diverged") == {"training": {}, "validation": {}}
    with pytest.raises(UserError, match="no such log"):
        read.losses(tmp_path, "complete")


def test_numbers_that_json_does_not_know_are_none():
    assert [read.finite(value) for value in (1.23456, float("nan"), float("inf"))] == [1.235, None, None]


@pytest.fixture
def save_dir(toy_corpus, tmp_path):
    """The save dir of a run of three batches per update, in the cell's directory, with its description alone."""
    directory = tmp_path / folder.SAVE_DIR
    directory.mkdir()
    corpus = PreparedCorpus.load(toy_corpus)
    further = [*CELL.options(), "--update-freq", "3"]
    options = compose("multi30k", corpus, directory, CELL.seed, further)
    (directory / "run.json").write_text(json.dumps({"data": str(toy_corpus), "options": options, "starts": []}))
    return directory


def test_the_facts_of_a_run_are_those_of_its_corpus_and_its_log(toy_corpus, save_dir):
    assert facts.facts(save_dir)["parameters"] is None
    (save_dir / "train.log").write_text("num. shared model params: 1,082,816 (num. trained: 82,816)\n")
    found = facts.facts(save_dir)
    assert found["parameters"] == 1_082_816
    assert found["tokens_per_update"] == 3 * 2048
    assert found["vocabulary"] == PreparedCorpus.load(toy_corpus).dictionary
    assert found["data_sha256"]["train.de"] == sha256(toy_corpus / "train.de")
    assert len(found["data_sha256"]) == 6
    with pytest.raises(UserError, match=r"holds no run\.json"):
        facts.facts(save_dir / "elsewhere")


def test_a_diverged_run_is_a_reading_without_the_numbers_of_a_model(monkeypatch, save_dir):
    monkeypatch.setattr(train, "outcome", lambda arguments, log: "diverged")
    train.train(CELL, save_dir, save_dir.parent, "cpu", None)
    reading = read.read(save_dir.parent)
    check(reading, "the reading of a diverged run")
    assert Cell.of(reading) == CELL
    assert reading["end"] == "diverged"
    measured = ("smoothed", "source_gain", "precision", "seconds")
    assert [reading[name] for name in measured] == [None] * len(measured)
    assert reading["device"] == device.device_name("cpu")


# GPUs


@pytest.mark.parametrize(("given", "cores"), [([], 2), (["--gpus", "8"], 8), (["--gpus", "8", "--cores", "3"], 3)])
def test_there_is_a_core_for_every_gpu(given, cores):
    chosen = parse_arguments(["corpus", *given])
    assert chosen.cores == cores
    assert chosen.side_by_side == cores


def test_a_negative_number_of_gpus_is_refused(capsys):
    with pytest.raises(SystemExit):
        parse_arguments(["corpus", "--gpus", "-1"])
    assert "-1: expected a whole number of at least 0" in capsys.readouterr().err


def test_without_a_gpu_the_message_says_so(monkeypatch):
    monkeypatch.setenv(device.VISIBLE, "")
    monkeypatch.setattr(device.torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UserError, match=r"no GPU was found: start study\.py without --gpus"), device.one_gpu():
        pass


def test_scoring_takes_one_gpu_as_training_does(monkeypatch, tmp_path):
    monkeypatch.setattr(device.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setenv(device.VISIBLE, "2,5")
    seen = []
    monkeypatch.setattr(score, "score", lambda *arguments: seen.append(os.environ[device.VISIBLE]))
    monkeypatch.setattr(train, "train", lambda *arguments: seen.append(os.environ[device.VISIBLE]))
    monkeypatch.setattr(sys, "argv", ["score", str(tmp_path), "--device", "gpu"])
    with device.place("gpu"):
        monkeypatch.setenv(device.VISIBLE, "2,5")
        score.main()
        monkeypatch.setenv(device.VISIBLE, "2,5")
        train.main(Namespace(cell=CELL.fields, corpus=tmp_path, output=tmp_path, device="gpu", tuned=None))
    assert seen == ["5", "5"]
