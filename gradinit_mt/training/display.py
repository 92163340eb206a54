"""What the launcher shows of fairseq-train's output."""

import math
import re
import sys

from tqdm import tqdm

from gradinit_mt.common.command import outliving_the_display
from gradinit_mt.training import log

SHOWN = re.compile(r"\| (?:INFO|WARNING) \| gradinit_mt\S* \| (.*)$")
LEFT_OUT = re.compile(r"\| WARNING \| fairseq\S* \| ([\d,]+) samples have invalid sizes .*max_positions=(\([^)]*\))")


class Display:
    """Messages of GradInit, validation losses, and updates: as a bar on a terminal, as lines elsewhere."""

    def __init__(self, max_update: int | None) -> None:
        self.total = max_update or None
        self.valid = ""
        self.source_gain = math.nan
        self.bar: tqdm | None = None
        self.left_out: set[tuple[str, ...]] = set()

    @outliving_the_display()
    def show(self, line: str) -> None:
        """Shows what is worth showing in a line of fairseq-train's output."""
        if match := SHOWN.search(line):
            _say(match[1])
        elif match := LEFT_OUT.search(line):
            self._left_out(match.groups())
        elif found := log.statistics(line):
            show = {"valid": self._validated, "train_inner": self._updated}[found[0]]
            show(found[1])

    @outliving_the_display()
    def close(self) -> None:
        """Leaves the bar as it is."""
        if self.bar is not None:
            self.bar.close()

    def _left_out(self, found: tuple[str, ...]) -> None:
        if found not in self.left_out:  # each process says so
            self.left_out.add(found)
            number, lengths = found
            _say(
                f"warning: {number} training pairs of more than {lengths} source and target tokens are left out. One "
                "process's share of a batch holds no more, or the model accepts no more; try fewer processes, or a "
                "higher --tokens-per-update"
            )

    def _validated(self, numbers: dict) -> None:
        bits = log.loss(numbers, "valid_")
        self.valid = f", valid {bits:.2f}"
        epoch = numbers.get("epoch", "?")
        _say(f"epoch {epoch}: validation loss {bits:.3f} bits, perplexity {log.perplexity(bits):.2f}")

    def _updated(self, numbers: dict) -> None:
        update = int(numbers.get("num_updates", 0))
        self.source_gain = float(numbers.get("source_gain", "nan"))
        note = f"loss {log.loss(numbers):.2f} bits{self.valid}, lr {float(numbers.get('lr', 'nan')):.1e}"
        if sys.stderr.isatty():
            if self.bar is None:
                self.bar = tqdm(total=self.total, initial=update, desc="training", unit="update")
            self.bar.set_postfix_str(note, refresh=False)
            self.bar.update(update - self.bar.n)
        else:
            _say(f"update {update}/{self.total or '?'}: {note}, {float(numbers.get('wps', 0)):,.0f} tokens/s")


def _say(text: str) -> None:
    tqdm.write(text, file=sys.stderr)
