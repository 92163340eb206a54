"""Atomic writing of files and directories, and checksums."""

import contextlib
import errno
import hashlib
import json
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gradinit_mt.common.errors import UserError


@contextmanager
def atomic_write(path: Path, shared: bool = False) -> Iterator[Path]:
    """Yields a temporary name beside ``path``; the file is renamed to ``path`` when the block succeeds.

    The file is on the disk before it has its name, and the name before this returns: a power failure leaves the old
    file or the new one. After any exception, including Ctrl-C, the temporary file is removed and ``path`` is unchanged.

    If ``shared``, several processes may write the file at once: no other has this temporary name.
    """
    temporary = temporary_name(path, f".{secrets.token_hex(4)}" if shared else "")
    try:
        yield temporary
        _sync(temporary)
        temporary.replace(path)
        _sync(path.parent)
    except OSError as error:
        if error.filename is None:  # a write that failed does not name its file
            raise OSError(error.errno, error.strerror, str(path)) from error
        raise
    finally:
        temporary.unlink(missing_ok=True)


def temporary_name(path: Path, mark: str = "") -> Path:
    """The name under which ``atomic_write`` writes ``path``, and which a killed process leaves behind."""
    return path.with_name(f".{path.stem}{mark}{path.suffix}.tmp")


def _sync(path: Path) -> None:
    """Waits until a file is on the disk, or a directory where the file system can do that."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP) or not path.is_dir():
            raise
    finally:
        os.close(descriptor)


def require_new(path: Path) -> None:
    """Raises UserError if ``path`` exists, even as a broken symbolic link: results are never overwritten."""
    if os.path.lexists(path):
        kind = "already exists" if path.exists() else "a broken symbolic link"
        raise UserError(f"{path}: {kind}; name another output, or remove it first")


@contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """Yields a temporary directory beside ``path``, renamed to ``path`` when the block succeeds.

    After any exception, including Ctrl-C, the temporary directory is removed and ``path`` does not exist.

    Raises:
        UserError: ``path`` already exists, also since the block began; it cannot be made; or the disk is full.
    """
    require_new(path)
    with (
        _parents_of(path),
        tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent, ignore_cleanup_errors=True) as temporary,
    ):
        try:
            yield Path(temporary)
        except OSError as error:
            if error.filename is None:  # a write that failed does not name its file
                raise UserError(f"{path}: cannot be written ({error.strerror}); make room, and run again") from error
            raise
        mask = os.umask(0)
        os.umask(mask)
        Path(temporary).chmod(0o777 & ~mask)
        try:
            Path(temporary).rename(path)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR):
                raise
            raise UserError(
                f"{path}: another command has made it meanwhile, and this one's output is dropped; use that, or name "
                "another output and run again"
            ) from error


@contextmanager
def _parents_of(path: Path) -> Iterator[None]:
    """Makes the missing directories above ``path``. After an exception it removes those that are empty."""
    missing = [parent for parent in path.parents if not parent.exists()]
    try:
        make_directory(path.parent)
        yield
    except BaseException:
        with contextlib.suppress(OSError):  # one that is not empty stays, with those above it
            for parent in missing:
                parent.rmdir()
        raise


def make_directory(path: Path) -> None:
    """Makes a directory and those above it; raises UserError if that cannot be done."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{path}: cannot be made a directory ({error.strerror}); name another place") from error


def copy_file(source: Path, target: Path) -> None:
    """Copies a file atomically, in place of an earlier one."""
    with atomic_write(target) as temporary:
        shutil.copyfile(source, temporary)


def write_text(path: Path, text: str) -> None:
    """Writes text as UTF-8 atomically, in place of an earlier file."""
    with atomic_write(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def write_json(path: Path, value: object, shared: bool = False) -> None:
    """Writes JSON atomically, in place of an earlier file; for ``shared`` see ``atomic_write``."""
    with atomic_write(path, shared) as temporary:
        temporary.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def sha256(path: Path) -> str:
    """Hexadecimal SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
