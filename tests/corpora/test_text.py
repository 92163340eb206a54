"""Strict reading of text."""

import gzip

import pytest

from gradinit_mt.common.errors import UserError
from gradinit_mt.corpora.text import find_text, read_lines, write_lines


def test_lines_end_only_at_newlines(tmp_path):
    path = tmp_path / "text"
    path.write_bytes("a\rb\n\nc\u2028d\x85e\x0cf\nlast".encode())
    assert read_lines(path) == ["a\rb", "", "c\u2028d\x85e\x0cf", "last"]


def test_a_byte_order_mark_is_no_text(tmp_path):
    path = tmp_path / "text"
    path.write_text("eins\nfünf\n", encoding="utf-8-sig")
    assert read_lines(path) == ["eins", "fünf"]
    path.write_bytes(b"\xef\xbb\xbf\xc3\xa4\nf\xfcnf\n")
    with pytest.raises(UserError, match="line 2: not valid UTF-8"):
        read_lines(path)


def test_lines_survive_writing_and_gzip(tmp_path):
    lines = ["ä\r", "", " two  spaces ", "\u2028"]
    write_lines(tmp_path / "text", lines)
    (tmp_path / "text.gz").write_bytes(gzip.compress((tmp_path / "text").read_bytes()))
    assert read_lines(tmp_path / "text") == lines
    assert read_lines(tmp_path / "text.gz") == lines


def test_invalid_utf8_is_an_error_with_its_line(tmp_path):
    path = tmp_path / "latin1.de"
    path.write_bytes("eins\nzwei\nfünf\n".encode("latin-1"))
    with pytest.raises(UserError, match=r"latin1\.de, line 3: not valid UTF-8"):
        read_lines(path)


WHOLE = gzip.compress(b"line\n" * 100, mtime=0)
CORRUPT = WHOLE[:12] + bytes([WHOLE[12] ^ 0xFF]) + WHOLE[13:]  # inside the deflate data


@pytest.mark.parametrize(
    "content",
    [b"no gzip at all", WHOLE[:-9], CORRUPT, WHOLE[:-6] + b"xx" + WHOLE[-4:]],
    ids=["text", "truncated", "corrupt", "another checksum"],
)
def test_broken_gzip_is_an_error(tmp_path, content):
    path = tmp_path / "text.de.gz"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"text\.de\.gz: cannot be read"):
        read_lines(path)


def test_gzipped_text_without_its_suffix_is_named(tmp_path):
    (tmp_path / "text.de").write_bytes(WHOLE)
    with pytest.raises(UserError, match=r"text\.de: gzipped text; give the file a name that ends in \.gz"):
        read_lines(tmp_path / "text.de")


def test_find_text_takes_plain_or_gzipped(tmp_path):
    (tmp_path / "a.de.gz").touch()
    assert find_text(tmp_path / "a", "de") == tmp_path / "a.de.gz"
    (tmp_path / "a.de").touch()
    assert find_text(tmp_path / "a", "de") == tmp_path / "a.de"
    with pytest.raises(UserError, match=r"a\.en: no such file"):
        find_text(tmp_path / "a", "en")
