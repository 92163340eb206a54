"""Downloads a public archive, resuming after interruptions, and reads its files."""

import gzip
import http.client
import io
import os
import re
import tarfile
import urllib.request
import zlib
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from gradinit_mt.common.errors import UserError
from gradinit_mt.common.lock import locked

BLOCK = 1 << 16
TIMEOUT = 60  # seconds without a byte
UNPACKED_LIMIT = 512 << 20  # bytes


def download(url: str, path: Path, size: int) -> None:
    """Downloads the ``size`` bytes of ``url`` to ``path``; does nothing if that file exists.

    The bytes go to ``path.part``, which is renamed once it is complete. An interrupted download is resumed.

    Raises:
        UserError: the server cannot be reached, offers another size, or breaks off; ``path`` has another size; or
            another program is downloading it.
    """
    if path.exists():
        if path.stat().st_size != size:
            raise UserError(
                f"{path}: has {path.stat().st_size:,} bytes, expected {size:,}; remove it to download it again"
            )
        return
    if not url.startswith(("http://", "https://")):
        raise UserError(f"{url}: expected an address that begins with http:// or https://")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    busy = f"{part}: another program is downloading it; wait until it has ended"
    with locked(part, busy) as held:
        if not os.fstat(held).st_nlink:  # the other one has removed it before it could be locked here
            raise UserError(busy)
        try:
            if not path.exists():  # the other one may have just ended
                _complete(url, part, size)
                part.rename(path)
        finally:
            if part.exists() and not part.stat().st_size:
                part.unlink()


def _complete(url: str, part: Path, size: int) -> None:
    start = part.stat().st_size
    start = start if start <= size else 0  # a longer one is not a part of it
    try:
        if start < size:
            start = fetch(url, part, start, size)
    except UserError:
        raise
    except (http.client.HTTPException, OSError, ValueError) as error:  # ValueError: not a valid address
        raise UserError(f"{url}: cannot be downloaded ({error}); run again to resume") from error
    if start != size:
        raise UserError(f"{url}: broke off at {start:,} of {size:,} bytes; run again to resume")


def fetch(url: str, part: Path, start: int, size: int) -> int:
    """Appends the bytes from ``start`` on to ``part``, or writes it anew if the server does not resume.

    Returns:
        The size of ``part``.

    Raises:
        UserError: the server offers another size than ``size``; ``part`` is unchanged.
    """
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        if response.status == http.client.PARTIAL_CONTENT:
            span = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
            if span is None or int(span[1]) != start:
                raise UserError(f"{url}: requested the bytes from {start}, got others; remove {part} and run again")
            offered = int(span[2])
        else:
            start = 0
            offered = int(response.headers.get("Content-Length", size))
        if offered != size:
            raise UserError(
                f"{url}: offers {offered:,} bytes, expected {size:,}, so it is another file; "
                "give the right address with --url or a local file with --archive"
            )
        bar = tqdm(total=size, initial=start, desc=part.stem, unit="B", unit_scale=True, disable=None)
        with part.open("ab" if start else "wb") as file, bar:
            # never more than announced, whatever the server sends
            while block := response.read(min(BLOCK, size - start)):
                file.write(block)
                start += len(block)
                bar.update(len(block))
    return start


def read_archive(archive: Path) -> dict[str, bytes]:
    """The regular files of a gzipped tar by name. Nothing is written to disk, so no member can do harm.

    Raises:
        UserError: it is not such an archive, or unpacks to more than 512 MiB.
    """
    try:
        with gzip.open(archive) as file:
            data = file.read(UNPACKED_LIMIT + 1)
        if len(data) > UNPACKED_LIMIT:
            raise UserError(f"{archive}: unpacks to more than {UNPACKED_LIMIT:,} bytes, so it is another archive")
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            return {
                str(PurePosixPath(member.name)): data[member.offset_data : member.offset_data + member.size]
                for member in tar
                if member.isreg()
            }
    except (OSError, EOFError, zlib.error, tarfile.TarError) as error:
        raise UserError(
            f"{archive}: cannot be read as a gzipped tar archive ({error}); "
            "if it was downloaded, remove it and run again"
        ) from error
