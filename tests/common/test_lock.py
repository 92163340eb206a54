"""The lock of a directory."""

import errno
import os
import subprocess
import sys

import pytest

from gradinit_mt.common import lock
from gradinit_mt.common.errors import UserError


def test_where_there_are_no_locks_a_program_starts_and_the_user_is_told(tmp_path, monkeypatch, capsys):
    """As on Lustre that is mounted without flock."""

    def flock(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(lock.fcntl, "flock", flock)
    with lock.locked(tmp_path, "in use") as descriptor:
        assert os.fstat(descriptor)
    shown = capsys.readouterr().err
    assert shown.startswith(f"warning: the file system of {tmp_path} has no locks (Function not implemented)")


def test_an_error_inside_is_not_mistaken_for_a_lock(tmp_path):
    with pytest.raises(BlockingIOError), lock.locked(tmp_path, "in use"):
        raise BlockingIOError


def test_it_lasts_as_long_as_the_process_that_inherited_it(tmp_path):
    with lock.locked(tmp_path, "in use") as descriptor:
        child = subprocess.Popen(
            [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[descriptor], start_new_session=True
        )
    with pytest.raises(UserError, match="in use"), lock.locked(tmp_path, "in use"):
        raise AssertionError
    child.kill()
    child.wait()
    child.stdin.close()
    with lock.locked(tmp_path, "in use"):
        pass
