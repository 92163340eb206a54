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
SHOWN = re.compile(r"\| INFO \| gradinit_mt\S* \| (.*)$")
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
        before = signal.signal(signal.SIGTERM, lambda *_: process.terminate())
        try:
            for line in process.stdout:
                file.write(line)
                file.flush()
                last.append(line)
                display.show(line.rstrip())
        except KeyboardInterrupt:
            process.wait()  # the terminal has sent it the same interrupt
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
        self.total = int(max_update) if max_update else None
        self.valid = ""
        self.bar = None

    def show(self, line: str) -> None:
        if match := SHOWN.search(line):
            self._say(match[1])
        elif match := STATISTICS.search(line):
            self._statistics(match[1], json.loads(match[2]))

    def close(self) -> None:
        if self.bar is not None:
            self.bar.close()

    def _statistics(self, kind: str, numbers: dict) -> None:
        if kind == "valid":
            self.valid = f", valid {float(numbers['valid_nll_loss']):.2f}"
            self._say(
                f"epoch {numbers['epoch']}: validation loss {float(numbers['valid_nll_loss']):.3f} bits, "
                f"perplexity {float(numbers['valid_ppl']):.2f}"
            )
            return
        update = int(numbers["num_updates"])
        note = f"loss {float(numbers['nll_loss']):.2f} bits{self.valid}, lr {float(numbers['lr']):.1e}"
        if sys.stderr.isatty():
            if self.bar is None:
                self.bar = tqdm(total=self.total, initial=update, desc="training", unit="update")
            self.bar.set_postfix_str(note, refresh=False)
            self.bar.update(update - self.bar.n)
        else:
            self._say(f"update {update}/{self.total or '?'}: {note}, {float(numbers['wps']):,.0f} tokens/s")

    @staticmethod
    def _say(text: str) -> None:
        tqdm.write(text, file=sys.stderr)


def _option(command: list[str], name: str) -> str | None:
    """The last value given to an option."""
    places = [i for i, argument in enumerate(command[:-1]) if argument == name]
    return command[places[-1] + 1] if places else None
