"""Averaging checkpoints: the mean, the selection, and what is refused."""

import argparse
import os
from pathlib import Path

import pytest
import torch

from gradinit_mt.common.errors import UserError
from gradinit_mt.evaluation.average import average_checkpoint, average_last, average_parameters
from gradinit_mt.training import checkpoints


def checkpoint(path, value, updates=10, **entries):
    """Writes the parts of a fairseq checkpoint that matter here."""
    state = {
        "args": None,
        "cfg": {"checkpoint": {"best_checkpoint_metric": "loss"}, "model": argparse.Namespace(arch="transformer")},
        "model": {"weight": torch.full((2, 3), float(value)), "version": torch.tensor([3.0])},
        "optimizer_history": [{"num_updates": updates}],
        "extra_state": {"train_iterator": {"epoch": 1}, "val_loss": 5.5, "best": 5.5, "previous_training_time": 2.5},
        "last_optimizer_state": {"state": torch.zeros(100)},
        **entries,
    }
    torch.save(state, path)
    return path


def test_inputs_that_change_or_lack_what_is_kept_are_named(tmp_path, monkeypatch):
    paths = [checkpoint(tmp_path / f"{number}.pt", number) for number in (1, 2)]
    partial = checkpoint(tmp_path / "partial.pt", 3, extra_state={"train_iterator": {"epoch": 1}})
    with pytest.raises(UserError, match=r"partial\.pt: lacks 'previous_training_time'"):
        average_checkpoint([*paths, partial], tmp_path / "mean.pt")
    load = checkpoints.load

    def replacing(path):
        state = load(path)
        checkpoint(path, 4)
        return state

    monkeypatch.setattr(checkpoints, "load", replacing)
    with pytest.raises(UserError, match=r"1\.pt: changed while it was in use"):
        average_checkpoint(paths, tmp_path / "mean.pt")
    assert not (tmp_path / "mean.pt").exists()


def test_the_mean_is_taken_in_double_precision():
    generator = torch.Generator().manual_seed(1)
    tensors = [torch.randn(50, 7, generator=generator) * 10.0 ** (k - 3) for k in range(7)]
    mean = average_parameters([{"w": tensor} for tensor in tensors])["w"]
    expected = torch.stack([tensor.double() for tensor in tensors]).mean(0)
    assert mean.dtype == torch.float32
    assert torch.equal(mean, expected.float())


def test_the_mean_of_half_precision_is_not_rounded_to_half_precision():
    low, high = torch.tensor([1.0]).half(), torch.tensor([1.0 + 2**-10]).half()
    mean = average_parameters([{"w": low}, {"w": high}])["w"]
    assert mean.dtype == torch.float32
    assert mean.item() == 1 + 2**-11


def test_names_that_share_a_tensor_share_its_mean():
    inputs = []
    for value in (1.0, 3.0):
        tied = torch.full((4, 3), value)
        inputs.append({"embedding": tied, "output": tied, "part": tied[:2], "own": tied.clone()})
    means = average_parameters(inputs)
    assert all(mean.eq(2).all() for mean in means.values())
    assert means["embedding"] is means["output"]
    assert means["part"].shape == (2, 3)
    assert means["own"] is not means["embedding"]


def test_inputs_stay_unchanged():
    tensors = [torch.ones(3), torch.zeros(3)]
    average_parameters([{"w": tensor} for tensor in tensors])
    assert tensors[0].tolist() == [1, 1, 1] and tensors[1].tolist() == [0, 0, 0]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"w": torch.ones(2), "extra": torch.ones(1)}, "different parameters .extra"),
        ({}, "different parameters .w"),
        ({"w": torch.ones(3)}, "different shapes"),
        ({"w": torch.tensor([1, 2])}, "differs between the checkpoints and has no mean"),
    ],
)
def test_models_that_do_not_match_are_refused(other, message):
    first = torch.tensor([1, 1]) if "no mean" in message else torch.ones(2)
    with pytest.raises(UserError, match=message):
        average_parameters([{"w": first}, other])


