"""Applies a function to many lines, in several processes, with a progress bar."""

import argparse
import os
import signal
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack

from tqdm import tqdm

from gradinit_mt.common.command import positive_int
from gradinit_mt.common.errors import UserError
from gradinit_mt.common.parent import end_with
from gradinit_mt.common.processor import usable_cores
from gradinit_mt.corpora.text import Text

CHUNK = 1000  # lines per task of a process

Function = Callable[[str], str]
_function: Function


def _start(function: Function, parent: int) -> None:
    global _function
    # The parent process handles interrupts and ends the pool.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with(parent)
    _function = function


def _apply(line: str) -> str:
    return _function(line)


def map_lines(function: Function, lines: list[str], workers: int = 1, label: str | None = None) -> list[str]:
    """Applies a function to each line; the results keep the order of the lines.

    Each of the ``workers`` processes gets the function, so it must be picklable; a single worker is this process.
    Without a ``label``, the title of the progress bar, there is no bar.

    Raises:
        UserError: a process was killed.
    """
    with ExitStack() as stack:
        done: Iterable[str] = map(function, lines)
        if workers > 1 and len(lines) > CHUNK:
            pool = ProcessPoolExecutor(
                min(workers, -(-len(lines) // CHUNK)), initializer=_start, initargs=(function, os.getpid())
            )
            stack.callback(pool.shutdown, cancel_futures=True)
            done = pool.map(_apply, lines, chunksize=CHUNK)
        try:
            # disable=None: no bar where stderr is not a terminal
            return list(tqdm(done, total=len(lines), desc=label, unit=" lines", disable=label is None or None))
        except BrokenProcessPool as error:
            raise UserError(
                "a worker process was killed, probably for lack of memory; run again with fewer --workers"
            ) from error


def map_text(function: Function, text: Text, workers: int) -> Text:
    """Applies a function to each line of all splits and languages; see ``map_lines``."""
    return {
        split: {lang: map_lines(function, lines, workers, f"{split}.{lang}") for lang, lines in sides.items()}
        for split, sides in text.items()
    }


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Adds the option ``--workers``."""
    text = "processes to use; the result does not depend on it (default: %(default)s, all cores)"
    parser.add_argument("--workers", type=positive_int, default=usable_cores(), metavar="N", help=text)
