"""Atomic files and directories, which overwrite nothing."""

import errno
import os
import stat

import pytest

from gradinit_mt.common.errors import UserError
from gradinit_mt.common.files import atomic_write, new_directory, sha256, write_json


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_a_file_is_replaced_completely_or_not_at_all(tmp_path, error):
    path = tmp_path / "file"
    with atomic_write(path) as temporary:
        temporary.write_text("one")
        assert not path.exists()
    with pytest.raises(error), atomic_write(path) as temporary:
        temporary.write_text("two")
        raise error
    assert path.read_text() == "one"
    assert [found.name for found in tmp_path.iterdir()] == ["file"]


def test_a_file_is_on_the_disk_before_it_has_its_name_and_the_name_before_it_is_used(tmp_path, monkeypatch):
    path, synced = tmp_path / "file", []
    path.write_text("one")
    monkeypatch.setattr(os, "fsync", lambda number: synced.append((os.fstat(number).st_ino, path.read_text())))
    with atomic_write(path) as temporary:
        temporary.write_text("two")
    assert synced == [(path.stat().st_ino, "one"), (tmp_path.stat().st_ino, "two")]


def test_a_directory_that_cannot_be_synced_is_no_error_and_a_file_is(tmp_path, monkeypatch):
    """As on some network and FUSE file systems."""
    fails_for = stat.S_ISDIR

    def fsync(number):
        if fails_for(os.fstat(number).st_mode):
            raise OSError(errno.EINVAL, "Invalid argument")

    monkeypatch.setattr(os, "fsync", fsync)
    write_json(tmp_path / "file", 1)
    assert (tmp_path / "file").read_text() == "1\n"
    fails_for = stat.S_ISREG
    with pytest.raises(OSError, match="Invalid argument"):
        write_json(tmp_path / "file", 2)
    assert (tmp_path / "file").read_text() == "1\n"


def test_new_directory_appears_when_complete(tmp_path):
    with new_directory(tmp_path / "deep" / "out") as directory:
        (directory / "file").write_text("x")
        assert not (tmp_path / "deep" / "out").exists()
    assert (tmp_path / "deep" / "out" / "file").read_text() == "x"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]


@pytest.mark.parametrize(("mask", "mode"), [(0o022, 0o755), (0o077, 0o700), (0o002, 0o775)])
def test_new_directory_has_the_permissions_that_the_user_chose(tmp_path, mask, mode):
    before = os.umask(mask)
    try:
        with new_directory(tmp_path / "out"):
            pass
        assert stat.S_IMODE((tmp_path / "out").stat().st_mode) == mode
        assert os.umask(mask) == mask
    finally:
        os.umask(before)


def test_new_directory_that_another_command_makes_meanwhile_stays(tmp_path):
    message = "out: another command has made it meanwhile, .* dropped; use that, or name another output and run again"
    with pytest.raises(UserError, match=message), new_directory(tmp_path / "out"):
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "theirs").touch()
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "theirs"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
@pytest.mark.parametrize("name", ["out", "new/deep/out"])
def test_new_directory_leaves_nothing_behind(tmp_path, error, name):
    with pytest.raises(error), new_directory(tmp_path / name) as directory:
        (directory / "file").write_text("x")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_new_directory_overwrites_nothing(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(UserError, match="already exists"), new_directory(tmp_path / "out"):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "mine"]


def test_new_directory_does_not_replace_a_broken_link(tmp_path):
    (tmp_path / "out").symlink_to(tmp_path / "gone")
    message = "out: a broken symbolic link; name another output"
    with pytest.raises(UserError, match=message), new_directory(tmp_path / "out"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_json_that_cannot_be_written_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"ü": 1})
    with pytest.raises(TypeError):
        write_json(path, {"ü": object()})
    assert path.read_text(encoding="utf-8") == '{\n  "ü": 1\n}\n'


def test_sha256_of_a_known_message(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
