"""scripts/evaluate.sh on a toy language."""

import json
import re
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from toy import TEST_SENTENCES, call

from gradinit_mt.common.errors import UserError
from gradinit_mt.evaluation import run
from gradinit_mt.training import checkpoints


def evaluate_here(save_dir, *arguments) -> Path:
    """Evaluates in this process, which saves seconds of imports."""
    return run.evaluate(run.parse_arguments([str(argument) for argument in (save_dir, "--cpu", *arguments)]))


@pytest.fixture
def printed(monkeypatch, capsys):
    """Runs the command in this process, and returns what it prints on stdout and on stderr."""

    def command(*arguments):
        monkeypatch.setattr(sys, "argv", ["evaluate.sh", *map(str, arguments)])
        run.main()
        return capsys.readouterr()

    return command


@pytest.fixture(scope="module")
def evaluated(root, toy, tmp_path_factory):
    """The default evaluation of the run, by the script from another directory."""
    variables = {"GRADINIT_MT_PYTHON": sys.executable}
    done = call(root / "scripts/evaluate.sh", toy.run, "--cpu", cwd=tmp_path_factory.mktemp("elsewhere"), env=variables)
    assert done.returncode == 0, done.stderr
    directory = toy.run / "evaluation" / "test-checkpoint_best-beam5-lenpen1.0"
    scores = json.loads((directory / "scores.json").read_text())
    return SimpleNamespace(directory=directory, scores=scores, printed=done.stdout)


def test_every_sentence_is_translated_in_order(toy, evaluated):
    hypotheses = (evaluated.directory / "hypotheses.detok.txt").read_text(encoding="utf-8").splitlines()
    sources = (toy.corpus / "raw" / "test.de").read_text(encoding="utf-8").splitlines()
    assert len(hypotheses) == len(sources) == TEST_SENTENCES
    # the model has at least learned which sentences end in "ja"
    assert [line.endswith(", yes.") for line in hypotheses] == [line.endswith(", ja.") for line in sources]


def test_the_detokenized_score_equals_that_of_fairseq(root, forks, toy):
    """Of a checkpoint that still makes mistakes."""
    checkpoint = toy.run / "checkpoint5.pt"
    status, output = forks.run(
        *("fairseq_cli.generate", toy.corpus / "bin", "--user-dir", root / "gradinit_mt"),
        *("--path", checkpoint, "--beam", "5", "--post-process", "sentencepiece", "--cpu"),
        *("--scoring", "sacrebleu", "--required-batch-size-multiple", "1"),
    )
    assert status == 0, output[-2000:]
    [reported] = re.findall(r"BLEU = ([\d.]+)", output)
    directory = evaluate_here(toy.run, "--checkpoint", str(checkpoint), "--", "--precision", "float32")
    scores = json.loads((directory / "scores.json").read_text())
    assert scores["precision"] == "float32"
    value = scores["scores"]["detokenized_bleu"]["value"]
    assert 20 < value < 99
    assert value == pytest.approx(float(reported), abs=0.006)


def test_the_result_records_its_checkpoint_data_and_settings(toy, evaluated):
    scores = evaluated.scores
    assert scores["checkpoint"]["file"] == str(toy.run / "checkpoint_best.pt")
    assert scores["checkpoint"]["updates"] > 0 and scores["checkpoint"]["training_seconds"] > 0
    assert scores["checkpoint"]["validation_metric"] == "loss" and scores["checkpoint"]["validation_value"] > 0
    known = json.loads((toy.corpus / "corpus.json").read_text())["sha256"]
    assert scores["settings"]["data_sha256"] == {name: known[name] for name in ("test.de", "test.en", "raw/test.en")}
    assert (scores["settings"]["beam"], scores["settings"]["lenpen"], scores["settings"]["split"]) == (5, 1.0, "test")
    assert evaluated.printed.startswith((evaluated.directory / "scores.txt").read_text())
    assert "tok:none" in evaluated.printed and "tok:13a" in evaluated.printed and "nc:6" in evaluated.printed


def test_the_validation_loss_is_said_to_have_the_label_smoothing_of_the_criterion(evaluated):
    facts = evaluated.scores["checkpoint"]
    assert facts["label_smoothing"] == 0, "fairseq's default"
    assert "label smoothing" not in evaluated.printed
    smoothed = evaluated.scores | {"checkpoint": facts | {"label_smoothing": 0.1}}
    assert f"{facts['validation_value']} bits (as trained: with label smoothing)\n" in run.described(smoothed)


def test_the_label_smoothing_is_that_of_the_checkpoint(toy, tmp_path):
    state = torch.load(toy.run / "checkpoint5.pt", weights_only=False)
    state["cfg"]["criterion"] = {"_name": "label_smoothed_cross_entropy", "label_smoothing": 0.2}
    torch.save(state, tmp_path / "smoothed.pt")
    assert checkpoints.facts(tmp_path / "smoothed.pt").label_smoothing == 0.2


def test_a_checkpoint_that_is_replaced_while_it_is_read_counts_as_changed(toy, tmp_path, monkeypatch):
    """As by a training that has a better one: its checksum would belong to other facts."""
    path = tmp_path / "checkpoint_best.pt"
    shutil.copyfile(toy.run / "checkpoint5.pt", path)
    load = checkpoints.load

    def replacing(*arguments):
        state = load(*arguments)
        shutil.copyfile(toy.run / "checkpoint_last.pt", path)
        return state

    monkeypatch.setattr(checkpoints, "load", replacing)
    facts = checkpoints.facts(path)
    with pytest.raises(UserError, match="changed while it was in use"):
        checkpoints.require_unchanged(facts.file, facts.sha256)


