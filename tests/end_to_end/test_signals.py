"""Signals to fairseq-train: it finishes what it is doing, saves, leaves with 128 + the signal, and resumes exactly."""

import re
import signal
import time

import pytest
import torch
from short_runs import ADAM, GRADINIT, kill_during_gradinit, same_model, short_run

from gradinit_mt.record.record import Record
from gradinit_mt.training import checkpoints

UPDATES = 60
SETTINGS = [
    *("--task", "gradinit_translation", "--no-gradinit", *ADAM, "--dropout", "0.3"),
    *("--save-interval-updates", "7", "--keep-interval-updates", "1"),
]


@pytest.fixture
def interrupted(fairseq):
    """Starts a run, sends it a signal as soon as a condition holds for its output, and returns status and output."""

    def run(number, save_dir, updates, *settings, when):
        command = fairseq.start("train", *short_run(save_dir, updates), *settings)
        end = time.monotonic() + 120
        while not when(command.output()):
            assert command.runs, command.output()[-3000:]
            assert time.monotonic() < end
            time.sleep(0.002)
        command.send(number, number)  # as from a terminal and from torchrun
        return command.ended()

    return run


@pytest.fixture(scope="module")
def whole(fairseq, tmp_path_factory):
    """The save dir of an undisturbed run."""
    save_dir = tmp_path_factory.mktemp("signals") / "whole"
    fairseq.train(save_dir, UPDATES, *SETTINGS)
    return save_dir


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (signal.SIGTERM, '"num_updates": "24"'),
        (signal.SIGINT, "begin validation on"),
        (signal.SIGUSR1, "Saving checkpoint to"),
    ],
    ids=["SIGTERM between updates", "SIGINT in validation", "SIGUSR1 while saving"],
)
def test_training_saves_leaves_with_a_status_and_resumes_exactly(fairseq, interrupted, whole, tmp_path, number, text):
    save_dir = tmp_path / "run"
    status, output = interrupted(number, save_dir, UPDATES, *SETTINGS, when=lambda printed: text in printed)
    assert status == 128 + number, output[-3000:]
    said = re.search(rf"interrupted by {number.name}: saved after update (\d+)", output)
    assert said
    last = save_dir / "checkpoint_last.pt"
    assert checkpoints.facts(last).updates == int(said[1])
    assert "Traceback" not in output
    assert not list(save_dir.glob("*.tmp"))
    fairseq.train(save_dir, UPDATES, *SETTINGS)
    assert same_model(save_dir, whole)
    one, other = (checkpoints.load(run / "checkpoint_last.pt")["last_optimizer_state"] for run in (save_dir, whole))
    torch.testing.assert_close(one, other, rtol=0, atol=0)
    assert sorted(path.name for path in save_dir.iterdir()) == sorted(path.name for path in whole.iterdir())


LEARNING = [*GRADINIT, "--gradinit-iterations", "40", "--gradinit-look-ahead", "2", *ADAM]


@pytest.fixture(scope="module")
def learned(fairseq, tmp_path_factory):
    """The save dir of a run whose GradInit was not disturbed."""
    save_dir = tmp_path_factory.mktemp("signals") / "learned"
    fairseq.train(save_dir, 1, *LEARNING)
    return save_dir


def test_gradinit_saves_its_iteration_and_resumes_exactly(fairseq, interrupted, learned, tmp_path):
    record = tmp_path / "run" / "gradinit.safetensors"
    status, output = interrupted(signal.SIGTERM, tmp_path / "run", 1, *LEARNING, when=lambda _: record.exists())
    assert status == 128 + signal.SIGTERM, output[-3000:]
    said = re.search(r"interrupted by SIGTERM: saved after iteration (\d+) of GradInit", output)
    assert said
    assert Record.load(tmp_path / "run").state.iteration == int(said[1]) < 40
    assert sorted(path.suffix for path in (tmp_path / "run").iterdir()) == [".json", ".safetensors"]
    fairseq.train(tmp_path / "run", 1, *LEARNING)
    assert Record.load(tmp_path / "run").state.history == Record.load(learned).state.history
    assert same_model(tmp_path / "run", learned)


def test_gradinit_resumes_from_its_record_after_a_kill(fairseq, learned, tmp_path):
    kill_during_gradinit(fairseq, tmp_path, *LEARNING)
    fairseq.train(tmp_path, 1, *LEARNING)
    one, other = Record.load(tmp_path).state, Record.load(learned).state
    assert torch.equal(one.scales, other.scales)
    assert one.history == other.history
