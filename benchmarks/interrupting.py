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
    r"GradInit: step ": "GradInit",
    r"GradInit: \d+ iterations in ": "updates",
    r"begin training epoch ([2-9]|\d\d)": "updates",
    r"begin validation on ": "validation",
    r"Preparing to save checkpoint": "saving",
    r"Saved checkpoint ": "updates",
    r"end of epoch ": "epoch end",
    r"done training ": "leaving",
}
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

    def wait(self, until: Callable[[], bool]) -> None:
        """Reads on until a condition holds."""
        while not until():
            self.read()
            time.sleep(0.001)

    def count(self, phase: str) -> int:
        """How often a phase has been entered."""
        return sum(entered == phase for entered, _ in self.entries)


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


def training_processes(launcher: int, processes: int) -> list[int]:
    """The ranks that are there: the launcher's child, or those of the torchrun between them."""
    started = children(launcher)
    if processes > 1:
        started = [rank for torchrun in started for rank in children(torchrun)]
    return [process for process in started if b"fairseq_cli.train" in _command_line(process)]


def targets(launcher: int, processes: int) -> dict[str, Callable[[random.Random], list[int]]]:
    """Whom a signal may be sent to: names, and functions that return the processes, none if they are not there yet.

    The group is the launcher's, which a terminal's Ctrl-C reaches; "job" is every process, as a scheduler ends one.
    """

    def one_rank(chance: random.Random) -> list[int]:
        ranks = training_processes(launcher, processes)
        return [chance.choice(ranks)] if len(ranks) == processes else []

    found = {
        "launcher": lambda _: [launcher],
        "group": lambda _: [-launcher],  # as for kill(2)
        "training": one_rank,
        "job": lambda _: [launcher, *descendants(launcher)],
    }
    return found | ({"torchrun": lambda _: children(launcher)} if processes > 1 else {})


def halt(ranks: list[int], launcher: subprocess.Popen, log: Follower) -> None:
    """Halts ranks, waits until the launcher has written all that they have printed, and reads it."""
    _send(signal.SIGSTOP, ranks)
    while any(_state(rank) not in "TtZX" for rank in ranks) or _state(launcher.pid) not in "SZX":
        time.sleep(0.001)
    log.read()


def _state(process: int) -> str:
    """One letter, see proc(5)."""
    with suppress(OSError):
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0]
    return "X"


def approach(
    launcher: subprocess.Popen, processes: int, log: Follower, phase: str, occurrence: int, delay: float
) -> None:
    """Waits until a run has been in a phase for so many seconds, and halts its ranks there.

    Most phases after GradInit last a few milliseconds, so the ranks are halted after every millisecond before the one
    that is waited for.
    """

    def near() -> bool:
        past = log.count(phase) >= occurrence - (phase in STEPPED)
        return launcher.poll() is not None or (past and (phase not in STEPPED or log.count("updates") > 0))

    log.wait(near)
    ranks = training_processes(launcher.pid, processes)
    if phase not in STEPPED:
        time.sleep(delay)
    while launcher.poll() is None and phase in STEPPED and (log.count(phase) < occurrence or delay > 0):
        delay -= STEP if log.count(phase) >= occurrence else 0
        _send(signal.SIGCONT, ranks)
        time.sleep(STEP)
        halt(ranks, launcher, log)
    halt(ranks or training_processes(launcher.pid, processes), launcher, log)


def hit(
    launcher: subprocess.Popen, processes: int, sent: signal.Signals, target: str, chance: random.Random, log: Follower
) -> bool:
    """Sends the signal to the target of a run whose ranks are halted, and releases them.

    The ranks are halted while the log is read, so that its phase is the one in which the signal meets them.

    Returns:
        False if the run had ended before.
    """
    choose = targets(launcher.pid, processes)[target]
    while not (found := choose(chance)) and launcher.poll() is None:
        time.sleep(0.005)
    log.read()
    there = launcher.poll() is None and log.phase != "leaving"
    if there:
        _send(sent, found)
    _send(signal.SIGCONT, training_processes(launcher.pid, processes))
    return there


def _send(number: signal.Signals, processes: list[int]) -> None:
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)


def remaining(save_dir: Path, seconds: float = GONE) -> list[int]:
    """The processes with the save dir on their command line that are left after so many seconds."""
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
