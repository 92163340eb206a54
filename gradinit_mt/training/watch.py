"""Runs fairseq-train, keeps all it prints in a log, and shows a line of progress."""

import json
import re
import signal
import subprocess
import sys
from collections import deque
from pathlib import Path

from tqdm import tqdm

STATISTICS = re.compile(r"\| INFO \| (train_inner|valid) \| (\{.*\})$")
SHOWN = re.compile(r"\| (?:INFO|WARNING) \| gradinit_mt\S* \| (.*)$")
LAST_LINES = 15


def watch(command: list[str], environment: dict[str, str], log: Path) -> int:
    """Runs ``command`` and returns its exit status.

    Its output is appended to ``log``; progress is shown on stderr. An interrupt is passed on and waited for.
    """
    display = _Display(_option(command, "--max-update"))
    last = deque(maxlen=LAST_LINES)
    with (
        open(log, "a", encoding="utf-8") as file,
        subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace"
        ) as process,
    ):

        def copy_lines() -> None:
            for line in process.stdout:
                file.write(line)
                file.flush()
                last.append(line)
                display.show(line.rstrip())

        before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            copy_lines()
        except KeyboardInterrupt:
            copy_lines()  # the terminal has sent it the same interrupt: what it still says belongs to the log
            raise
        finally:
            signal.signal(signal.SIGTERM, before)
            display.close()
        status = process.wait()
    if status:
        sys.stderr.writelines(last)
    return status


class _Display:
    """A bar on a terminal, lines elsewhere."""

    def __init__(self, max_update: str | None) -> None:
        self.total = int(max_update) if max_update and max_update.isdigit() else None
        self.valid = ""
        self.bar = None

    def show(self, line: str) -> None:
        """Shows what a line of fairseq's output says, if it is worth showing."""
        if match := SHOWN.search(line):
            self._say(match[1])
        elif match := STATISTICS.search(line):
            self._statistics(match[1], json.loads(match[2]))

    def close(self) -> None:
        """Leaves the bar as it is."""
        if self.bar is not None:
            self.bar.close()

    def _statistics(self, kind: str, numbers: dict) -> None:
        if kind == "valid":
            loss = _loss(numbers, "valid_")
            self.valid = f", valid {loss:.2f}"
            self._say(f"epoch {numbers['epoch']}: validation loss {loss:.3f} bits, perplexity {2**loss:.2f}")
            return
        update = int(numbers["num_updates"])
        note = f"loss {_loss(numbers):.2f} bits{self.valid}, lr {float(numbers['lr']):.1e}"
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


def _loss(numbers: dict, prefix: str = "") -> float:
    """Bits per token, without label smoothing where fairseq logs that apart."""
    return float(numbers.get(f"{prefix}nll_loss", numbers.get(f"{prefix}loss", "nan")))


def _option(command: list[str], name: str) -> str | None:
    """The last value given to an option, as ``--name value`` or ``--name=value``."""
    value = None
    for argument, following in zip(command, [*command[1:], None], strict=True):
        if argument == name:
            value = following
        elif argument.startswith(f"{name}="):
            value = argument.partition("=")[2]
    return value
