"""Writing files and directories whole or not at all, and their checksums."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gradinit_mt.common.errors import UserError


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yields a temporary name beside ``path`` that becomes ``path`` when the block ends without an error.

    On any exception, an interrupt included, the temporary file is removed and ``path`` is what it was before.
    """
    path = Path(path)
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        yield temporary
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def require_new(path: Path) -> None:
    """Raises UserError where ``path`` exists, if only as a symbolic link to nothing: nothing is ever overwritten."""
    if os.path.lexists(path):
        kind = "exists already" if Path(path).exists() else "a symbolic link to nothing"
        raise UserError(f"{path}: {kind}; name another output or remove it first")


@contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """Yields a temporary sibling of ``path`` that becomes ``path`` when the block ends without an error.

    On any exception, an interrupt included, the temporary directory is removed and ``path`` does not appear.

    Raises:
        UserError: ``path`` exists already.
    """
    path = Path(path)
    require_new(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    try:
        yield temporary
        temporary.chmod(0o755)
        temporary.rename(path)
    except BaseException:
        shutil.rmtree(temporary, ignore_errors=True)
        raise


def write_json(path: Path, value: object) -> None:
    """Writes JSON, whole or not at all."""
    text = json.dumps(value, indent=2, ensure_ascii=False) + "\n"
    with whole(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
