"""Reading and writing text strictly: UTF-8, lines that end at newlines alone."""

import gzip
import zlib
from pathlib import Path

from gradinit_mt.common.errors import UserError


class CorpusError(UserError):
    """Input or output that a preparation cannot go on with; the message names the file and the remedy."""


def find_text(prefix: Path, lang: str) -> Path:
    """The file ``prefix.lang`` or ``prefix.lang.gz``.

    Raises:
        CorpusError: neither exists.
    """
    for path in (Path(f"{prefix}.{lang}"), Path(f"{prefix}.{lang}.gz")):
        if path.is_file():
            return path
    raise CorpusError(f"{prefix}.{lang}: no such file, plain or gzipped (.gz); check the prefix and the language code")


def read_lines(path: Path) -> list[str]:
    """All lines of a plain or gzipped UTF-8 text, split at ``\\n`` alone, without their ends.

    Raises:
        CorpusError: the file is missing, is not gzip where its name says so, or is not UTF-8 (names the line).
    """
    path = Path(path)
    try:
        data = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    except (OSError, EOFError, zlib.error) as error:
        raise CorpusError(f"{path}: cannot be read ({error})") from error
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        raise CorpusError(f"{path}, line {line}: not valid UTF-8; convert the file first (iconv -t utf-8)") from error
    lines = text.split("\n")
    if lines[-1] == "":
        lines.pop()
    return lines


def write_lines(path: Path, lines: list[str]) -> None:
    """Writes lines as UTF-8 with ``\\n`` ends."""
    with open(path, "w", encoding="utf-8", newline="\n") as file:
        file.writelines(line + "\n" for line in lines)
