"""Reading and writing corpus files safely: strict UTF-8, counted lines, and no half-written results."""

import gzip
import hashlib
import json
import os
import shutil
import tempfile
import zlib
from contextlib import contextmanager
from pathlib import Path

from gradinit_mt.errors import UserError


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


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def write_json(path: Path, value) -> None:
    """Writes JSON under a temporary name and renames it, so that ``path`` is never half written."""
    path = Path(path)
    temporary = path.with_name(path.name + ".tmp")
    try:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def new_directory(path: Path):
    """Yields a temporary sibling of ``path`` that becomes ``path`` when the block ends without an error.

    On any exception, an interrupt included, the temporary directory is removed and ``path`` does not appear.

    Raises:
        CorpusError: ``path`` exists already (nothing is ever overwritten).
    """
    path = Path(path)
    if os.path.lexists(path):
        kind = "a symbolic link to nothing" if not path.exists() else "exists already"
        raise CorpusError(f"{path}: {kind}; name another output or remove it first")
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        temporary.rename(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise
