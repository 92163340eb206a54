"""What the names, paths and dictionaries of a prepared corpus must be."""

import os
import re
from pathlib import Path

from gradinit_mt.common.errors import UserError
from gradinit_mt.corpora.text import read_lines


def require_language(lang: str) -> None:
    """Raises UserError if the code cannot be part of file names and of fairseq's language pair."""
    if not re.fullmatch(r"\w+", lang, re.ASCII):
        raise UserError(f"language {lang!r}: expected only letters, digits and underscores, like de")


def require_plain_name(name: str) -> None:
    """Raises UserError if the corpus's name, which becomes part of directories, is not that of a file."""
    if not re.fullmatch(r"[^\s/.][^\n/]*", name):
        raise UserError(f"the corpus's name is {name!r}, expected one without slashes that begins with no dot or space")


def require_plain_path(path: Path) -> None:
    """Raises UserError if fairseq or this project's own files could not hold the path.

    fairseq splits its arguments DATA and ``--path`` at a ``:``, and looks up another option at ``${``.
    """
    found = path.resolve()
    for part, reason in ((os.pathsep, "splits paths at"), ("${", "looks up another option at")):
        if part in str(found):
            raise UserError(f"{found}: fairseq {reason} {part!r}; give a path without it")
    try:
        str(found).encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{str(found)!r}: not valid UTF-8; give another path") from error


def require_dictionary(path: Path, entries: int) -> None:
    """Checks a dictionary of fairseq, one symbol and its count per line.

    Args:
        path: of the dictionary.
        entries: the number of symbols that the corpus was prepared with, including fairseq's four special ones.

    Raises:
        UserError: it has another number of symbols, or one of them twice.
    """
    symbols = [line.rpartition(" ")[0] for line in read_lines(path)]
    if len(symbols) + 4 != entries:
        raise UserError(
            f"{path}: {len(symbols):,} symbols, expected {entries - 4:,}: the dictionary of another corpus; prepare it "
            "again"
        )
    if len({*symbols}) < len(symbols):
        twice = next(symbol for number, symbol in enumerate(symbols) if symbol in symbols[:number])
        raise UserError(f"{path}: holds {twice!r} twice; prepare the corpus again")
