"""Whether anything in a folder changed."""

import hashlib
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path


def snapshot(folder: Path, besides: Collection[str] = ()) -> dict[str, str]:
    """Everything below the folder by its name there: the target of a link, the size and checksum of a file."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name in besides:
            continue
        if path.is_symlink():
            found[name] = f"link to {path.readlink()}"
        elif path.is_file():
            content = path.read_bytes()
            found[name] = f"{len(content)} bytes, {hashlib.sha256(content).hexdigest()}"
        else:
            found[name] = "folder"
    return found


@contextmanager
def unchanged(folder: Path, besides: Collection[str] = ()) -> Iterator[None]:
    """Checks that the block leaves the folder as it was, hidden and temporary files included, except these names."""
    before = snapshot(folder, besides)
    yield
    assert snapshot(folder, besides) == before
