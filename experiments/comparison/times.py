"""The wall-clock times of a run: its initialization, and what earlier starts spent that no checkpoint counts."""

import re
from datetime import datetime
from pathlib import Path

from gradinit_mt.common import log_lines
from gradinit_mt.record.record import Record, RecordError
from gradinit_mt.training.log import LOG

_STAMPED = re.compile(r"(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d) \| \w+ \| (\S+) \| (.*)")  # a line of fairseq's log
# how the last line of GradInit begins
_LEARNED = re.compile(rf"GradInit: ({log_lines.SCALES_REUSED}|\d+ iterations) in ")
_FIRST = ("fairseq_cli.train", "{")  # each start begins with its configuration: the logger, and the first character
Line = tuple[datetime, str, str]  # time, logger, message


def times(save_dir: Path, training_seconds: float | None) -> dict:
    """``seconds`` of the whole run, and ``initialization_seconds``, which they include; both wall-clock.

    Args:
        save_dir: with the log and, if GradInit ran, its record.
        training_seconds: of the last checkpoint; None without one, and then ``seconds`` is None.

    ``initialization_seconds`` is the time of the initializer and of GradInit together: 0 for a model's own
    initialization. fairseq counts a run's time from its last start before the first checkpoint; GradInit's record
    counts over all starts, so what it learned in earlier ones is added to ``seconds``.
    """
    log = save_dir / LOG
    lines = stamped(log.read_text(encoding="utf-8", errors="replace") if log.exists() else "")
    learning = learning_seconds(save_dir)
    initialization = round(learning + rule_seconds(lines), 1)
    seconds = None
    if training_seconds is not None:
        # the log has whole seconds: a short run may seem to end before its initialization
        seconds = max(round(training_seconds + uncounted_seconds(lines, learning), 1), initialization)
    return {"initialization_seconds": initialization, "seconds": seconds}


def stamped(log: str) -> list[Line]:
    """The lines with a time, over all starts."""
    found = [match.groups() for line in log.splitlines() if (match := _STAMPED.match(line))]
    return [(datetime.fromisoformat(time), logger, message) for time, logger, message in found]


def learning_seconds(save_dir: Path) -> float:
    """The time that GradInit took over all starts; 0 without a record."""
    try:
        return Record.load(save_dir).state.seconds
    except RecordError:
        return 0.0


def rule_seconds(lines: list[Line]) -> float:
    """The time from fairseq's last line before the log's last ``initializer: NAME`` to that line; in whole seconds."""
    found = [number for number, (*_, message) in enumerate(lines) if message.startswith("initializer: ")]
    before = [time for time, logger, _ in lines[: max(found, default=0)] if logger.startswith("fairseq")]
    return (lines[found[-1]][0] - before[-1]).total_seconds() if before else 0.0


def uncounted_seconds(lines: list[Line], learning: float) -> float:
    """The part of GradInit's time that earlier starts spent, to a second; 0 if one start did all of it.

    Args:
        lines: of the log.
        learning: GradInit's time over all starts, in seconds.
    """
    ends = [number for number, (*_, message) in enumerate(lines) if _LEARNED.match(message)]
    begun = [number for number, (*_, message) in enumerate(lines) if message.startswith("GradInit: ")]
    starts = [number for number, (_, logger, message) in enumerate(lines) if (logger, message[:1]) == _FIRST]
    last_start = max((number for number in starts if number < max(ends, default=0)), default=0)
    if not ends or begun[0] > last_start:
        return 0.0
    first = next(number for number in begun if number > last_start)
    return max(learning - (lines[ends[-1]][0] - lines[first][0]).total_seconds(), 0.0)
