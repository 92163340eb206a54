"""Data-parallel training: runs are interrupted, killed, continued, evaluated and averaged."""

import json
import signal
import time

import pytest
import torch
from machine import free_port
from toy import wait_until_free

from gradinit_mt.training import checkpoints

SETTINGS = [
    *("--encoder-layers", "1", "--encoder-embed-dim", "16", "--encoder-ffn-embed-dim", "16"),
    *("--gradinit-iterations", "3", "--log-interval", "1", "--max-tokens", "200", "--save-interval-updates", "8"),
    *("--keep-interval-updates", "9", "--keep-last-epochs", "9", "--max-update", "64"),
]


LAUNCH = "gradinit_mt.training.launch"


@pytest.fixture(scope="module")
def call(forks):
    """Runs the module behind a script, and returns its output."""

    def run(module, *arguments):
        status, output = forks.run(module, *arguments)
        assert status == 0, output
        return output

    return run


@pytest.fixture(scope="module")
def whole(call, toy_corpus, tmp_path_factory):
    """An undisturbed run of two processes."""
    directory = tmp_path_factory.mktemp("two") / "whole"
    call(LAUNCH, toy_corpus, "--save-dir", directory, "--processes", "2", "--", *SETTINGS)
    return directory


def test_a_run_interrupted_twice_ends_bit_for_bit_like_an_undisturbed_one(forks, call, toy_corpus, whole, tmp_path):
    """In its first and in its second epoch."""
    directory, updates = tmp_path / "disturbed", 0
    command = (LAUNCH, toy_corpus, "--save-dir", directory, "--processes", "2", "--", *SETTINGS)
    # what the launcher gets, and what reaches the workers
    for epoch, number, sent in ((1, signal.SIGUSR1, signal.SIGTERM), (2, signal.SIGINT, signal.SIGINT)):
        launcher = forks.start(*command)
        end = time.monotonic() + 120
        while not list(directory.glob(f"checkpoint_{epoch}_*.pt")):
            assert time.monotonic() < end
            assert launcher.runs, launcher.output()
            time.sleep(0.02)
        launcher.send(number)
        status, output = launcher.ended(60)
        assert updates == 0 or f"update {updates + 1}/64: loss" in output
        before, updates = updates, checkpoints.facts(directory / "checkpoint_last.pt").updates
        assert before < updates < 64
        assert status == 128 + number, output
        assert f"interrupted by {sent.name}: saved after update {updates}" in output
    output = call(*command)
    assert f"update {updates + 1}/64: loss" in output
    assert "GradInit:" not in output
    one, other = (checkpoints.load(run / "checkpoint_last.pt") for run in (directory, whole))
    for part in ("model", "last_optimizer_state"):
        torch.testing.assert_close(one[part], other[part], rtol=0, atol=0)
    assert checkpoints.facts(directory / "checkpoint_last.pt").updates == 64


def test_two_machines_are_killed_continue_and_end_like_two_processes(forks, toy_corpus, whole, tmp_path):
    """Two launchers on the loopback address, as on two machines. SIGKILL of a launcher ends its torchrun too."""
    directory, beside = tmp_path / "machines", tmp_path / "machines.node1"

    def start():
        place = ("--nodes", "2", "--rendezvous", f"127.0.0.1:{free_port()}")
        own = (toy_corpus, "--save-dir", directory, "--device", "cpu", *place)
        return [forks.start(LAUNCH, *own, "--node", node, "--", *SETTINGS) for node in (1, 0)]

    machines = start()
    end = time.monotonic() + 120
    while not list(directory.glob("checkpoint_1_*.pt")):
        assert time.monotonic() < end
        time.sleep(0.02)
    for machine in machines:
        machine.send(signal.SIGKILL)
    for machine in machines:
        machine.ended()
    # the workers save once more when their launcher is gone
    wait_until_free(directory, end)
    wait_until_free(beside, end)
    updates = checkpoints.facts(directory / "checkpoint_last.pt").updates
    assert 0 < updates < 64
    ends = [machine.ended(180) for machine in start()]
    outputs = [output for _, output in ends]
    assert [status for status, _ in ends] == [0, 0], "\n".join(outputs)
    assert "machine 1 of 2" in outputs[0]
    assert "machine 0 of 2" in outputs[1]
    assert f"update {updates + 1}/64: loss" in outputs[1]
    assert not list(beside.glob("*.pt"))
    one, other = (checkpoints.load(run / "checkpoint_last.pt") for run in (directory, whole))
    for part in ("model", "last_optimizer_state"):
        torch.testing.assert_close(one[part], other[part], rtol=0, atol=0)


def test_its_checkpoints_can_be_averaged(call, whole):
    short = ("--beam", "2", "--", "--max-len-b", "5")
    output = call("gradinit_mt.evaluation.run", whole, "--average", "2", *short)
    assert "test: 20 sentences" in output
    assert "checkpoint_average2_epochs_2-3.pt: 60 updates, average of 2 checkpoints" in output
    for path in whole.glob("evaluation/*/scores.json"):
        assert json.loads(path.read_text())["checkpoint"]["training_seconds"] > 0
