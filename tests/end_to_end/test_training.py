"""Training with the stock fairseq-train: what GradInit leaves in the save dir, and that it runs once."""

import json
import re
import shutil
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from short_runs import ADAM, GRADINIT, last_model, losses, same_model, short_run

from gradinit_mt.record.record import Record


def test_gradinit_runs_before_the_first_update_and_leaves_its_record(trained):
    log = (trained.parent / "log").read_text()
    assert log.index("GradInit: 6 iterations in") < log.index("train_inner")
    assert [update for update, _ in losses(log)] == [str(update) for update in range(1, 9)]
    record = Record.load(trained)
    assert record.complete
    assert len(record.state.trajectory) == len(record.state.history) == 6
    assert record.settings["step"] == "adam"
    assert record.settings["eta"] == pytest.approx(1e-3)
    assert (record.settings["look_ahead"], record.settings["step_betas"]) == (8, [0.9, 0.98])
    summary = json.loads((trained / "gradinit.json").read_text())
    assert [block["scale"] for block in summary["blocks"]] == record.state.scales.tolist()
    assert summary["history"] == record.state.history
    assert summary["seconds"] > 0
    assert all(not torch.equal(*scales) for scales in pairwise(record.state.trajectory))
    moved = record.state.trajectory[-1] - record.state.trajectory[0]
    assert 1e-3 < moved.abs().max() <= 5 * record.settings["tau"]


