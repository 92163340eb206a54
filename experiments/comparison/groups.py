"""The readings of one setting at one rate over seeds, and the parts of the study that a table or a picture shows."""

import re
import statistics
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass

from comparison.plan import trains
from comparison.settings import LENGTHS, SETTINGS

TUNED = "warmup-tuned"


@dataclass(frozen=True, order=True)
class Part:
    """What the cells of one table have in common."""

    corpus: str
    updates: int
    further: tuple[str, ...]
    optimizer: str  # "Adam" or "SGD"
    moment: float  # beta2 or momentum

    @classmethod
    def of(cls, reading: dict) -> "Part":
        """The part of a reading."""
        sgd = reading["momentum"] is not None
        moment = reading["momentum"] if sgd else reading["beta2"]
        own = (reading["corpus"], reading["updates"], tuple(reading["further"]))
        return cls(*own, "SGD" if sgd else "Adam", moment)

    @property
    def title(self) -> str:
        """For headings."""
        moment = f"momentum {self.moment:g}" if self.optimizer == "SGD" else f"beta2 {self.moment:g}"
        return ", ".join([self.corpus, f"{self.updates:,} updates", f"{self.optimizer}, {moment}", *self._further()])

    @property
    def name(self) -> str:
        """For names of files."""
        name = f"{self.corpus}-{self.updates}-{self.optimizer.lower()}-{self.moment:g}"
        return re.sub(r"[^\w.-]+", "-", " ".join([name, *self.further]))

    def _further(self) -> list[str]:
        return [" ".join(self.further)] if self.further else []


@dataclass(frozen=True)
class Group:
    """The readings of one setting at one rate, over seeds."""

    setting: str
    lr: float
    readings: tuple[dict, ...]

    def values(self, measure: Callable[[dict], float | None]) -> list[float]:
        """One value per seed, without the seeds that have none."""
        return [value for reading in self.readings if (value := measure(reading)) is not None]

    def mean(self, measure: Callable[[dict], float | None]) -> float | None:
        """The mean over the seeds that have a value."""
        values = self.values(measure)
        return statistics.mean(values) if values else None

    @property
    def diverged(self) -> int:
        """The number of seeds whose loss became infinite or nan."""
        return sum(reading["end"] == "diverged" for reading in self.readings)

    @property
    def failed(self) -> int:
        """The number of seeds that diverged, or whose model hardly uses its source."""
        return sum(not trains(reading) for reading in self.readings)


def by_part(readings: list[dict]) -> dict[Part, list[Group]]:
    """The groups of each part: settings in the order of their table, then by rate; parts with more readings first.

    A length of warmup is left out where it was trained to choose the one of warmup-tuned: on a seed that no other
    setting of its corpus has.
    """
    tuned = {reading["corpus"] for reading in readings if reading["setting"] == TUNED}
    seeds = {(reading["corpus"], reading["seed"]) for reading in readings if reading["setting"] not in LENGTHS}
    found: dict[Part, dict[tuple[str, float], list[dict]]] = defaultdict(lambda: defaultdict(list))
    for reading in readings:
        chosen_among = reading["setting"] in LENGTHS and reading["corpus"] in tuned
        if not chosen_among or (reading["corpus"], reading["seed"]) in seeds:
            found[Part.of(reading)][reading["setting"], reading["lr"]].append(reading)
    names = list(SETTINGS)
    return {
        part: [
            Group(*key, tuple(sorted(groups[key], key=lambda reading: reading["seed"])))
            for key in sorted(groups, key=lambda key: (names.index(key[0]), key[1]))
        ]
        for part, groups in sorted(found.items(), key=lambda item: (-_count(item[1]), item[0]))
    }


def _count(groups: dict[tuple[str, float], list[dict]]) -> int:
    return sum(len(group) for group in groups.values())


def rates_of(groups: list[Group]) -> list[float]:
    """The learning rates of these groups, in ascending order."""
    return sorted({group.lr for group in groups})
