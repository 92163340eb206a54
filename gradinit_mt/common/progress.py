"""Progress of long computations: a bar on a terminal, lines in a log."""

import logging
import sys
import time

from tqdm import tqdm

logger = logging.getLogger(__name__)


class Progress:
    """A context manager that shows the steps done, the time left and a note.

    Args:
        title: what is being done.
        total: number of steps.
        done: steps done before this process started.
        shown: False on all data-parallel ranks except the first.
        lines: total number of lines in a log.
    """

    def __init__(self, title: str, total: int, done: int = 0, shown: bool = True, lines: int = 20) -> None:
        self.title, self.total, self.done, self.lines = title, total, done, lines
        self._started, self._started_at = time.monotonic(), done
        self._logs = shown and not sys.stderr.isatty()
        self._bar = tqdm(total=total, initial=done, desc=title, disable=not shown or self._logs)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.close()

    def advance(self, note: str = "") -> None:
        """Counts one more step."""
        self.done += 1
        self._bar.set_postfix_str(note, refresh=False)
        self._bar.update()
        if self._logs and (self.done * self.lines // self.total > (self.done - 1) * self.lines // self.total):
            left = (time.monotonic() - self._started) / (self.done - self._started_at) * (self.total - self.done)
            logger.info("%s: %d/%d, %.0f s left; %s", self.title, self.done, self.total, left, note)
