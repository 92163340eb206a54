"""Resumed downloads and safe reading of archives: gradinit_mt/corpora/archive.py."""

import gzip
import io
import tarfile
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from gradinit_mt.common import lock
from gradinit_mt.common.errors import UserError
from gradinit_mt.corpora import archive
from gradinit_mt.corpora.archive import download, read_archive

CONTENT = bytes(range(256)) * 1000


class Handler(BaseHTTPRequestHandler):
    """Serves ``CONTENT``; the server's attributes determine how well."""

    def do_GET(self):
        span = self.headers.get("Range")
        self.server.asked.append(span)
        start = int(span[len("bytes=") : -1]) if span and self.server.resumes else 0
        start += self.server.misplaced if start else 0
        if start:
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        else:
            self.send_response(200)
        if self.server.says_its_size:
            self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start : self.server.breaks_at] + self.server.more)

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    """A web server on the loopback interface that serves ``CONTENT`` and records the requested ranges."""
    with HTTPServer(("127.0.0.1", 0), Handler) as running:
        running.asked, running.resumes, running.breaks_at = [], True, None
        running.misplaced, running.says_its_size, running.more = 0, True, b""
        running.url = f"http://127.0.0.1:{running.server_port}/de-en.tgz"
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_two_downloads_of_one_file_do_not_mix(server, tmp_path, monkeypatch):
    """Of two scripts whose corpora share a directory."""
    path, refused = tmp_path / "a.tgz", []

    def fetch(*arguments):
        with pytest.raises(UserError, match=r"a.tgz.part: another program is downloading it; wait until it has ended"):
            download(server.url, path, len(CONTENT))
        refused.append(True)
        return original(*arguments)

    original = archive.fetch
    monkeypatch.setattr(archive, "fetch", fetch)
    download(server.url, path, len(CONTENT))
    assert refused == [True]
    assert path.read_bytes() == CONTENT


def test_what_another_program_has_just_completed_is_not_downloaded_again(server, tmp_path, monkeypatch):
    path = tmp_path / "a.tgz"

    @contextmanager
    def locked_late(part, refusal):
        with lock.locked(part, refusal) as held:
            path.write_bytes(CONTENT)
            yield held

    monkeypatch.setattr(archive, "locked", locked_late)
    download(server.url, path, len(CONTENT))
    assert server.asked == []
    assert list(tmp_path.iterdir()) == [path]


def test_a_part_that_another_program_has_removed_is_not_written_to(server, tmp_path, monkeypatch):
    """Its lock would keep nobody away."""

    @contextmanager
    def locked_late(part, refusal):
        with lock.locked(part, refusal) as held:
            part.unlink()
            yield held

    monkeypatch.setattr(archive, "locked", locked_late)
    with pytest.raises(UserError, match="another program is downloading it"):
        download(server.url, tmp_path / "a.tgz", len(CONTENT))
    assert server.asked == []


@pytest.mark.parametrize("url", ["http://localhost:1/\u00fc", "http://[::1/x", "http://a..b/"])
def test_an_address_that_is_none_is_named(tmp_path, url):
    with pytest.raises(UserError, match="cannot be downloaded"):
        download(url, tmp_path / "a.tgz", 10)


def test_a_complete_download_is_not_repeated(server, tmp_path):
    path = tmp_path / "new" / "a.tgz"
    download(server.url, path, len(CONTENT))
    assert path.read_bytes() == CONTENT
    download(server.url, path, len(CONTENT))
    assert server.asked == [None]
    assert [file.name for file in path.parent.iterdir()] == ["a.tgz"]


@pytest.mark.parametrize("resumes", [True, False])
def test_a_broken_download_is_resumed(server, tmp_path, resumes):
    path = tmp_path / "a.tgz"
    server.breaks_at = 100_000
    with pytest.raises(UserError, match="broke off at 100,000 of 256,000 bytes"):
        download(server.url, path, len(CONTENT))
    assert [file.name for file in tmp_path.iterdir()] == ["a.tgz.part"]
    server.breaks_at, server.resumes = None, resumes
    download(server.url, path, len(CONTENT))
    assert server.asked == [None, "bytes=100000-"]
    assert path.read_bytes() == CONTENT


def test_a_part_that_is_too_long_is_downloaded_anew(server, tmp_path):
    (tmp_path / "a.tgz.part").write_bytes(CONTENT + b"more")
    download(server.url, tmp_path / "a.tgz", len(CONTENT))
    assert (tmp_path / "a.tgz").read_bytes() == CONTENT


