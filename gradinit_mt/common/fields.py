"""Dataclass fields from which fairseq makes command-line options."""

from dataclasses import field
from typing import Any


def option(text: str, default: object = None) -> Any:  # of any type, as dataclasses.field is
    """A field with the help text of its option; a default of None means not given."""
    return field(default=default, metadata={"help": text})
