"""Two launchers on the loopback address, as on two machines: they train together, are killed and continue."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from machine import free_port
from toy import wait_until_free

from gradinit_mt.core import State
from gradinit_mt.record.record import Record
from gradinit_mt.training import checkpoints

SETTINGS = [
    *("--encoder-layers", "1", "--encoder-embed-dim", "16", "--encoder-ffn-embed-dim", "16", "--log-interval", "1"),
    *("--gradinit-iterations", "3", "--max-tokens", "200", "--save-interval-updates", "8", "--max-update", "40"),
]


@pytest.fixture
def start(root, toy_corpus):
    """Starts the launcher of a machine."""
    environment = os.environ | {"GRADINIT_MT_PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}

    def on_machine(node, port, directory):
        place = ("--nodes", "2", "--node", str(node), "--rendezvous", f"127.0.0.1:{port}")
        return subprocess.Popen(
            [
                root / "scripts/train.sh",
                toy_corpus,
                "--save-dir",
                directory,
                "--device",
                "cpu",
                *place,
                "--",
                *SETTINGS,
            ],
            env=environment,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )

    return on_machine


def finished(machines) -> list[str]:
    outputs = [machine.communicate(timeout=180)[0] for machine in machines]
    assert [machine.returncode for machine in machines] == [0, 0], "\n".join(outputs)
    return outputs


def test_two_machines_train_are_killed_and_continue(start, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    port = free_port()
    outputs = finished([start(node, port, whole) for node in (1, 0)])
    assert "machine 0 of 2" in outputs[1]
    assert "machine 1 of 2" in outputs[0]
    assert not list((tmp_path / "whole.node1").glob("*.pt"))
    assert isinstance(Record.load(whole).state, State)

    port = free_port()
    machines = [start(node, port, killed) for node in (0, 1)]
    deadline = time.monotonic() + 120
    while not list(killed.glob("checkpoint_1_*.pt")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    for machine in machines:
        machine.send_signal(signal.SIGKILL)
    for machine in machines:
        machine.communicate()
    # the workers save once more when their launcher is gone
    wait_until_free(killed, deadline)
    wait_until_free(tmp_path / "killed.node1", deadline)
    updates = checkpoints.facts(killed / "checkpoint_last.pt").updates
    assert 0 < updates < 40
    port = free_port()
    outputs = finished([start(node, port, killed) for node in (0, 1)])
    assert f"update {updates + 1}/40: loss" in outputs[0]
    one, other = (checkpoints.load(run / "checkpoint_last.pt")["model"] for run in (killed, whole))
    assert all(torch.equal(value, other[name]) for name, value in one.items())
