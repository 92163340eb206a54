"""Progress of long computations: a bar on a terminal, lines in a log."""

import logging
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from tqdm import tqdm

logger = logging.getLogger(__name__)

LINES = 20  # in the log of a computation


@contextmanager
def progress(title: str, total: int, done: int = 0, shown: bool = True) -> Iterator[Callable[[str], None]]:
    """Yields a function to call after every step, with a note; shows the steps done, the time left and the note.

    ``done`` steps precede this process. ``shown`` is False on all data-parallel ranks except the first.
    """
    logs = shown and not sys.stderr.isatty()
    started, started_at = time.monotonic(), done

    def advance(note: str) -> None:
        nonlocal done
        done += 1
        bar.set_postfix_str(note, refresh=False)
        bar.update()
        if logs and done * LINES // total > (done - 1) * LINES // total:
            left = (time.monotonic() - started) / (done - started_at) * (total - done)
            logger.info("%s: %d/%d, %.0f s left; %s", title, done, total, left, note)

    with tqdm(total=total, initial=done, desc=title, disable=not shown or logs) as bar:
        yield advance
