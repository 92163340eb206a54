"""Dataclasses kept as JSON: what was stored is read again, and anything else is named."""

import json
from dataclasses import dataclass
from pathlib import Path

import pytest

from gradinit_mt.common.errors import UserError
from gradinit_mt.common.files import write_json
from gradinit_mt.common.stored import read_stored, to_store


@dataclass
class Thing:
    directory: Path
    name: str
    sizes: dict[str, int]
    options: dict
    final: bool
    limit: int | None = None
    format: int = 4


@pytest.mark.parametrize("limit", [None, 7])
def test_what_was_stored_is_read_again(tmp_path, limit):
    thing = Thing(tmp_path, "a", {"x": 1}, {"y": [1, "z"]}, final=True, limit=limit)
    write_json(tmp_path / "thing.json", to_store(thing))
    assert Thing(directory=tmp_path, **read_stored(tmp_path / "thing.json", Thing, "make it again")) == thing


@pytest.mark.parametrize(
    ("change", "wrong"),
    [
        ({"name": 1}, "name"),
        ({"sizes": {"x": 1, "y": "2"}}, "sizes"),
        ({"sizes": [1]}, "sizes"),
        ({"limit": "7"}, "limit"),
        ({"limit": True}, "limit"),
        ({"final": 1}, "final"),
        ({"directory": "/"}, "directory"),
        ({"other": 1, "name": None}, "name, other"),
    ],
)
def test_entries_of_another_kind_are_named(tmp_path, change, wrong):
    path = tmp_path / "thing.json"
    write_json(path, to_store(Thing(tmp_path, "a", {}, {}, final=False)) | change)
    with pytest.raises(UserError, match=rf"json: missing, unknown or of another type: {wrong}; make it again"):
        read_stored(path, Thing, "make it again")


def test_a_missing_entry_is_named_even_if_it_has_a_default(tmp_path):
    stored = to_store(Thing(tmp_path, "a", {}, {}, final=False))
    del stored["limit"]
    (tmp_path / "thing.json").write_text(json.dumps(stored))
    with pytest.raises(UserError, match=r"another type: limit; make"):
        read_stored(tmp_path / "thing.json", Thing, "make it again")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read"),
        ("[" * 100_000, "cannot be read"),
        ("[]", "format list, expected 4"),
        ("{}", "format None, expected 4"),
        ('{"format": 3, "extra": 1}', "format 3, expected 4"),
    ],
)
def test_a_file_of_another_format_is_named(tmp_path, content, message):
    path = tmp_path / "thing.json"
    path.write_text(content)
    with pytest.raises(UserError, match=rf"thing\.json: {message}.*; make it again"):
        read_stored(path, Thing, "make it again")
