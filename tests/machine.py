"""What a test needs of its machine: a free port, and a disk that is full."""

import resource
import socket
from collections.abc import Iterator
from contextlib import contextmanager


def free_port() -> int:
    """A port of the loopback address on which nothing listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def limited(size: int | None) -> Iterator[None]:
    """Makes this process and those that it starts fail to write a file beyond so many bytes."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    if size is not None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
