"""The file that names what the study trains, checked as a whole before anything starts."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from comparison.settings import ALL, SETTINGS, WARMUPS
from gradinit_mt.common.errors import UserError


@dataclass(frozen=True)
class Field:
    """What a field of the file may hold."""

    expected: str
    holds: Callable[[object], bool]
    required: bool = True


def number(value: object, low: float = -math.inf, high: float = math.inf) -> bool:
    """Whether this is a number, from ``low`` to below ``high``."""
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value < high


def whole(value: object, low: float = -math.inf) -> bool:
    """Whether this is a whole number of at least ``low``."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= low


def _each(value: object, holds: Callable[[object], bool]) -> bool:
    return isinstance(value, list) and bool(value) and all(map(holds, value))


def texts(value: object) -> bool:
    """Whether this is a list of texts."""
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _rows(value: object) -> bool:
    return _each(value, lambda name: isinstance(name, str) and name in SETTINGS)


MOMENTS = Field("a list of numbers from 0 to below 1", lambda value: _each(value, lambda x: number(x, 0, 1)), False)
UPDATES = Field("a whole number above 0", lambda value: whole(value, 1))
SEED = Field("a whole number, at least 0", lambda value: whole(value, 0))
FURTHER = Field("a list of options of fairseq-train, with numbers in quotes", texts, False)
NAMES = ", ".join(SETTINGS)

TUNING = {
    "seed": SEED,
    "updates": UPDATES,
    "beta2": Field("a number from 0 to below 1", lambda value: number(value, 0, 1), False),
    "lengths": Field(
        f"a list of {', '.join(map(str, WARMUPS))}", lambda value: _each(value, lambda length: length in WARMUPS)
    ),
}
STAGE = {
    "settings": Field(f"all, trained, or a list of {NAMES}", lambda value: value in ("all", "trained") or _rows(value)),
    "lr": Field(
        "a list of numbers above 0 (YAML takes 1e-3 for text: write 0.001)",
        lambda value: _each(value, lambda x: number(x, 0, math.inf) and x != 0),
    ),
    "seeds": Field("a list of whole numbers, at least 0", lambda value: _each(value, lambda x: whole(x, 0))),
}
BLOCK = {
    "about": Field("text: what the block is about", lambda value: isinstance(value, str)),
    "corpus": Field("the name of a prepared corpus", lambda value: isinstance(value, str)),
    "updates": UPDATES,
    "beta2": MOMENTS,
    "momentum": MOMENTS,
    "bleu": Field("true or false", lambda value: isinstance(value, bool), False),
    "further": FURTHER,
    "stages": Field("a list of stages", lambda value: _each(value, lambda x: isinstance(x, dict))),
}
WHOLE = {
    "baselines": Field(f"a list of {NAMES}", _rows),
    "tuning": Field(
        "a seed, a number of updates, lengths and perhaps a beta2, by name", lambda value: isinstance(value, dict)
    ),
    "further": FURTHER,
    "blocks": Field("blocks by name", lambda value: isinstance(value, dict) and bool(value)),
}


def load(path: Path) -> dict:
    """The configuration in a file.

    Raises:
        UserError: it is not YAML in UTF-8, or a field is missing, unknown, or holds something else than is expected.
    """
    try:
        config = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not YAML in UTF-8: {error}") from error
    _check(config, WHOLE, str(path))
    _check(config["tuning"], TUNING, f"{path}, tuning")
    for name, block in config["blocks"].items():
        where = f"{path}, block {name}"
        _check(block, BLOCK, where)
        if not block.keys() & {"beta2", "momentum"}:
            raise UserError(f"{where} has neither beta2 nor momentum: give it beta2 for Adam, or momentum for SGD")
        for number, stage in enumerate(block["stages"], start=1):
            _check(stage, STAGE, f"{where}, stage {number}")
            if "momentum" in block:
                _require_rows_of_sgd(stage["settings"], f"{where}, stage {number}")
    _require_trained(config["baselines"], config["blocks"], str(path))
    return config


def _check(given: object, fields: dict[str, Field], where: str) -> None:
    if not isinstance(given, dict):
        raise UserError(f"{where} is {given!r}, expected the fields {', '.join(fields)}")
    for name in given:
        if name not in fields:
            raise UserError(f"{where} has the unknown field {name}: expected of {', '.join(fields)}")
    for name, field in fields.items():
        if name not in given and field.required:
            raise UserError(f"{where} has no {name}: expected {field.expected}")
        if name in given and not field.holds(given[name]):
            raise UserError(f"{where}: {name} is {given[name]!r}, expected {field.expected}")


def _require_trained(baselines: list[str], blocks: dict[str, dict], where: str) -> None:
    """Refuses baselines that no block trains: no score would ever be compared with theirs."""
    trained = {name for block in blocks.values() for stage in block["stages"] for name in _named(stage["settings"])}
    if missing := [name for name in baselines if name not in trained]:
        raise UserError(f"{where}: no block trains {', '.join(missing)}: add it to one, or choose other baselines")


def _named(settings: str | list[str]) -> Sequence[str]:
    """The settings that a stage names; one of those that trained names none."""
    return ALL if settings == "all" else () if settings == "trained" else settings


def _require_rows_of_sgd(settings: str | list[str], where: str) -> None:
    """Refuses rows that are about Adam; a stage of those that trained leaves them out by itself."""
    if wrong := [name for name in _named(settings) if SETTINGS[name].needs_adam]:
        raise UserError(f"{where}: {', '.join(wrong)} change Adam, but momentum makes cells of SGD: leave them out")
