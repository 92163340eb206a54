"""fairseq's checkpoints while they are written: whole or not at all."""

import errno
import shutil

import pytest
import torch
from fairseq import checkpoint_utils
from fairseq.file_io import PathManager
from machine import limited

from gradinit_mt.plugin.checkpoints import saving


@pytest.fixture(autouse=True)
def hooked(monkeypatch):
    """The plugin's hooks, taken out again after the test."""
    monkeypatch.setattr(checkpoint_utils, "torch_persistent_save", checkpoint_utils.torch_persistent_save)
    monkeypatch.setattr(PathManager, "copy", staticmethod(PathManager.copy))
    saving.save_whole_files()


def test_a_save_is_loaded_again(tmp_path):
    checkpoint_utils.torch_persistent_save({"a": 1}, str(tmp_path / "one.pt"))
    assert torch.load(tmp_path / "one.pt") == {"a": 1}
    PathManager.copy(str(tmp_path / "one.pt"), str(tmp_path / "two.pt"), overwrite=True)
    assert torch.load(tmp_path / "two.pt") == {"a": 1}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["one.pt", "two.pt"]


def test_a_full_disk_is_reported_at_once_and_loses_nothing(tmp_path):
    path = tmp_path / "one.pt"
    path.write_bytes(b"before")
    with limited(100_000), pytest.raises(OSError, match=r"one\.pt") as error:
        checkpoint_utils.torch_persistent_save({"a": torch.zeros(99_999)}, str(path))
    assert error.value.errno == errno.EFBIG
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_copy_that_stops_in_the_middle_leaves_the_file_that_was_there(tmp_path):
    (tmp_path / "one.pt").write_bytes(b"x" * 200_000)
    (tmp_path / "last.pt").write_bytes(b"before")
    with limited(100_000), pytest.raises(OSError, match="too large"):
        PathManager.copy(str(tmp_path / "one.pt"), str(tmp_path / "last.pt"), overwrite=True)
    assert (tmp_path / "last.pt").read_bytes() == b"before"
    assert len(list(tmp_path.iterdir())) == 2


def test_a_copy_is_not_seen_before_it_is_whole(tmp_path, monkeypatch):
    (tmp_path / "one.pt").write_bytes(b"new")
    (tmp_path / "last.pt").write_bytes(b"before")
    copy = shutil.copyfile

    def watched(source, target):
        copy(source, target)
        assert (tmp_path / "last.pt").read_bytes() == b"before"

    monkeypatch.setattr(shutil, "copyfile", watched)
    PathManager.copy(str(tmp_path / "one.pt"), str(tmp_path / "last.pt"), overwrite=True)
    assert (tmp_path / "last.pt").read_bytes() == b"new"
