"""Runs fairseq-train, keeps all it prints in a log, and shows a line of progress."""

import ctypes
import os
import re
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from io import FileIO
from pathlib import Path
from typing import Any

from tqdm import tqdm

from gradinit_mt.training import TrainingError, log

SHOWN = re.compile(r"\| (?:INFO|WARNING) \| gradinit_mt\S* \| (.*)$")
LAST_LINES = 15
GRACE = 40  # seconds to end after SIGTERM; torchrun takes up to 30 to end its workers

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None


@dataclass(frozen=True)
class Outcome:
    """How the command ended: its exit status, the signal that ended the wait for it, and its last lines."""

    status: int
    interrupted_by: int | None
    last_lines: list[str]


def watch(
    command: list[str],
    environment: dict[str, str],
    log_file: Path,
    max_update: int | None,
    keep_open: Sequence[int] = (),
) -> Outcome:
    """Runs ``command`` to its end; its output is appended to ``log_file``, progress is shown on stderr.

    The first SIGINT or SIGTERM to this process is passed on, and what the command still prints is logged; the second
    kills the command. Whatever else ends this process, SIGKILL included (on Linux), ends the command too. A signal that
    this process was started to ignore stays ignored.

    Args:
        command: fairseq-train, logging as JSON.
        environment: its variables.
        log_file: its directory exists.
        max_update: for the progress.
        keep_open: file descriptors that the command inherits.

    Raises:
        TrainingError: the log cannot be written; the command has been ended.
    """
    if _LIBC is not None:
        _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1)  # workers whose own parent has ended stay among this one's descendants
    display = _Display(max_update)
    last: deque[str] = deque(maxlen=LAST_LINES)
    # unbuffered: a line that the disk does not take is not tried again when the file is closed
    with open(log_file, "ab", buffering=0) as file, _Interrupts() as interrupts:
        process = subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            pass_fds=tuple(keep_open),
            start_new_session=True,  # the terminal's Ctrl-C reaches this process alone, which passes it on
            preexec_fn=_end_with(os.getpid()),
        )
        try:
            interrupts.pass_on_to(process)
            for line in process.stdout:
                _append(file, line)
                last.append(line.rstrip("\n"))
                display.show(line.rstrip())
            status = process.wait()
        except BaseException:
            _end(process)  # nothing goes on unlogged
            raise
        finally:
            process.stdout.close()
            display.close()
    return Outcome(status, interrupts.first, list(last))


def _append(file: FileIO, line: str) -> None:
    try:
        file.write(line.encode())
    except OSError as error:
        raise TrainingError(
            f"{file.name}: cannot be written ({error.strerror}), and training was ended: make room, and the same "
            "command continues the run"
        ) from error


class _Interrupts:
    """SIGINT and SIGTERM while a process runs: the first one is passed on to it, the second one kills it.

    Attributes:
        first: the number of the first one, or None.
    """

    def __init__(self) -> None:
        self.first: int | None = None
        self._process: subprocess.Popen | None = None
        self._before: dict[int, Any] = {}

    def __enter__(self) -> "_Interrupts":
        for number in (signal.SIGINT, signal.SIGTERM):
            if signal.getsignal(number) is not signal.SIG_IGN:
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def pass_on_to(self, process: subprocess.Popen) -> None:
        """From now on, and a signal that came before."""
        self._process = process
        if self.first is not None:
            process.send_signal(self.first)

    def _handle(self, number: int, _frame: object) -> None:
        if self.first is not None and self._process is not None:
            _kill(self._process)
            return
        self.first = number
        # print could be interrupted in the midst of itself
        os.write(sys.stderr.fileno(), b"\n=> interrupted: fairseq-train is ending; once more kills it\n")
        if self._process is not None:
            self._process.send_signal(number)


def _end_with(parent: int) -> Callable[[], None]:
    """What a child runs before its command, so that the system ends it when ``parent`` has ended."""

    def prepare() -> None:
        if _LIBC is not None:
            _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
            if os.getppid() != parent:  # it ended before the call
                os._exit(1)

    return prepare


def _end(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        _kill(process)
        process.wait()


def _kill(process: subprocess.Popen) -> None:
    """Kills a process and all that it has started: torchrun's workers are in sessions of their own.

    They are found as the descendants of this process, which starts nothing else.
    """
    for number in _descendants(os.getpid()) or [process.pid]:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


def _descendants(ancestor: int) -> list[int]:
    """The numbers of the processes that a process has started, and those have started, and so on; on Linux."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # "number (name) state parent ...": a name may hold blanks and brackets
            parent = int(path.read_text(errors="replace").rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(path.parent.name))
    found, ahead = [], [ancestor]
    while ahead:
        started = children.get(ahead.pop(), [])
        found += started
        ahead += started
    return found


class _Display:
    """A bar on a terminal, lines elsewhere."""

    def __init__(self, max_update: int | None) -> None:
        self.total = max_update or None
        self.valid = ""
        self.bar = None

    def show(self, line: str) -> None:
        """Shows what a line of fairseq's output says, if it is worth showing."""
        if match := SHOWN.search(line):
            self._say(match[1])
        elif found := log.statistics(line):
            kind, numbers = found
            self._validated(numbers) if kind == "valid" else self._updated(numbers)

    def close(self) -> None:
        """Leaves the bar as it is."""
        if self.bar is not None:
            self.bar.close()

    def _validated(self, numbers: dict) -> None:
        bits = log.loss(numbers, "valid_")
        self.valid = f", valid {bits:.2f}"
        epoch = numbers.get("epoch", "?")
        self._say(f"epoch {epoch}: validation loss {bits:.3f} bits, perplexity {log.perplexity(bits):.2f}")

    def _updated(self, numbers: dict) -> None:
        update = int(numbers.get("num_updates", 0))
        note = f"loss {log.loss(numbers):.2f} bits{self.valid}, lr {float(numbers.get('lr', 'nan')):.1e}"
        if sys.stderr.isatty():
            if self.bar is None:
                self.bar = tqdm(total=self.total, initial=update, desc="training", unit="update")
            self.bar.set_postfix_str(note, refresh=False)
            self.bar.update(update - self.bar.n)
        else:
            self._say(f"update {update}/{self.total or '?'}: {note}, {float(numbers.get('wps', 0)):,.0f} tokens/s")

    @staticmethod
    def _say(text: str) -> None:
        tqdm.write(text, file=sys.stderr)
