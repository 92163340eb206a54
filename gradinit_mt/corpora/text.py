"""Strict reading and writing of text: UTF-8, with lines that end only at newlines."""

import codecs
import gzip
import zlib
from pathlib import Path

from gradinit_mt.common.errors import UserError

Sides = dict[str, list[str]]  # language -> lines
Text = dict[str, Sides]  # split -> language -> lines

GZIPPED = b"\x1f\x8b"  # the first bytes of a gzipped file; no UTF-8 text has them


def find_text(prefix: Path, lang: str) -> Path:
    """The file ``prefix.lang`` or ``prefix.lang.gz``.

    Raises:
        UserError: neither exists.
    """
    for path in (Path(f"{prefix}.{lang}"), Path(f"{prefix}.{lang}.gz")):
        if path.is_file():
            return path
    raise UserError(f"{prefix}.{lang}: no such file, plain or gzipped (.gz); check the prefix and the language code")


def read_lines(path: Path) -> list[str]:
    """All lines of a plain or gzipped text file, see ``split_lines``.

    Raises:
        UserError: the file is missing, is gzipped without a name that ends in .gz or the reverse, or is not UTF-8.
    """
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read ({error})") from error
    if path.suffix != ".gz" and data.startswith(GZIPPED):
        raise UserError(f"{path}: gzipped text; give the file a name that ends in .gz")
    return split_lines(data, str(path))


def split_lines(data: bytes, name: str) -> list[str]:
    """The lines of a UTF-8 text, split only at ``\\n``, without it and without a byte order mark.

    Raises:
        UserError: it is not UTF-8 (states ``name`` and the line).
    """
    data = data.removeprefix(codecs.BOM_UTF8)  # or it would be part of the first word
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise UserError(f"{name}, line {line}: not valid UTF-8; convert the file first (iconv -t utf-8)") from error
    return text.removesuffix("\n").split("\n") if text else []


def require_equal(sides: Sides, remedy: str) -> None:
    """Raises UserError unless all ``sides``, here by file name, have the same number of lines."""
    if len({len(lines) for lines in sides.values()}) > 1:
        raise UserError(f"{', '.join(f'{name} has {len(lines):,} lines' for name, lines in sides.items())}; {remedy}")


def require_short(lines: list[str], limit: int | None, name: str, remedy: str) -> None:
    """Checks the lengths of subword text.

    Args:
        lines: their subwords are separated by spaces.
        limit: the most subwords of a line, with the end of the sentence; None: no limit.
        name: of the text, for the message.
        remedy: for the message; ``{size}`` stands for the length of the line.

    Raises:
        UserError: a line is longer.
    """
    for number, line in enumerate(lines, start=1):
        size = line.count(" ") + 2
        if limit is not None and size > limit:
            raise UserError(
                f"{name}, line {number}: {size:,} subwords with its end, expected at most {limit:,}; "
                f"{remedy.format(size=size)}"
            )


def write_lines(path: Path, lines: list[str]) -> None:
    """Writes lines as UTF-8, each followed by ``\\n``."""
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(line + "\n" for line in lines)