def test_a_result_is_made_once_and_never_overwritten(toy, printed, evaluated):
    before = {path.name: path.stat().st_mtime_ns for path in evaluated.directory.iterdir()}
    again = printed(toy.run, "--cpu")
    assert again.out == evaluated.printed
    assert f"with this checkpoint and these settings, made on {evaluated.scores['device']}" in again.err
    with pytest.raises(UserError, match="beam 5 there, 2 here"):
        evaluate_here(toy.run, "--beam", "2", "--output", evaluated.directory)
    assert {path.name: path.stat().st_mtime_ns for path in evaluated.directory.iterdir()} == before


def test_a_result_of_other_batches_or_of_another_device_is_not_the_one_asked_for(toy, evaluated, tmp_path):
    directory, result = tmp_path / "result", evaluated.scores
    shutil.copytree(evaluated.directory, directory)
    with pytest.raises(UserError, match=r"with other settings \(max_tokens 8000 there, 100 here\); name another"):
        evaluate_here(toy.run, "--output", directory, "--max-tokens", "100")
    (directory / "scores.json").write_text(json.dumps(result | {"device": "NVIDIA H100"}))
    with pytest.raises(UserError, match=r"a result with other settings \(device NVIDIA H100 there, CPU here\); name"):
        evaluate_here(toy.run, "--output", directory)
    options = run.parse_arguments([str(toy.run), "--output", str(directory)])
    assert run.evaluate(options) == directory, "without --cpu any device will do"
    (directory / "scores.json").write_text(json.dumps(result | {"max_tokens": 100}))
    assert evaluate_here(toy.run, "--output", directory) == directory, "without --max-tokens any batches will do"
    unnoted = {name: value for name, value in result.items() if name not in ("device", "max_tokens")}
    (directory / "scores.json").write_text(json.dumps(unnoted))
    assert evaluate_here(toy.run, "--output", directory, "--max-tokens", "100") == directory


def test_an_average_on_the_validation_set_with_further_options(toy):
    directory = evaluate_here(toy.run, "--average", "2", "--split", "valid", "--beam", "2", "--", "--nbest", "2")
    assert directory == toy.run / "evaluation" / "valid-checkpoint_average2_epochs_7-8-beam2-lenpen1.0"
    scores = json.loads((directory / "scores.json").read_text())
    averaged = [Path(item["file"]).name for item in scores["checkpoint"]["averaged_from"]]
    assert averaged == ["checkpoint7.pt", "checkpoint8.pt"]
    assert scores["settings"]["further_options"] == ["--nbest", "2"]
    assert scores["scores"]["sentences"] == 30


def test_a_failed_translation_leaves_nothing(toy, tmp_path):
    with pytest.raises(UserError, match=r"(?s)fairseq-generate ended with status 2.*no-such-option"):
        evaluate_here(toy.run, "--output", tmp_path / "result", "--", "--no-such-option")
    assert list(tmp_path.iterdir()) == []


def test_a_paired_test_against_another_result(toy, printed, evaluated, tmp_path):
    other = tmp_path / "other"
    shutil.copytree(evaluated.directory, other)
    for name in ("hypotheses.tok.lc.txt", "hypotheses.detok.txt"):
        text = (other / name).read_text(encoding="utf-8")
        (other / name).write_text(re.sub("dog|cat|house", "tree", text), encoding="utf-8")
    shown = printed(toy.run, "--cpu", "--paired-with", other).out
    (noted,) = evaluated.directory.glob("paired-*.json")
    test = json.loads(noted.read_text())["scores"]["detokenized_bleu"]
    assert test["system"] == pytest.approx(evaluated.scores["scores"]["detokenized_bleu"]["value"])
    assert test["p"] < 0.01 and f"p = {test['p']:.3f}" in shown


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--checkpoint", "none.pt"), "none.pt: no such checkpoint"),
        (("--data", "."), "not a prepared corpus"),
        (("--output", "new", "--", "--remove-bpe"), "--remove-bpe: set by this command"),
        (("--output", "new", "--", "--gen-sub", "train"), "--gen-sub: set by this command"),
        (("--average", "9"), "9 checkpoints by epoch wanted, 4 found"),
        (("--output", "new", "--", "-sen"), "-sen: set by this command"),
        (("--output", "new", "--", "-t", "de"), "-t: set by this command"),
        (("--output", "new", "--", "--checkpoint-suf=_x"), "--checkpoint-suf=_x: set by this command"),
        (("--output", "new", "--", "--checkpoint-shard-count", "2"), "--checkpoint-shard-count: set by this command"),
        (
            ("--output", "new", "--max-tokens", "9"),
            r"test\.de, line \d+: \d+ subwords .* at most 9; give --max-",
        ),
        (("--output", "new", "--", "--score-ref"), "--score-ref: would score the reference against itself"),
        (("--output", "new", "--", "--prefix-size=2"), "--prefix-size=2: would score the reference against itself"),
    ],
)
def test_bad_arguments_are_refused_before_translation(toy, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=message):
        evaluate_here(toy.run, *arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_sentence_longer_than_the_model_takes_is_named(toy, tmp_path):
    state = checkpoints.load(toy.run / "checkpoint_best.pt")
    state["cfg"]["task"]["max_source_positions"] = 12
    torch.save(state, tmp_path / "short.pt")
    with pytest.raises(UserError, match=r"test.de, line \d+: \d+ subwords with its end, expected at most 12; train"):
        evaluate_here(toy.run, "--checkpoint", tmp_path / "short.pt", "--output", tmp_path / "result")
    assert not (tmp_path / "result").exists()
