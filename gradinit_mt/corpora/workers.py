"""A function over many lines, in several processes, in order, with a progress bar."""

import multiprocessing
import signal
from collections.abc import Callable

from tqdm import tqdm

CHUNK = 1000  # lines handed to a process at once

_function: Callable[[str], str]


def _start(make_function: Callable[[], Callable[[str], str]]) -> None:
    global _function
    # An interrupt is the parent's to handle: it ends the pool.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _function = make_function()


def _apply(lines: list[str]) -> list[str]:
    return [_function(line) for line in lines]


def map_lines(
    make_function: Callable[[], Callable[[str], str]], lines: list[str], workers: int = 1, label: str | None = None
) -> list[str]:
    """The function that ``make_function`` returns, applied to each line; the order is kept.

    Args:
        make_function: called once per process, so that costly tables are built there; must be picklable.
        lines: the lines.
        workers: processes; with 1 the work is done in this one.
        label: what the progress bar says; None shows no bar.
    """
    # None: no bar where stderr is no terminal
    bar = tqdm(total=len(lines), desc=label, unit=" lines", disable=label is None or None, mininterval=0.5)
    chunks = [lines[start : start + CHUNK] for start in range(0, len(lines), CHUNK)]
    result: list[str] = []
    with bar:
        if workers == 1 or len(chunks) < 2:
            function = make_function()
            for chunk in chunks:
                result += [function(line) for line in chunk]
                bar.update(len(chunk))
            return result
        with multiprocessing.Pool(min(workers, len(chunks)), _start, (make_function,)) as pool:
            for done in pool.imap(_apply, chunks):
                result += done
                bar.update(len(done))
    return result
