"""Fetching with resumption and unpacking without harm: gradinit_mt/corpora/archive.py."""

import io
import tarfile
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from gradinit_mt.corpora import archive
from gradinit_mt.corpora.archive import download, unpack
from gradinit_mt.corpora.text import CorpusError

CONTENT = bytes(range(256)) * 1000


class Handler(BaseHTTPRequestHandler):
    """Serves ``CONTENT``; the server's attributes say how well."""

    def do_GET(self):
        span = self.headers.get("Range")
        self.server.asked.append(span)
        start = int(span[len("bytes=") : -1]) if span and self.server.resumes else 0
        if start:
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT) - start))
        self.end_headers()
        self.wfile.write(CONTENT[start : self.server.breaks_at])

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    """A web server on the loopback interface that serves ``CONTENT`` and notes the ranges it is asked for."""
    with HTTPServer(("127.0.0.1", 0), Handler) as running:
        running.asked, running.resumes, running.breaks_at = [], True, None
        running.url = f"http://127.0.0.1:{running.server_port}/de-en.tgz"
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield running
        running.shutdown()
        thread.join()


def test_download_is_complete_and_done_once(server, tmp_path):
    path = tmp_path / "new" / "a.tgz"
    download(server.url, path, len(CONTENT))
    assert path.read_bytes() == CONTENT
    download(server.url, path, len(CONTENT))
    assert server.asked == [None]
    assert [file.name for file in path.parent.iterdir()] == ["a.tgz"]


@pytest.mark.parametrize("resumes", [True, False])
def test_broken_download_goes_on_from_where_it_stopped(server, tmp_path, resumes):
    path = tmp_path / "a.tgz"
    server.breaks_at = 100_000
    with pytest.raises(CorpusError, match="broke off at 100,000 of 256,000 bytes"):
        download(server.url, path, len(CONTENT))
    assert [file.name for file in tmp_path.iterdir()] == ["a.tgz.part"]
    server.breaks_at, server.resumes = None, resumes
    download(server.url, path, len(CONTENT))
    assert server.asked == [None, "bytes=100000-"]
    assert path.read_bytes() == CONTENT


def test_complete_part_needs_no_server(tmp_path):
    (tmp_path / "a.tgz.part").write_bytes(CONTENT)
    download("http://127.0.0.1:1/", tmp_path / "a.tgz", len(CONTENT))
    assert (tmp_path / "a.tgz").read_bytes() == CONTENT


def test_other_size_is_refused_before_a_byte_is_kept(server, tmp_path):
    with pytest.raises(CorpusError, match="offers 256,000 bytes, expected 255,999"):
        download(server.url, tmp_path / "a.tgz", len(CONTENT) - 1)
    assert list(tmp_path.iterdir()) == []


def test_present_file_of_another_size_is_not_touched(server, tmp_path):
    (tmp_path / "a.tgz").write_bytes(b"mine")
    with pytest.raises(CorpusError, match=r"a\.tgz: has 4 bytes, expected 256,000"):
        download(server.url, tmp_path / "a.tgz", len(CONTENT))
    assert (tmp_path / "a.tgz").read_bytes() == b"mine"
    assert server.asked == []


@pytest.mark.parametrize(
    ("url", "message"), [("http://127.0.0.1:1/a", "cannot be fetched"), ("file:///etc/hostname", "expected an address")]
)
def test_unusable_address(tmp_path, url, message):
    with pytest.raises(CorpusError, match=message):
        download(url, tmp_path / "a.tgz", 5)
    assert list(tmp_path.iterdir()) == []


def write_tar(path, members):
    """A gzipped tar of (name, type, content) members."""
    with tarfile.open(path, "w:gz") as tar:
        for name, kind, content in members:
            member = tarfile.TarInfo(name)
            member.type, member.linkname, member.size = kind, "/etc/hostname", len(content)
            tar.addfile(member, io.BytesIO(content))


def test_unpacks_regular_files(tmp_path):
    write_tar(tmp_path / "a.tgz", [("d", tarfile.DIRTYPE, b""), ("d/./e/f", tarfile.REGTYPE, CONTENT)])
    (tmp_path / "out").mkdir()
    unpack(tmp_path / "a.tgz", tmp_path / "out")
    assert (tmp_path / "out" / "d" / "e" / "f").read_bytes() == CONTENT


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
def test_unsafe_member_is_an_error_that_names_it(tmp_path, name, kind):
    write_tar(tmp_path / "a.tgz", [("good", tarfile.REGTYPE, b"x"), (name, kind, b"")])
    (tmp_path / "out").mkdir()
    with pytest.raises(CorpusError, match=rf"member '{name}'"):
        unpack(tmp_path / "a.tgz", tmp_path / "out")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a.tgz", "good", "out"]


@pytest.mark.parametrize("second", ["a", "a/b"])
def test_member_cannot_replace_another(tmp_path, second):
    write_tar(tmp_path / "a.tgz", [("a", tarfile.REGTYPE, b"first"), (second, tarfile.REGTYPE, b"second")])
    (tmp_path / "out").mkdir()
    with pytest.raises(CorpusError, match=rf"member '{second}' cannot be unpacked"):
        unpack(tmp_path / "a.tgz", tmp_path / "out")
    assert (tmp_path / "out" / "a").read_bytes() == b"first"


def test_absurd_size_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "UNPACKED_LIMIT", 1_000_000)
    write_tar(tmp_path / "a.tgz", [("zeros", tarfile.REGTYPE, bytes(2_000_000))])
    (tmp_path / "out").mkdir()
    with pytest.raises(CorpusError, match="unpacks to more than 1,000,000 bytes"):
        unpack(tmp_path / "a.tgz", tmp_path / "out")
    assert list((tmp_path / "out").iterdir()) == []


def test_damaged_archive(tmp_path):
    write_tar(tmp_path / "a.tgz", [("file", tarfile.REGTYPE, CONTENT)])
    whole = (tmp_path / "a.tgz").read_bytes()
    for content in (b"not gzip", whole[:-20]):
        (tmp_path / "a.tgz").write_bytes(content)
        with pytest.raises(CorpusError, match=r"a\.tgz: cannot be read as a gzipped archive"):
            unpack(tmp_path / "a.tgz", tmp_path)
