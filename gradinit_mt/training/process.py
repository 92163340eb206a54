"""Runs fairseq-train: its log, and how it and the launcher end together."""

import math
import os
import re
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from io import FileIO
from pathlib import Path

from gradinit_mt.common.errors import UserError
from gradinit_mt.common.parent import adopt_orphans, end_with
from gradinit_mt.training.display import Display

LAST_LINES = 15
# torchrun's own report of a worker that failed: 40 lines, after the worker's error
_REPORT = re.compile(r"[EW]\d{4} .*torch/distributed/elastic/.* (failed \(exitcode|Sending process)")
GRACE = 40  # seconds to end after SIGTERM; torchrun takes up to 30 to end its workers

# a signal to this process: the one for the command
_PASSED_ON: dict[int, int] = {
    signal.SIGINT: signal.SIGINT,
    signal.SIGTERM: signal.SIGTERM,
    signal.SIGUSR1: signal.SIGTERM,
    signal.SIGHUP: signal.SIGTERM,
}


@dataclass(frozen=True)
class Outcome:
    """How the command ended: its exit status, the signal that interrupted it, its last lines, and its last source gain.

    The lines are those before torchrun's report of a failure, if there is one.
    The source gain is in bits per target token, and nan if none was logged.
    """

    status: int
    interrupted_by: int | None
    last_lines: list[str]
    source_gain: float = math.nan


def run_logged(
    command: list[str],
    environment: dict[str, str],
    log_file: Path,
    max_update: int | None,
    keep_open: Sequence[int] = (),
) -> Outcome:
    """Runs ``command`` to its end, appends its output to ``log_file``, and shows its progress on stderr.

    The first SIGINT, SIGTERM, SIGUSR1 or SIGHUP is passed on to the command, whose output is still logged; the second
    one kills the command, unless it is SIGHUP. SIGUSR1 and SIGHUP are passed on as SIGTERM, since they would kill
    torchrun. A signal that this process was started to ignore stays ignored. The command never outlives this process,
    not even after a SIGKILL (on Linux), but it outlives what shows its progress, such as a pipe to ``tee``. It inherits
    the file descriptors ``keep_open``.

    Raises:
        UserError: the log cannot be written; the command has been ended.
    """
    adopt_orphans()  # such as workers of torchrun
    interrupts = _Interrupts()
    last_lines: deque[str] = deque(maxlen=LAST_LINES)
    with (
        # unbuffered: otherwise closing the file would retry a line for which the disk had no space
        open(log_file, "ab", buffering=0) as file,
        _handled(interrupts.handle),
        closing(Display(max_update)) as display,
        subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            pass_fds=tuple(keep_open),
            start_new_session=True,  # Ctrl-C in the terminal reaches only this process, which passes it on
            preexec_fn=partial(end_with, os.getpid()),
        ) as process,
    ):
        try:
            interrupts.pass_on_to(process)
            assert process.stdout is not None
            failed = False
            for line in process.stdout:
                _append(file, line)
                failed = failed or _REPORT.match(line) is not None
                if not failed:
                    last_lines.append(line.rstrip("\n"))
                display.show(line.rstrip())
            status = process.wait()
        except BaseException:
            _end(process)  # training must not continue without a log
            raise
    return Outcome(status, interrupts.first, list(last_lines), display.source_gain)


def _append(file: FileIO, line: str) -> None:
    try:
        file.write(line.encode())
    except OSError as error:
        raise UserError(
            f"{file.name}: cannot be written ({error.strerror}), and training was ended: make room, and the same "
            "command continues the run"
        ) from error


class _Interrupts:
    """Passes the first signal on to a process; the second one kills it."""

    def __init__(self) -> None:
        self.first: int | None = None  # the number of the first signal
        self._process: subprocess.Popen | None = None

    def pass_on_to(self, process: subprocess.Popen) -> None:
        """Sends signals to ``process`` from now on, and also one that came before."""
        self._process = process
        if self.first is not None:
            process.send_signal(_PASSED_ON[self.first])

    def handle(self, number: int, _frame: object) -> None:
        """A signal handler."""
        if self.first is not None and self._process is not None:
            if number != signal.SIGHUP:  # a closing terminal sends it more than once
                _kill(self._process)
            return
        self.first = number
        with suppress(OSError):  # the terminal may be gone, or the reader of a pipe
            # not print: the signal may have interrupted another print
            os.write(
                sys.stderr.fileno(), b"\n=> interrupted: fairseq-train saves and ends; interrupt again to kill it\n"
            )
        if self._process is not None:
            self._process.send_signal(_PASSED_ON[number])


@contextmanager
def _handled(handler: Callable[[int, object], None]) -> Iterator[None]:
    """Sets the handler of signals that end training, except where this process was started to ignore them."""
    with ExitStack() as stack:
        for number in _PASSED_ON:
            if signal.getsignal(number) is not signal.SIG_IGN:
                stack.callback(signal.signal, number, signal.signal(number, handler))
        yield


def _end(process: subprocess.Popen) -> None:
    process.terminate()
    try:
        process.wait(GRACE)
    except subprocess.TimeoutExpired:
        _kill(process)
        process.wait()


def _kill(process: subprocess.Popen) -> None:
    """Kills a process and everything it has started.

    torchrun's workers have their own sessions, so they are found as descendants of this process, which starts nothing
    else.
    """
    for number in _descendants(os.getpid()) or [process.pid]:
        with suppress(ProcessLookupError):
            os.kill(number, signal.SIGKILL)


def _descendants(ancestor: int) -> list[int]:
    """The ids of all processes below ``ancestor``; empty where there is no /proc."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # "id (name) state parent ...", where the name may contain spaces and brackets
            parent = int(path.read_text(errors="replace").rpartition(")")[2].split()[1])
            children.setdefault(parent, []).append(int(path.parent.name))
    found = [ancestor]
    for number in found:  # which grows
        found += children.get(number, [])
    return found[1:]
