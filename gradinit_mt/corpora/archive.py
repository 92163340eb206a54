"""A public archive: fetched so that an interruption costs nothing, unpacked so that no member can do harm."""

import gzip
import http.client
import io
import re
import tarfile
import urllib.error
import urllib.request
import zlib
from pathlib import Path, PurePosixPath

from tqdm import tqdm

from gradinit_mt.corpora.text import CorpusError

BLOCK = 1 << 16
TIMEOUT = 60  # seconds without a byte
UNPACKED_LIMIT = 512 << 20  # bytes


def download(url: str, path: Path, size: int) -> None:
    """Fetches ``url``, which must hold ``size`` bytes, into ``path``; does nothing if that file is there already.

    The bytes go to ``path.part``, which is renamed when complete. Left by an interruption, it is resumed.

    Raises:
        CorpusError: the server cannot be reached, offers another size, or breaks off; or ``path`` has another size.
    """
    if path.exists():
        if path.stat().st_size != size:
            raise CorpusError(
                f"{path}: has {path.stat().st_size:,} bytes, expected {size:,}; remove it to fetch it again"
            )
        return
    if not url.startswith(("http://", "https://")):
        raise CorpusError(f"{url}: expected an address that begins with http:// or https://")
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    if part.exists() and part.stat().st_size > size:
        part.unlink()
    if not part.exists() or part.stat().st_size < size:
        try:
            fetch(url, part, size)
        except (urllib.error.URLError, http.client.HTTPException, OSError) as error:
            raise CorpusError(
                f"{url}: cannot be fetched ({error}); run again to go on from where it stopped"
            ) from error
    if part.stat().st_size != size:
        raise CorpusError(
            f"{url}: broke off at {part.stat().st_size:,} of {size:,} bytes; run again to go on from there"
        )
    part.rename(path)


def fetch(url: str, part: Path, size: int) -> None:
    """Appends what is missing to ``part``, or writes it anew if the server does not resume.

    Raises:
        CorpusError: the server offers another size than ``size``; ``part`` is left as it was.
    """
    start = part.stat().st_size if part.exists() else 0
    request = urllib.request.Request(url, headers={"Range": f"bytes={start}-"} if start else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
        if response.status == http.client.PARTIAL_CONTENT:
            span = re.fullmatch(r"bytes (\d+)-\d+/(\d+)", response.headers.get("Content-Range", ""))
            if span is None or int(span[1]) != start:
                raise CorpusError(f"{url}: asked for bytes from {start} on and got others; remove {part} and run again")
            offered = int(span[2])
        else:
            start = 0
            offered = int(response.headers.get("Content-Length", size))
        if offered != size:
            raise CorpusError(
                f"{url}: offers {offered:,} bytes, expected {size:,}: another file; "
                "give the right address by --url or a local file by --archive"
            )
        bar = tqdm(total=size, initial=start, desc=part.stem, unit="B", unit_scale=True, disable=None, mininterval=0.5)
        with part.open("ab" if start else "wb") as file, bar:
            # Never more than announced, whatever the server sends.
            while block := response.read(min(BLOCK, size - start)):
                file.write(block)
                start += len(block)
                bar.update(len(block))


def unpack(archive: Path, directory: Path) -> None:
    """Unpacks the regular files of a gzipped tar into ``directory``, which must be empty.

    Raises:
        CorpusError: it is not such an archive, unpacks to more than 512 MiB, or has a member that is no regular file,
            leads out of the directory, or appears twice (names the member). Whatever was unpacked before stays.
    """
    try:
        with gzip.open(archive) as file:
            data = file.read(UNPACKED_LIMIT + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise CorpusError(
            f"{archive}: cannot be read as a gzipped archive ({error}); if it was fetched, remove it and run again"
        ) from error
    if len(data) > UNPACKED_LIMIT:
        raise CorpusError(f"{archive}: unpacks to more than {UNPACKED_LIMIT:,} bytes; this cannot be the right archive")
    try:
        with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as tar:
            for member in tar:
                unpack_member(archive, tar, member, directory)
    except tarfile.TarError as error:
        raise CorpusError(f"{archive}: not a tar archive inside its gzip ({error})") from error


def unpack_member(archive: Path, tar: tarfile.TarFile, member: tarfile.TarInfo, directory: Path) -> None:
    """Unpacks one member; see ``unpack``."""
    name = PurePosixPath(member.name)
    refused = f"{archive}: member {member.name!r}"
    if name.is_absolute() or ".." in name.parts:
        raise CorpusError(f"{refused} leads out of the directory; use another archive")
    if member.isdir():
        return
    # A sparse file can claim any size, whatever the archive holds.
    if not member.isreg() or member.issparse():
        raise CorpusError(f"{refused} is not a regular file (a link, device or sparse file); use another archive")
    path = directory / name
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            file.write(tar.extractfile(member).read())
    except (OSError, ValueError) as error:
        raise CorpusError(f"{refused} cannot be unpacked ({error})") from error
