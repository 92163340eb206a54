"""Runs fairseq-train, keeps all it prints in a log, and shows a line of progress."""

import ctypes
import os
import re
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tqdm import tqdm

from gradinit_mt.training import log

SHOWN = re.compile(r"\| (?:INFO|WARNING) \| gradinit_mt\S* \| (.*)$")
LAST_LINES = 15
GRACE = 40  # seconds to end after SIGTERM; torchrun takes up to 30 to end its workers

_PR_SET_PDEATHSIG = 1
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
    kills the command. Whatever else ends this process, SIGKILL included (on Linux), ends the command too.

    Args:
        command: fairseq-train, logging as JSON.
        environment: its variables.
        log_file: its directory exists.
        max_update: for the progress.
        keep_open: file descriptors that the command inherits.
    """
    display = _Display(max_update)
    last: deque[str] = deque(maxlen=LAST_LINES)
    received: list[int] = []
    with (
        open(log_file, "a", encoding="utf-8") as file,
        subprocess.Popen(
            command,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            pass_fds=tuple(keep_open),
            start_new_session=True,  # the terminal's Ctrl-C reaches this process alone, which passes it on
            preexec_fn=_end_with(os.getpid()),
        ) as process,
    ):

        def pass_on(number: int, _frame: object) -> None:
            received.append(number)
            if len(received) > 1:
                os.killpg(process.pid, signal.SIGKILL)
                return
            # print could be interrupted in the midst of itself
            os.write(sys.stderr.fileno(), b"\n=> interrupted: fairseq-train is ending; once more kills it\n")
            process.send_signal(number)

        before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            for line in process.stdout:
                file.write(line)
                file.flush()
                last.append(line.rstrip("\n"))
                display.show(line.rstrip())
            status = process.wait()
        except BaseException:
            _end(process)  # nothing goes on unlogged
            raise
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
            display.close()
    return Outcome(status, received[0] if received else None, list(last))


def _end_with(parent: int):
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
        os.killpg(process.pid, signal.SIGKILL)


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
