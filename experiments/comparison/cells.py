"""A cell of the study: one training run, its name, and its command line. Standard library only."""

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from comparison.settings import SETTINGS, Setting

PRESET = "multi30k"  # on any corpus
SAVE_EVERY = 400  # updates between checkpoints that an interrupted run continues from


@dataclass(frozen=True)
class Cell:
    """One training run: with Adam's kind of optimizer it has a ``beta2``, with SGD a ``momentum``."""

    corpus: str
    setting: str
    lr: float
    beta2: float | None
    momentum: float | None
    seed: int
    updates: int
    further: tuple[str, ...] = ()  # options of fairseq-train of the whole study or block

    @classmethod
    def of(cls, fields: dict) -> "Cell":
        """The cell with these fields, as ``fields`` gives them and JSON keeps them; other entries are left out."""
        known = {name: fields[name] for name in cls.__dataclass_fields__}
        return cls(**known | {"further": tuple(known["further"])})

    @property
    def fields(self) -> dict:
        """The fields by name, for JSON."""
        return asdict(self)

    @property
    def name(self) -> str:
        """The cell's directory below ``cells``: the corpus, and a name within it."""
        moment = f"beta2-{self.beta2:g}" if self.momentum is None else f"momentum-{self.momentum:g}"
        name = f"{self.setting}-lr{self.lr:g}-{moment}-seed{self.seed}-{self.updates}updates"
        return f"{self.corpus}/" + re.sub(r"[^\w.-]+", "-", " ".join([name, *self.further]))

    @property
    def row(self) -> Setting:
        """The cell's row in the table of settings."""
        return SETTINGS[self.setting]

    def options(self) -> list[str]:
        """The options of fairseq-train that make the cell, as far as they are known before any training."""
        return [
            *("--lr", f"{self.lr:g}", "--max-update", str(self.updates)),
            *("--no-epoch-checkpoints", "--save-interval-updates", str(SAVE_EVERY)),
            *self._optimizer(),
            *self.row.options_of(self),
            *self.further,
        ]

    def _optimizer(self) -> tuple[str, ...]:
        if self.momentum is not None:
            return ("--optimizer", "sgd", "--momentum", f"{self.momentum:g}")
        return ("--optimizer", self.row.optimizer, "--adam-betas", f"({self.row.beta1:g}, {self.beta2:g})")

    def launch(self, corpus: Path, save_dir: Path, device: str, further: Iterable[str] = ()) -> list[str]:
        """The arguments of ``gradinit_mt.training.launch``."""
        own = [str(corpus), "--save-dir", str(save_dir), "--preset", PRESET, "--seed", str(self.seed)]
        whole = ("--watch-updates", "0")  # a run that fails makes all its updates, and is read at its end like others
        return [*own, "--device", device, "--processes", "1", "--", *whole, *self.options(), *further]


def by_name(options: Iterable[str]) -> dict[str, str]:
    """Options of fairseq-train by name, with their values as text: ``set`` for a flag, the last of a repeated one."""
    found: dict[str, list[str]] = {}
    name = ""
    for part in options:
        if part.startswith("--"):
            name, equals, value = part.partition("=")
            found[name] = [value] if equals else []
        else:
            found.setdefault(name, []).append(part)
    return {name: " ".join(values) or "set" for name, values in found.items()}
