"""The report's tables: rows of text that Markdown and the page share, and the same numbers as CSV."""

import csv
import io
import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from comparison import measures
from comparison.cells import by_name
from comparison.groups import Group, Part, rates_of
from comparison.settings import SETTINGS
from gradinit_mt.common.tables import markdown, spread


@dataclass(frozen=True)
class Table:
    """A heading, the names of the columns, and rows of text."""

    title: str
    columns: list[str]
    rows: list[list[str]]

    def markdown(self) -> str:
        """As a Markdown section."""
        return f"## {self.title}\n\n{markdown(self.columns, self.rows)}"


def over_seeds(group: Group, value: Callable[[dict], float | None]) -> str:
    """Mean and standard deviation, and of how many seeds if not of all that did not diverge; empty without values."""
    values = group.values(value)
    return spread(values) + (f" ({len(values)})" if 0 < len(values) < len(group.readings) - group.diverged else "")


def with_failures(group: Group, value: Callable[[dict], float | None]) -> str:
    """The same, and how many seeds failed."""
    if group.diverged == len(group.readings):
        return "diverged"
    failed = f"({group.failed} of {len(group.readings)} failed)" if group.failed else ""
    return f"{over_seeds(group, value)} {failed}".strip()


def by_rate(part: Part, groups: list[Group], name: str, value: Callable[[dict], float | None]) -> Table:
    """One row per setting, one column per rate."""
    at = {(group.setting, group.lr): group for group in groups}
    shown = rates_of(groups)
    rows = [
        [SETTINGS[setting].section, setting]
        + [with_failures(at[setting, lr], value) if (setting, lr) in at else "" for lr in shown]
        for setting in dict.fromkeys(group.setting for group in groups)
    ]
    return Table(f"{part.title}: {name}", ["section", "setting", *(f"lr {lr:g}" for lr in shown)], rows)


def details(part: Part, groups: list[Group], baselines: list[str]) -> Table:
    """Everything that was measured, one row per setting and rate; columns that no row fills are left out."""
    columns: dict[str, Callable[[Group], str]] = {
        "section": lambda group: SETTINGS[group.setting].section,
        "setting": lambda group: group.setting,
        "lr": lambda group: f"{group.lr:g}",
        "seeds": lambda group: ", ".join(str(reading["seed"]) for reading in group.readings),
        "failed": lambda group: str(group.failed),
        "diverged": lambda group: str(group.diverged),
        "training loss": lambda group: over_seeds(group, measures.training),
        "validation loss": lambda group: over_seeds(group, measures.validation),
        "source gain": lambda group: over_seeds(group, measures.gain),
        "BLEU": lambda group: over_seeds(group, measures.bleu),
        **{f"BLEU - {name}": partial(_differences, baseline=name) for name in baselines},
        "tokenized BLEU": lambda group: over_seeds(group, measures.tokenized_bleu),
        "chrF2": lambda group: over_seeds(group, measures.chrf),
        "seconds": lambda group: _by_device(group, measures.seconds),
        "without initialization": lambda group: _by_device(group, measures.training_seconds),
        "initialization": lambda group: _by_device(group, measures.initialization_seconds),
        "warmup": lambda group: _warmup(group.readings[0]),
        "precision": lambda group: ", ".join(sorted({r["precision"] for r in group.readings if r["precision"]})),
        "device": lambda group: ", ".join(sorted({r["device"] for r in group.readings if r.get("device")})),
    }
    rows = [[value(group) for value in columns.values()] for group in groups]
    filled = [number for number in range(len(columns)) if any(row[number] for row in rows)]
    names = list(columns)
    return Table(part.title, [names[number] for number in filled], [[row[number] for number in filled] for row in rows])


def _differences(group: Group, baseline: str) -> str:
    tests = {reading["seed"]: reading.get("paired", {}).get(baseline) for reading in group.readings}
    return "; ".join(f"{test['difference']:+.2f} (seed {seed}{_p(test)})" for seed, test in tests.items() if test)


def _p(test: dict) -> str:
    """Some early tests lack it: see docs/results/comparison/README.md."""
    return f", p {test['p']:.3f}" if "p" in test else ""


def _by_device(group: Group, value: Callable[[dict], float | None]) -> str:
    """A time, apart for each device on which the runs were made."""
    devices = {reading.get("device", "") for reading in group.readings}
    alike = {name: [r for r in group.readings if r.get("device", "") == name] for name in sorted(devices)}
    times = {name: spread([t for r in readings if (t := value(r)) is not None], 0) for name, readings in alike.items()}
    return "; ".join(f"{time} ({name})" if len(times) > 1 and name else time for name, time in times.items() if time)


