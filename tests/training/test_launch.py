"""Devices and processes, and the environment of the training process."""

import pytest
import torch

from gradinit_mt.common.errors import UserError
from gradinit_mt.training import launch


def test_several_processes_start_under_torchrun():
    assert "--nproc_per_node=2" in launch.command_line(["data"], 2)
    assert "torch.distributed.run" not in launch.command_line(["data"], 1)


def test_machines_meet_at_machine_0():
    line = launch.command_line(["data"], 1, nodes=2, node=1, rendezvous="host:29500")
    expected = ["--nproc_per_node=1", "--nnodes=2", "--node_rank=1", "--master_addr=host", "--master_port=29500"]
    assert [part for part in line if part in expected] == expected
    assert "--standalone" not in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--nodes", "2"], "--rendezvous None: expected HOST:PORT, the same on all machines"),
        (["--nodes", "2", "--rendezvous", "host"], "--rendezvous host: expected HOST:PORT"),
        (["--node", "1"], "--node 1: expected from 0 to 0, below --nodes"),
    ],
)
def test_machines_without_an_address_or_an_index_are_refused(capsys, arguments, message):
    with pytest.raises(SystemExit):
        launch.parse_arguments(["data", *arguments])
    assert message in capsys.readouterr().err


@pytest.mark.parametrize(
    ("present", "device", "processes", "expected"),
    [
        (0, "auto", None, (0, 1)),
        (0, "auto", 2, (0, 2)),
        (4, "auto", None, (4, 4)),
        (4, "gpu", 2, (2, 2)),
        (4, "cpu", None, (0, 1)),
    ],
)
def test_devices(monkeypatch, present, device, processes, expected):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: present)
    assert launch.devices(device, processes) == expected


def test_more_gpus_than_there_are_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(UserError, match="3 GPUs requested, this machine has 1"):
        launch.devices("gpu", 3)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UserError, match="no GPU found; use --device cpu"):
        launch.devices("gpu", None)


def test_on_a_cpu_memory_is_kept_unless_the_user_decided_otherwise(monkeypatch):
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    assert "mmap_max=0" in launch.environment(gpus=0, processes=1)["GLIBC_TUNABLES"]
    assert "GLIBC_TUNABLES" not in launch.environment(gpus=1, processes=1)
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=1")
    assert launch.environment(gpus=0, processes=1)["GLIBC_TUNABLES"] == "glibc.malloc.check=1"
