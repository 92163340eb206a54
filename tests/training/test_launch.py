"""Devices and processes, and the environment of the training process."""

import pytest
import torch

from gradinit_mt.common.errors import UserError
from gradinit_mt.training import launch


def test_several_processes_start_under_torchrun():
    assert "--nproc_per_node=2" in launch.command_line(["data"], 2)
    assert "torch.distributed.run" not in launch.command_line(["data"], 1)


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