def test_the_published_form_is_one_option(fairseq, tmp_path):
    log = fairseq.train(tmp_path / "run", 2, *GRADINIT, *ADAM, "--gradinit-form", "paper")
    assert "GradInit: 6 iterations in" in log
    record = Record.load(tmp_path / "run")
    found = [record.settings[name] for name in ("look_ahead", "eta", "gamma", "signal_weight", "update")]
    assert found == [1, pytest.approx(2e-3), pytest.approx(500), 0, "adam"]
    scales = zip(record.state.scales.tolist(), record.blocks, strict=True)
    changes = sorted(abs(scale - 1) for scale, block in scales if block["learnable"])
    assert changes[len(changes) // 2] > record.settings["tau"], "six steps of about tau each"


def test_the_signal_and_the_held_softmax_reach_the_look_ahead(fairseq, trained, tmp_path):
    """Each changes what the first iteration computes after the look-ahead, and nothing before it."""
    first = Record.load(trained).state.history[0]
    without = fairseq.train(tmp_path / "without", 1, *GRADINIT, *ADAM, "--gradinit-signal-weight", "0")
    assert "GradInit: 6 iterations in" in without
    fairseq.train(tmp_path / "held", 1, *GRADINIT, *ADAM, "--gradinit-hold-softmax")
    plain, held = (Record.load(tmp_path / name).state.history[0] for name in ("without", "held"))
    assert plain["loss"] == held["loss"] == first["loss"]
    # the form's bound makes the embedding so small here that states differ more after the layers than before them
    assert first["ahead"] < plain["ahead"] - 0.01, "the signal that the layers gained is subtracted"
    assert abs(held["ahead"] - first["ahead"]) > 1e-4


STOCK_MODEL = [
    *("--arch", "transformer", "--decoder-layers", "2", "--decoder-embed-dim", "32"),
    *("--decoder-ffn-embed-dim", "64", "--decoder-attention-heads", "2"),
]


@pytest.fixture(scope="module")
def stock(fairseq, tmp_path_factory):
    """The save dir and the output of a run with fairseq's own task and model, without dropout."""
    save_dir = tmp_path_factory.mktemp("stock")
    return save_dir, fairseq.train(save_dir, 4, "--task", "translation", *STOCK_MODEL, "--dropout", "0", *ADAM)


def test_without_gradinit_the_task_equals_fairseqs_own_to_the_bit(fairseq, stock, tmp_path):
    task = ["--task", "gradinit_translation", "--no-gradinit"]
    ours = fairseq.train(tmp_path, 4, *task, *STOCK_MODEL, "--dropout", "0", *ADAM)
    assert losses(ours) == losses(stock[1])
    assert same_model(tmp_path, stock[0])
    assert not (tmp_path / "gradinit.json").exists()


def test_the_whole_fast_path_trains_as_fairseqs_own_parts_do(fairseq, stock, tmp_path):
    """Model, criterion, precision and optimizer; the optimizers differ in their epsilon, here too small to matter."""
    task = ["--task", "gradinit_translation", "--no-gradinit", "--precision", "float32", "--dropout", "0"]
    fast = ["--criterion", "projected_label_smoothed_cross_entropy", "--optimizer", "torch_adamw"]
    ours = fairseq.train(tmp_path, 4, *task, *ADAM, "--adam-eps", "1e-12", *fast)
    for (_, mine), (_, theirs) in zip(losses(ours), losses(stock[1]), strict=True):
        assert float(mine) == pytest.approx(float(theirs), abs=0.002)


def test_a_resumed_run_does_not_initialize_again_and_ends_as_if_it_had_not_stopped(fairseq, trained, tmp_path):
    schedule = ["--total-num-update", "8"]
    fairseq.train(tmp_path / "run", 3, *GRADINIT, *ADAM, *schedule)
    first = (tmp_path / "run/gradinit.json").read_bytes()
    output = fairseq.train(tmp_path / "run", 8, *GRADINIT, *ADAM, *schedule)
    assert "Loaded checkpoint" in output
    assert "GradInit:" not in output
    assert (tmp_path / "run/gradinit.json").read_bytes() == first
    assert same_model(tmp_path / "run", trained)


def test_complete_scales_are_used_again_before_the_first_checkpoint(fairseq, trained, record_only):
    """A run killed between GradInit and its first checkpoint starts from the scales it had learned.

    It is killed while it writes their summary, which is then written again.
    """
    (record_only / ".gradinit.json.tmp").write_text("{")
    output = fairseq.train(record_only, 8, *GRADINIT, *ADAM)
    assert "GradInit: found complete" in output
    assert (record_only / "gradinit.json").read_bytes() == (trained / "gradinit.json").read_bytes()
    assert not list(record_only.glob(".*.tmp"))
    assert same_model(record_only, trained)


def test_scales_of_other_settings_in_the_save_dir_are_refused_and_kept(fairseq, trained, record_only):
    output = fairseq.train(record_only, 8, *GRADINIT, *ADAM, "--gradinit-tau", "0.5", fails=True)
    assert "belongs to another run (tau 0.02 there, 0.5 here): use another --save-dir" in output
    output = fairseq.train(record_only, 8, *GRADINIT, *ADAM, "--dropout", "0.2", "--seed", "8", fails=True)
    assert "seed 7 there, 8 here; other initial parameters" in output
    kept = (record_only / "gradinit.safetensors").read_bytes()
    assert kept == (trained / "gradinit.safetensors").read_bytes()
    assert not list(record_only.glob("*.pt"))


def test_scales_of_another_run_are_taken_instead_of_learned(fairseq, trained, tmp_path):
    """With the same seed, theta0 and scales, the run ends like the one that learned them."""
    output = fairseq.train(tmp_path / "run", 8, *GRADINIT, *ADAM, "--gradinit-from", trained)
    assert f"scales taken from {trained}" in output
    assert "GradInit: 1/" not in output
    assert same_model(tmp_path / "run", trained)
    assert Record.load(tmp_path / "run").settings["from"] == str(trained)


def test_a_run_with_given_scales_resumes_and_its_checkpoint_is_loaded_without_them(fairseq, trained, tmp_path):
    (tmp_path / "given").mkdir()
    given = shutil.copy(trained / "gradinit.safetensors", tmp_path / "given")
    settings = [*GRADINIT, *ADAM, "--total-num-update", "8", "--gradinit-from", tmp_path / "given"]
    fairseq.train(tmp_path / "run", 3, *settings)
    Path(given).unlink()
    assert "GradInit:" not in fairseq.train(tmp_path / "run", 8, *settings)
    assert same_model(tmp_path / "run", trained)
    output = fairseq.run("generate", "--path", tmp_path / "run/checkpoint_last.pt", "--cpu", "--max-len-b", "10")
    assert "H-0" in output


def test_scales_of_another_model_are_refused(fairseq, trained, tmp_path):
    changed = ["--gradinit-from", trained / "gradinit.safetensors", "--encoder-ffn-embed-dim", "24"]
    output = fairseq.train(tmp_path / "run", 8, *GRADINIT, *ADAM, *changed, fails=True)
    assert re.search(
        r"belong to another model \(encoder.layers.0.fc1.weight \[\d+, \d+\] there, \[24, \d+\] here", output
    )
    output = fairseq.train(tmp_path / "run", 8, *GRADINIT, *ADAM, "--gradinit-from", tmp_path / "none", fails=True)
    assert "--gradinit-from" in output
    assert "no such file" in output
    exclusive = ["--no-gradinit", "--gradinit-from", trained]
    output = fairseq.train(tmp_path / "run", 8, *GRADINIT, *ADAM, *exclusive, fails=True)
    assert "exclude each other" in output
    assert not list(tmp_path.rglob("*.pt"))


def test_incomplete_scales_are_refused(fairseq, trained, tmp_path):
    found = Record.load(trained)
    replace(found, settings=found.settings | {"iterations": 999}).save(tmp_path / "partial")
    output = fairseq.train(tmp_path / "run", 1, *GRADINIT, *ADAM, "--gradinit-from", tmp_path / "partial", fails=True)
    assert re.search(r"holds \d+ of 999 iterations", output)


@pytest.mark.parametrize("optimizer", [["sgd", "--momentum", "0.9"], ["nag", "--momentum", "0.9"]], ids=["sgd", "nag"])
def test_sgd_trains_and_its_checkpoint_is_loaded_again(fairseq, tmp_path, optimizer):
    settings = [*GRADINIT, "--optimizer", *optimizer, "--lr", "0.1", "--total-num-update", "4"]
    fairseq.train(tmp_path / "run", 2, *settings)
    record = Record.load(tmp_path / "run")
    assert record.settings["step"] == "sgd"
    assert (record.settings["eta"], record.settings["step_momentum"]) == (0.1, 0.9)
    output = fairseq.train(tmp_path / "run", 4, *settings)
    assert [update for update, _ in losses(output)] == ["3", "4"]


def test_an_adaptive_softmax_is_trained_after_gradinit(fairseq, tmp_path):
    """Its criterion returns the loss as a tensor with a dimension."""
    sizes = ("--encoder-layers", "1", "--decoder-layers", "1", "--encoder-embed-dim", "16")
    sizes = (*sizes, "--encoder-ffn-embed-dim", "16", "--encoder-attention-heads", "2")
    softmax = ("--criterion", "adaptive_loss", "--adaptive-softmax-cutoff", "100,200", "--ddp-backend", "legacy_ddp")
    run = ("--max-tokens", "400", "--max-update", "1", "--save-dir", tmp_path, "--lr-scheduler", "linear", "--cpu")
    log = fairseq.run("train", "--arch", "transformer", *sizes, *softmax, *run, "--no-save", *GRADINIT, *ADAM)
    assert "GradInit: 6 iterations in" in log
    assert "done training" in log


def test_parameters_from_a_checkpoint_are_not_initialized(fairseq, trained, tmp_path):
    output = fairseq.train(
        tmp_path / "tuned", 1, *GRADINIT, *ADAM, "--finetune-from-model", trained / "checkpoint_last.pt"
    )
    assert "GradInit: skipped, the parameters come from the checkpoint" in output
    assert not (tmp_path / "tuned/gradinit.json").exists()


on_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")


@pytest.mark.parametrize(
    "options",
    [
        ["--cpu", "--fp16", "--fp16-no-flatten-grads"],
        ["--cpu", "--fp16", "--memory-efficient-fp16"],
        pytest.param(["--fp16"], marks=on_gpu),
        pytest.param(["--bf16"], marks=on_gpu),
    ],
    ids=" ".join,
)
def test_half_precision_training_learns_its_scales_in_float32(fairseq, trained, tmp_path, options):
    """The scales equal those of the float32 run up to the rounding of the initial parameters."""
    arguments = [word for word in short_run(tmp_path / "run", 2) if word != "--cpu"]
    fairseq.run("train", *arguments, *GRADINIT, *ADAM, *options)
    ours, theirs = Record.load(tmp_path / "run"), Record.load(trained)
    assert torch.allclose(ours.state.scales, theirs.state.scales, atol=2e-3)
    # fairseq saves parameters in float32, but those trained in half precision are exact in it
    half = torch.bfloat16 if "--bf16" in options else torch.float16
    weight = last_model(tmp_path / "run")["encoder.layers.0.fc1.weight"]
    assert torch.equal(weight, weight.to(half).float())