def _warmup(reading: dict) -> str:
    return by_name([*reading["options"], *reading["chosen"]]).get("--warmup-updates", "")


def conditions(found: dict[Part, list[Group]]) -> Table:
    """With what the runs of each part were made; a run of an earlier program did not state it."""
    rows = []
    for part, groups in found.items():
        readings = [reading for group in groups for reading in group.readings]
        stating = [reading for reading in readings if reading.get("data_sha256")]
        row = [
            _each(f"{reading['tokens_per_update']:,}" for reading in stating),
            _each(f"{name} {size:,}" for reading in stating for name, size in reading["vocabulary"].items()),
            _each(f"{reading['parameters']:,}" for reading in stating if reading["parameters"]),
            _each(
                f"{name} {digest[:12]}"
                for reading in stating
                for name, digest in reading["data_sha256"].items()
                if name.startswith("train.")
            ),
        ]
        rows.append([part.title, f"{len(stating)} of {len(readings)}", *row])
    columns = ["runs", "that state it", "tokens per update", "vocabulary", "parameters", "SHA-256 of the subword text"]
    return Table("Conditions", columns, rows)


def _each(texts: Iterable[str]) -> str:
    return ", ".join(sorted(set(texts)))


def legend(settings: set[str]) -> Table:
    """What each of these settings is."""
    rows = [[row.section, name, row.about, row.caveat] for name, row in SETTINGS.items() if name in settings]
    return Table("Settings", ["section", "setting", "what", "note"], rows)


def signatures(readings: list[dict], name: str | None = None) -> list[str]:
    """The signatures of all scores of these readings, or of the score of that name."""
    found = {
        score["signature"]
        for reading in readings
        for splits in (reading.get("scores") or {}).values()
        for key, score in splits["test"].items()
        if isinstance(score, dict) and name in (None, key)
    }
    return sorted(found)


MEASURED: dict[str, Callable[[dict], float | None]] = {
    "training_loss": measures.training,
    "validation_loss": measures.validation,
    "smoothed_validation_loss": measures.smoothed,
    "source_gain": measures.gain,
    "bleu": measures.bleu,
    "tokenized_bleu": measures.tokenized_bleu,
    "chrf": measures.chrf,
    "seconds": measures.seconds,
    "seconds_without_initialization": measures.training_seconds,
    "initialization_seconds": measures.initialization_seconds,
}


def runs_csv(readings: list[dict], baselines: list[str]) -> str:
    """One line per run."""
    plain = ("corpus", "setting", "lr", "beta2", "momentum", "seed", "updates", "further", "end", "precision", "device")
    tests = [f"{what}_{name}" for name in baselines for what in ("bleu_difference", "p")]
    lines: list[list] = [[*plain, *MEASURED, "warmup", *tests, "bleu_signature"]]
    for reading in readings:
        fields = [" ".join(reading[name]) if name == "further" else reading.get(name) for name in plain]
        paired = [reading.get("paired", {}).get(name, {}) for name in baselines]
        tested = [test.get(what) for test in paired for what in ("difference", "p")]
        values = [value(reading) for value in MEASURED.values()]
        lines.append([*fields, *values, _warmup(reading), *tested, " ".join(signatures([reading], "detokenized_bleu"))])
    return _csv(lines)


def settings_csv(found: dict[Part, list[Group]]) -> str:
    """One line per setting and rate: mean, standard deviation and number of seeds of everything that was measured."""
    statistic = ("mean", "deviation", "seeds")
    names = [f"{name}_{kind}" for name in MEASURED for kind in statistic]
    lines: list[list] = [["corpus", "updates", "further", "optimizer", "moment", "setting", "lr"]]
    lines[0] += ["seeds", "failed", "diverged", *names]
    for part, groups in found.items():
        own = [part.corpus, part.updates, " ".join(part.further), part.optimizer, part.moment]
        for group in groups:
            counts = [len(group.readings), group.failed, group.diverged]
            measured = [number for value in MEASURED.values() for number in _statistics(group.values(value))]
            lines.append([*own, group.setting, group.lr, *counts, *measured])
    return _csv(lines)


def _statistics(values: list[float]) -> tuple[float | None, float | None, int]:
    mean = round(statistics.mean(values), 4) if values else None
    return mean, round(statistics.stdev(values), 4) if len(values) > 1 else None, len(values)


def _csv(lines: list[list]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()
