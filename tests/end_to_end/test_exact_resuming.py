"""A run that stops and is resumed equals one that does not: parameters, optimizer, order of batches, logged losses."""

import pytest
import torch
from short_runs import ADAM

from gradinit_mt.training import checkpoints, log

# The interval of the log divides neither the updates of an epoch nor those of a stop.
SETTINGS = [
    *("--task", "gradinit_translation", "--no-gradinit", *ADAM, "--dropout", "0.3", "--total-num-update", "70"),
    *("--log-interval", "3", "--update-freq", "2", "--max-tokens", "200", "--required-batch-size-multiple", "1"),
]
END = 50
# Loss scaling, an average of the model, and early stopping: a higher loss counts as better, so that none improves.
HALF = [*SETTINGS, "--fp16", "--fp16-no-flatten-grads", "--fp16-scale-window", "3"]
HALF += ["--store-ema", "--ema-fp32", "--ema-update-freq", "3"]
HALF += ["--patience", "4", "--validate-interval-updates", "2", "--maximize-best-checkpoint-metric"]
TIMED = ("wps", "ups", "train_wall", "wall")


def logged(output: str) -> dict[str, dict]:
    """What was logged within epochs, by update, without measurements of time."""
    found = filter(None, map(log.statistics, output.splitlines()))
    return {
        numbers["num_updates"]: {name: value for name, value in numbers.items() if name not in TIMED}
        for kind, numbers in found
        if kind == "train_inner"
    }


def place(state: dict) -> tuple[int, int]:
    """The epoch in which a run continues, and the batches of it that have been used."""
    iterator = state["extra_state"]["train_iterator"]
    return iterator["epoch"], iterator["iterations_in_epoch"]


@pytest.fixture(scope="module")
def whole(fairseq, tmp_path_factory):
    """An undisturbed run: its state at the end, and what it logged."""
    save_dir = tmp_path_factory.mktemp("exact") / "whole"
    output = fairseq.train(save_dir, END, *SETTINGS)
    return checkpoints.load(save_dir / "checkpoint_last.pt"), logged(output)


@pytest.mark.parametrize(
    ("updates", "further", "epoch"),
    [(31, [], 2), (END, ["--max-epoch", "1"], 2), (END, ["--max-epoch", "2"], 3)],
    ids=["in the second epoch", "after the first epoch", "after the second epoch"],
)
def test_a_resumed_run_equals_an_undisturbed_one(fairseq, whole, tmp_path, updates, further, epoch):
    state, losses = whole
    before = logged(fairseq.train(tmp_path, updates, *SETTINGS, *further))
    stopped = checkpoints.load(tmp_path / "checkpoint_last.pt")
    assert place(stopped)[0] == epoch
    assert (place(stopped)[1] == 0) == bool(further), "stopped where it was meant to"
    assert stopped["optimizer_history"][-1]["num_updates"] % 3 != 0, "while losses were being averaged"
    after = logged(fairseq.train(tmp_path, END, *SETTINGS))
    assert before | after == losses
    assert_equal(checkpoints.load(tmp_path / "checkpoint_last.pt"), state)


def assert_equal(resumed: dict, state: dict) -> None:
    """That two runs ended in the same state, apart from the time they took."""
    assert place(resumed) == place(state)
    assert resumed["optimizer_history"][-1] == state["optimizer_history"][-1]
    for part in ("model", "last_optimizer_state"):
        torch.testing.assert_close(resumed[part], state[part], rtol=0, atol=0)


def test_half_precision_an_average_and_early_stopping_are_resumed_too(fairseq, tmp_path):
    losses = logged(fairseq.train(tmp_path / "whole", END, *HALF))
    assert int(max(losses, key=int)) == 9, "the validations after updates 4, 6, 8 and 10 have not improved"
    assert len({found["loss_scale"] for found in losses.values()}) > 1
    before = logged(fairseq.train(tmp_path / "run", 4, *HALF))
    after = logged(fairseq.train(tmp_path / "run", END, *HALF))
    assert before | after == losses
    state, resumed = (checkpoints.load(tmp_path / name / "checkpoint_last.pt") for name in ("whole", "run"))
    assert_equal(resumed, state)
    for part in ("ema", "ema_fp32_params", "gradinit_mt"):
        torch.testing.assert_close(resumed["extra_state"][part], state["extra_state"][part], rtol=0, atol=0)
    output = fairseq.train(tmp_path / "run", END, *HALF)
    assert "this run is complete by its --patience: a larger one continues it" in output
    assert not logged(output)


def test_a_kill_within_the_first_save_loses_none_of_it(fairseq, whole, tmp_path):
    """checkpoint_last.pt is the last file of a save."""
    fairseq.train(tmp_path, 25, *SETTINGS, "--save-interval-updates", "25", "--disable-validation")
    (tmp_path / "checkpoint_last.pt").unlink()
    output = fairseq.train(tmp_path, END, *SETTINGS)
    assert "resuming from checkpoint_2_25.pt (update 25)" in output
    assert_equal(checkpoints.load(tmp_path / "checkpoint_last.pt"), whole[0])


def test_a_damaged_checkpoint_is_set_aside_and_the_one_before_it_used(fairseq, whole, tmp_path):
    """A flipped bit among the parameters, which PyTorch would load."""
    state, losses = whole
    fairseq.train(tmp_path, 31, *SETTINGS, "--save-interval-updates", "25", "--disable-validation")
    last = tmp_path / "checkpoint_last.pt"
    damaged = bytearray(last.read_bytes())
    damaged[len(damaged) // 2] ^= 1
    last.write_bytes(damaged)
    output = fairseq.train(tmp_path, END, *SETTINGS)
    assert "checkpoint_last.pt is damaged: set aside as checkpoint_last.broken" in output
    assert "resuming from checkpoint_2_25.pt (update 25)" in output
    assert logged(output) == {update: found for update, found in losses.items() if int(update) > 25}
    assert (tmp_path / "checkpoint_last.broken").read_bytes() == damaged
    torch.testing.assert_close(checkpoints.load(last)["model"], state["model"], rtol=0, atol=0)
