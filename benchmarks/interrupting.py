"""Interrupts a run of scripts/train.sh: what it is doing by its log, its processes, and signals to them."""

import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

GONE = 60  # seconds that the processes of a run have to end, once its launcher has ended

# A line of the log: what the run does from then on. The first epoch begins with GradInit.
MARKS = {
    r"GradInit: looks ": "GradInit",
    r"GradInit: \d+ iterations in ": "updates",
    r"begin training epoch ([2-9]|\d\d)": "updates",
    r"begin validation on ": "validation",
    r"Preparing to save checkpoint": "saving",
    r"Saved checkpoint ": "updates",
    r"end of epoch ": "epoch end",
    r"done training ": "leaving",
}
TARGETS = ("launcher", "group", "training", "job", "torchrun")  # the last only with several processes
PHASES = ("start", "GradInit", "updates", "validation", "saving", "epoch end")
STEPPED = ("updates", "validation", "saving", "epoch end")  # after GradInit, of milliseconds each
STEP = 0.001  # seconds
_SAVED = re.compile(r"Saved checkpoint .* @ (\d+) updates")


class Follower:
    """Reads a log as it grows.

    Attributes:
        entries: each phase so far and when it was entered, in seconds of the monotonic clock.
        saved: updates of the last checkpoint that was reported as saved.
    """

    def __init__(self, log: Path) -> None:
        self.log = log
        self.entries: list[tuple[str, float]] = [("start", time.monotonic())]
        self.saved = 0
        self._position = 0

    @property
    def phase(self) -> str:
        """What the run is doing, as far as the log has been read."""
        return self.entries[-1][0]

    def read(self) -> None:
        """Reads the whole lines that are new."""
        if not self.log.exists():
            return
        with self.log.open("rb") as file:
            file.seek(self._position)
            new = file.read()
        new = new[: new.rfind(b"\n") + 1]
        self._position += len(new)
        for line in new.decode(errors="replace").splitlines():
            self._follow(line)

    def _follow(self, line: str) -> None:
        if found := _SAVED.search(line):
            self.saved = int(found[1])
        for mark, phase in MARKS.items():
            if re.search(mark, line):
                self.entries.append((phase, time.monotonic()))

    def count(self, phase: str) -> int:
        """How often a phase has been entered."""
        return sum(entered == phase for entered, _ in self.entries)


class Started:
    """A run: the launcher, the processes below it, and its log."""

    def __init__(self, launcher: subprocess.Popen, processes: int, log: Follower) -> None:
        self.launcher, self.processes, self.log = launcher, processes, log

    @property
    def ended(self) -> bool:
        """Whether the launcher has."""
        return self.launcher.poll() is not None

    def ranks(self) -> list[int]:
        """The training processes that are there: the launcher's child, or those of the torchrun between them."""
        started = children(self.launcher.pid)
        if self.processes > 1:
            started = [rank for torchrun in started for rank in children(torchrun)]
        return [process for process in started if b"fairseq_cli.train" in _command_line(process)]

    def approach(self, phase: str, occurrence: int, delay: float) -> None:
        """Waits until the run has been in a phase for ``delay`` seconds, and halts its ranks there.

        After GradInit most phases last a few milliseconds, so the ranks are halted after every millisecond from the
        occurrence before on.
        """
        seen = self.log.count
        if phase in STEPPED:
            self._wait(lambda: seen("updates") > 0 and seen(phase) >= occurrence - 1)
            ranks = self.ranks()
            while not self.ended and seen(phase) < occurrence:
                self._step(ranks)
            while not self.ended and delay > STEP:
                delay -= self._step(ranks)
        else:
            self._wait(lambda: seen(phase) >= occurrence)
            time.sleep(delay)
        self._halt(self.ranks())

    def hit(self, sent: signal.Signals, target: str, chance: random.Random) -> bool:
        """Sends the signal to the target of a run whose ranks are halted, and releases them.

        The log is complete up to the halt, so its phase is the one in which the signal meets the run.

        Returns:
            False if the run had ended before.
        """
        while not (met := self._target(target, chance)) and not self.ended:
            time.sleep(0.005)  # it starts with the launcher alone
        ranks = self.ranks()  # no longer to be found once torchrun or the launcher is dead
        self.log.read()
        there = not self.ended and self.log.phase != "leaving"
        _send(sent, met if there else [])
        _send(signal.SIGCONT, ranks)
        return there

    def _target(self, name: str, chance: random.Random) -> list[int]:
        """The processes of a target, as for kill(2); none if they are not there yet."""
        launcher, ranks = self.launcher.pid, self.ranks()
        found = {
            "launcher": [launcher],
            "group": [-launcher],
            "training": [chance.choice(ranks)] if len(ranks) == self.processes else [],
            "torchrun": children(launcher),
            "job": [launcher, *descendants(launcher)],
        }
        return found[name]

    def _wait(self, until: Callable[[], bool]) -> None:
        while not (self.ended or until()):
            self.log.read()
            time.sleep(STEP)

    def _step(self, ranks: list[int]) -> float:
        """Releases the ranks for a moment; returns how long it was."""
        began = time.monotonic()
        _send(signal.SIGCONT, ranks)
        time.sleep(STEP)
        _send(signal.SIGSTOP, ranks)
        elapsed = time.monotonic() - began
        self._halt(ranks)
        return elapsed

    def _halt(self, ranks: list[int]) -> None:
        """Halts the ranks, waits until the launcher has written all that they have printed, and reads it."""
        _send(signal.SIGSTOP, ranks)
        while any(state(rank) not in "TZX" for rank in ranks) or state(self.launcher.pid) not in "SZX":
            time.sleep(STEP)
        self.log.read()


def children(process: int) -> list[int]:
    """The processes that a process has started and that have not ended."""
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    return []


def descendants(process: int) -> list[int]:
    """All processes below a process, parents first."""
    found = [process]
    for number in found:  # which grows
        found += children(number)
    return found[1:]


def state(process: int) -> str:
    """One letter, see proc(5)."""
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    return "X"


def _send(number: signal.Signals, processes: list[int]) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)


def remaining(save_dir: Path, seconds: float = GONE) -> list[int]:
    """The processes with the save dir on their command line that are left after ``seconds``, or none earlier."""
    end = time.monotonic() + seconds
    while (found := _with_argument(save_dir)) and time.monotonic() < end:
        time.sleep(0.05)
    return found


def kill(processes: list[int]) -> None:
    """Kills processes."""
    _send(signal.SIGKILL, processes)


def _with_argument(save_dir: Path) -> list[int]:
    processes = (int(path.name) for path in Path("/proc").glob("[0-9]*"))
    return [process for process in processes if str(save_dir).encode() in _command_line(process).split(b"\0")]


def _command_line(process: int) -> bytes:
    """Empty for one that has ended, even if its parent has not asked for its status."""
    with suppress(OSError):
        return Path(f"/proc/{process}/cmdline").read_bytes()
    return b""
