"""Dataclasses that are kept as JSON files, which may be of another version or damaged when they are read."""

import dataclasses
import json
from pathlib import Path
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

from gradinit_mt.common.errors import UserError

DIRECTORY = "directory"  # the field that says where the file was found


def to_store(value: Any) -> dict[str, Any]:
    """The content of the file: every field of a dataclass but its ``directory``."""
    return {name: item for name, item in dataclasses.asdict(value).items() if name != DIRECTORY}


def read_stored(path: Path, kind: type, remedy: str) -> dict[str, Any]:
    """The fields of a dataclass in a JSON file.

    Args:
        path: the file.
        kind: the dataclass. Its field ``format`` has the expected number as its default; the other fields are of the
            types ``str``, ``int``, ``bool``, ``None`` or ``dict``, or unions of them.
        remedy: for messages.

    Raises:
        UserError: it is not JSON, of another format, or an entry is missing, unknown or of another type.
        OSError: the file cannot be opened.
    """
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: cannot be read ({error}); {remedy}") from error
    expected = {field.name: field.default for field in dataclasses.fields(kind)}["format"]
    found = stored.get("format") if isinstance(stored, dict) else type(stored).__name__
    if found != expected:
        raise UserError(f"{path}: format {found}, expected {expected}; {remedy}")
    types = {name: item for name, item in get_type_hints(kind).items() if name != DIRECTORY}
    wrong = {*types} ^ {*stored} | {name for name, item in types.items() if not _is_a(stored.get(name), item)}
    if wrong:
        raise UserError(f"{path}: missing, unknown or of another type: {', '.join(sorted(wrong))}; {remedy}")
    return stored


def _is_a(value: object, kind: Any) -> bool:
    if isinstance(kind, UnionType):
        return any(_is_a(value, one) for one in get_args(kind))
    if get_origin(kind) is dict:
        return isinstance(value, dict) and all(_is_a(item, get_args(kind)[1]) for item in value.values())
    return type(value) is kind  # True is no number