def test_other_bytes_than_were_asked_for_are_refused_and_the_part_stays(server, tmp_path):
    part = tmp_path / "a.tgz.part"
    part.write_bytes(CONTENT[:100_000])
    server.misplaced = 7
    with pytest.raises(UserError, match=rf"requested the bytes from 100000, got others; remove {part} and"):
        download(server.url, tmp_path / "a.tgz", len(CONTENT))
    assert part.read_bytes() == CONTENT[:100_000]
    assert not (tmp_path / "a.tgz").exists()


def test_no_more_is_written_than_the_expected_size(server, tmp_path):
    server.says_its_size, server.more = False, b"more"
    download(server.url, tmp_path / "a.tgz", len(CONTENT))
    assert (tmp_path / "a.tgz").read_bytes() == CONTENT


def test_a_complete_part_needs_no_server(tmp_path):
    (tmp_path / "a.tgz.part").write_bytes(CONTENT)
    download("http://127.0.0.1:1/", tmp_path / "a.tgz", len(CONTENT))
    assert (tmp_path / "a.tgz").read_bytes() == CONTENT


def test_another_size_is_refused_before_anything_is_written(server, tmp_path):
    with pytest.raises(UserError, match="offers 256,000 bytes, expected 255,999"):
        download(server.url, tmp_path / "a.tgz", len(CONTENT) - 1)
    assert list(tmp_path.iterdir()) == []


def test_an_existing_file_of_another_size_is_not_touched(server, tmp_path):
    (tmp_path / "a.tgz").write_bytes(b"mine")
    with pytest.raises(UserError, match=r"a\.tgz: has 4 bytes, expected 256,000"):
        download(server.url, tmp_path / "a.tgz", len(CONTENT))
    assert (tmp_path / "a.tgz").read_bytes() == b"mine"
    assert server.asked == []


@pytest.mark.parametrize(
    ("url", "message"),
    [("http://127.0.0.1:1/a", "cannot be downloaded"), ("file:///etc/hostname", "expected an address")],
)
def test_unusable_address(tmp_path, url, message):
    with pytest.raises(UserError, match=message):
        download(url, tmp_path / "a.tgz", 5)
    assert list(tmp_path.iterdir()) == []


def write_tar(path, members):
    """A gzipped tar of (name, type, content) members."""
    with tarfile.open(path, "w:gz") as tar:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.size = kind, "/etc/hostname", len(content)
            tar.addfile(member, io.BytesIO(content))


def test_reads_regular_files_by_name(tmp_path):
    write_tar(tmp_path / "a.tgz", [("d", tarfile.DIRTYPE, b""), ("d/./e/f", tarfile.REGTYPE, CONTENT)])
    assert read_archive(tmp_path / "a.tgz") == {"d/e/f": CONTENT}


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("../evil", tarfile.REGTYPE),
        ("d/../../evil", tarfile.REGTYPE),
        ("/evil", tarfile.REGTYPE),
        ("evil", tarfile.SYMTYPE),
        ("evil", tarfile.LNKTYPE),
        ("evil", tarfile.FIFOTYPE),
        ("evil", tarfile.CHRTYPE),
        ("evil", tarfile.BLKTYPE),
        ("../evil", tarfile.DIRTYPE),
    ],
)
def test_unsafe_members_touch_nothing_outside_the_archive(tmp_path, name, kind):
    write_tar(tmp_path / "a.tgz", [("good", tarfile.REGTYPE, b"x"), (name, kind, b"")])
    found = read_archive(tmp_path / "a.tgz")
    assert found == {"good": b"x"} | ({name: b""} if kind == tarfile.REGTYPE else {})
    assert [path.name for path in tmp_path.iterdir()] == ["a.tgz"]


def test_absurd_size_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "UNPACKED_LIMIT", 1_000_000)
    write_tar(tmp_path / "a.tgz", [("zeros", tarfile.REGTYPE, bytes(2_000_000))])
    with pytest.raises(UserError, match="unpacks to more than 1,000,000 bytes"):
        read_archive(tmp_path / "a.tgz")


def test_damaged_archive(tmp_path):
    write_tar(tmp_path / "a.tgz", [("file", tarfile.REGTYPE, CONTENT)])
    whole = (tmp_path / "a.tgz").read_bytes()
    cut_tar = gzip.compress(gzip.decompress(whole)[:100_000])
    for content in (b"not gzip", whole[:-20], gzip.compress(b"not a tar archive"), cut_tar):
        (tmp_path / "a.tgz").write_bytes(content)
        with pytest.raises(UserError, match=r"a\.tgz: cannot be read as a gzipped tar archive"):
            read_archive(tmp_path / "a.tgz")
