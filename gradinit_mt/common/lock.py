"""A lock that keeps other programs away from a file or out of a directory."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from gradinit_mt.common import command
from gradinit_mt.common.errors import UserError

NAME = ".lock"


@contextlib.contextmanager
def locked(path: Path, refusal: str) -> Iterator[int]:
    """Keeps other programs that call this away from a file, which is made if there is none.

    Of an existing directory, the file ``.lock`` in it is locked.

    Yields:
        A file descriptor for a child process to inherit: the lock lasts until every process that holds it ends. On a
        file system without locks it keeps nobody out, and a message says so.

    Raises:
        UserError: another process holds the lock; with ``refusal`` as its message.
    """
    with (path / NAME if path.is_dir() else path).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(refusal) from error
        except OSError as error:  # as on Lustre that is mounted without flock
            command.say(f"warning: the file system of {path} has no locks ({error.strerror}): start no second run")
        yield file.fileno()
