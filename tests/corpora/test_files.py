"""Reading strictly and writing whole: gradinit_mt/corpora/files.py."""

import gzip

import pytest

from gradinit_mt.corpora.files import (
    CorpusError,
    find_text,
    new_directory,
    read_lines,
    sha256,
    write_json,
    write_lines,
)


def test_lines_end_at_newlines_alone(tmp_path):
    path = tmp_path / "text"
    path.write_bytes("a\rb\n\nc\u2028d\x85e\x0cf\nlast".encode())
    assert read_lines(path) == ["a\rb", "", "c\u2028d\x85e\x0cf", "last"]


def test_lines_survive_writing_and_gzip(tmp_path):
    lines = ["ä\r", "", " two  spaces ", "\u2028"]
    write_lines(tmp_path / "text", lines)
    (tmp_path / "text.gz").write_bytes(gzip.compress((tmp_path / "text").read_bytes()))
    assert read_lines(tmp_path / "text") == lines
    assert read_lines(tmp_path / "text.gz") == lines


def test_invalid_utf8_is_an_error_with_its_line(tmp_path):
    path = tmp_path / "latin1.de"
    path.write_bytes("eins\nzwei\nfünf\n".encode("latin-1"))
    with pytest.raises(CorpusError, match=r"latin1\.de, line 3: not valid UTF-8"):
        read_lines(path)


WHOLE = gzip.compress(b"line\n" * 100, mtime=0)
CORRUPT = WHOLE[:12] + bytes([WHOLE[12] ^ 0xFF]) + WHOLE[13:]  # inside the deflate data


@pytest.mark.parametrize(
    "content",
    [b"no gzip at all", WHOLE[:-9], CORRUPT, WHOLE[:-6] + b"xx" + WHOLE[-4:]],
    ids=["text", "cut short", "corrupt", "another checksum"],
)
def test_broken_gzip_is_an_error(tmp_path, content):
    path = tmp_path / "text.de.gz"
    path.write_bytes(content)
    with pytest.raises(CorpusError, match=r"text\.de\.gz: cannot be read"):
        read_lines(path)


def test_find_text_takes_plain_or_gzipped(tmp_path):
    (tmp_path / "a.de.gz").touch()
    assert find_text(tmp_path / "a", "de") == tmp_path / "a.de.gz"
    (tmp_path / "a.de").touch()
    assert find_text(tmp_path / "a", "de") == tmp_path / "a.de"
    with pytest.raises(CorpusError, match=r"a\.en: no such file"):
        find_text(tmp_path / "a", "en")


def test_new_directory_appears_whole(tmp_path):
    with new_directory(tmp_path / "deep" / "out") as directory:
        (directory / "file").write_text("x")
        assert not (tmp_path / "deep" / "out").exists()
    assert (tmp_path / "deep" / "out" / "file").read_text() == "x"
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["out"]


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_new_directory_leaves_nothing_behind(tmp_path, error):
    with pytest.raises(error), new_directory(tmp_path / "out") as directory:
        (directory / "file").write_text("x")
        raise error
    assert list(tmp_path.iterdir()) == []


def test_new_directory_overwrites_nothing(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "mine").write_text("x")
    with pytest.raises(CorpusError, match="exists already"), new_directory(tmp_path / "out"):
        pass
    assert [path.name for path in tmp_path.rglob("*")] == ["out", "mine"]


def test_new_directory_does_not_take_the_place_of_a_link_to_nothing(tmp_path):
    (tmp_path / "out").symlink_to(tmp_path / "gone")
    message = "out: a symbolic link to nothing; name another output"
    with pytest.raises(CorpusError, match=message), new_directory(tmp_path / "out"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_failed_json_keeps_the_old_file(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"ü": 1})
    with pytest.raises(TypeError):
        write_json(path, {"ü": object()})
    assert path.read_text(encoding="utf-8") == '{\n  "ü": 1\n}\n'


def test_sha256_of_a_known_message(tmp_path):
    (tmp_path / "abc").write_bytes(b"abc")
    assert sha256(tmp_path / "abc") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
