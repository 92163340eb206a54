"""Applies a function to many lines, in several processes, with a progress bar."""

import argparse
import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable
from contextlib import ExitStack

from tqdm import tqdm

from gradinit_mt.common.command import positive_int
from gradinit_mt.corpora.text import Text

CHUNK = 1000  # lines per task of a process

Function = Callable[[str], str]
_function: Function


def _start(function: Function) -> None:
    global _function
    # The parent process handles interrupts and ends the pool.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _function = function


def _apply(lines: list[str]) -> list[str]:
    return [_function(line) for line in lines]


def map_lines(function: Function, lines: list[str], workers: int = 1, label: str | None = None) -> list[str]:
    """Applies a function to each line; the results keep the order of the lines.

    Args:
        function: is sent to each process, so it must be picklable.
        lines: the lines.
        workers: number of processes; 1 works in this process.
        label: title of the progress bar; None shows no bar.
    """
    chunks = [lines[start : start + CHUNK] for start in range(0, len(lines), CHUNK)]
    result: list[str] = []
    with ExitStack() as stack:
        # disable=None: no bar where stderr is not a terminal
        bar = stack.enter_context(tqdm(total=len(lines), desc=label, unit=" lines", disable=label is None or None))
        done: Iterable[list[str]] = ([function(line) for line in chunk] for chunk in chunks)
        if workers > 1 and len(chunks) > 1:
            pool = multiprocessing.Pool(min(workers, len(chunks)), _start, (function,))
            done = stack.enter_context(pool).imap(_apply, chunks)
        for chunk in done:
            result += chunk
            bar.update(len(chunk))
    return result


def map_text(function: Function, text: Text, workers: int) -> Text:
    """Applies a function to each line of all splits and languages; see ``map_lines``."""
    return {
        split: {lang: map_lines(function, lines, workers, f"{split}.{lang}") for lang, lines in sides.items()}
        for split, sides in text.items()
    }


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Adds the option ``--workers``."""
    text = "processes to use; the result does not depend on it (default: %(default)s, the CPUs of this machine)"
    parser.add_argument("--workers", type=positive_int, default=os.cpu_count() or 1, metavar="N", help=text)