def test_the_last_ones_are_selected_by_number_and_the_name_says_so(tmp_path):
    for epoch in (1, 2, 9, 10, 11):
        checkpoint(tmp_path / f"checkpoint{epoch}.pt", epoch, updates=100 * epoch)
    for name in ("checkpoint_best", "checkpoint_last", "checkpoint_1_5000"):
        checkpoint(tmp_path / f"{name}.pt", 1000)
    output = average_last(tmp_path, 3)
    assert output == tmp_path / "checkpoint_average3_epochs_9-11.pt"
    state = checkpoints.load(output)
    assert torch.equal(state["model"]["weight"], torch.full((2, 3), 10.0))
    assert "last_optimizer_state" not in state
    assert [Path(item["file"]).name for item in state["averaged_from"]] == [
        "checkpoint9.pt",
        "checkpoint10.pt",
        "checkpoint11.pt",
    ]
    facts = checkpoints.facts(output)
    assert (facts.updates, facts.validation_value, facts.training_seconds) == (1100, None, 2.5)


def test_without_epochs_the_checkpoints_by_update_are_selected(tmp_path):
    for epoch, update in ((1, 500), (2, 1000), (1, 900)):
        checkpoint(tmp_path / f"checkpoint_{epoch}_{update}.pt", update)
    output = average_last(tmp_path, 2)
    assert output.name == "checkpoint_average2_updates_900-1000.pt"
    assert checkpoints.load(output)["model"]["weight"][0, 0] == 950


def test_the_kind_of_checkpoints_can_be_chosen(tmp_path):
    for name, value in (("checkpoint1", 1), ("checkpoint2", 2), ("checkpoint_1_500", 5), ("checkpoint_2_900", 9)):
        checkpoint(tmp_path / f"{name}.pt", value)
    assert average_last(tmp_path, 2).name == "checkpoint_average2_epochs_1-2.pt"
    output = average_last(tmp_path, 2, "update")
    assert output.name == "checkpoint_average2_updates_500-900.pt"
    assert checkpoints.load(output)["model"]["weight"][0, 0] == 7


def test_too_few_are_an_error_that_lists_those_present(tmp_path):
    checkpoint(tmp_path / "checkpoint3.pt", 1)
    with pytest.raises(UserError, match=r"2 checkpoints by epoch wanted, 1 found \(checkpoint3.pt\)"):
        average_last(tmp_path, 2)


def test_the_same_average_is_not_made_twice_and_another_is_not_overwritten(tmp_path):
    a, b, c = (checkpoint(tmp_path / f"{name}.pt", value) for name, value in (("a", 1), ("b", 2), ("c", 3)))
    output = average_checkpoint([a, b], tmp_path / "average.pt")
    before = output.stat().st_mtime_ns, output.read_bytes()
    average_checkpoint([a, b], output)
    assert (output.stat().st_mtime_ns, output.read_bytes()) == before
    with pytest.raises(UserError, match="not the average of these files"):
        average_checkpoint([a, c], output)
    assert output.read_bytes() == before[1]


def test_two_processes_may_make_the_same_average_at_once(tmp_path, monkeypatch):
    paths = [checkpoint(tmp_path / f"{name}.pt", value) for name, value in (("a", 1), ("b", 2))]
    made, save = [], torch.save

    def overtaken(state, file):
        monkeypatch.setattr(torch, "save", save)
        average_checkpoint(paths, tmp_path / "average.pt")
        made.append((tmp_path / "average.pt").read_bytes())
        save(state, file)

    monkeypatch.setattr(torch, "save", overtaken)
    average_checkpoint(paths, tmp_path / "average.pt")
    assert [(tmp_path / "average.pt").read_bytes()] == made, "the other process does not notice"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.pt", "average.pt", "b.pt"]


class RunsCommand:
    def __reduce__(self):
        return os.system, ("touch executed",)


def test_a_checkpoint_cannot_run_code(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = checkpoint(tmp_path / "a.pt", 1, task_state=RunsCommand())
    with pytest.raises(UserError, match=r"objects of type \S*system"):
        checkpoints.load(path)
    assert not (tmp_path / "executed").exists()


def test_a_missing_checkpoint_names_those_present(tmp_path):
    checkpoint(tmp_path / "checkpoint_last.pt", 1)
    with pytest.raises(UserError, match=r"no such checkpoint.*holds checkpoint_last.pt"):
        checkpoints.load(checkpoints.choose(tmp_path, "best"))
