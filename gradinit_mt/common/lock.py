"""A lock that keeps other programs out of a directory."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

from gradinit_mt.common import command
from gradinit_mt.common.errors import UserError

NAME = ".lock"


@contextlib.contextmanager
def locked(directory: Path, refusal: str) -> Iterator[int]:
    """Keeps other programs that call this out of an existing directory.

    Yields:
        A file descriptor for a child process to inherit: the lock lasts until every process that holds it ends. On a
        file system without locks it keeps nobody out, and a message says so.

    Raises:
        UserError: another process holds the lock; with ``refusal`` as its message.
    """
    with (directory / NAME).open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise UserError(refusal) from error
        except OSError as error:  # as on Lustre that is mounted without flock
            command.say(
                f"beware: the file system of {directory} has no locks ({error.strerror}); start no second run there"
            )
        yield file.fileno()
