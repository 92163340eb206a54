"""Text, archives and options from which no corpus can be prepared: each is named, and nothing is left behind."""

import io
import re
import tarfile
import zipfile
from pathlib import Path

import pytest
from refusing import Bad, refusal

PREPARE = (
    "prepare_corpus --train train --valid valid --test test --source de --target en --vocab-size 60 --workers 1 "
    "--output new/out"
)
UNPACK = "prepare_iwslt14 --archive a.tgz --bpe-merges 20 --workers 1 --output new/out"
LINES = [
    f"der {noun} {verb} die {thing} {number}"
    for number, noun in enumerate(("Hund", "Mann", "Baum", "Vogel"))
    for verb in ("sieht", "mag")
    for thing in ("Katze", "Stadt")
]


def line(name: str, number: int, content: bytes):
    def spoil(folder: Path) -> None:
        lines = (folder / name).read_bytes().split(b"\n")
        lines[number - 1] = content
        (folder / name).write_bytes(b"\n".join(lines))

    return spoil


def both_sides(split: str, content: str):
    return lambda folder: [(folder / f"{split}.{lang}").write_text(content) for lang in ("de", "en")]


def directory_for_file(folder: Path) -> None:
    (folder / "test.en").unlink()
    (folder / "test.en").mkdir()


TEXT = [
    Bad("a line that is not UTF-8", PREPARE, r"valid\.de, line 3: not valid UTF-8", line("valid.de", 3, b"f\xfcnf")),
    Bad("an empty line", PREPARE, r"train\.en, line 7: empty; remove this line", line("train.en", 7, b" \t")),
    Bad(
        "a line of invisible characters",
        PREPARE,
        r"valid\.de, line 2: only invisible characters; remove this line from both sides",
        line("valid.de", 2, "\u200b".encode()),
    ),
    Bad("blank lines only", PREPARE, r"train\.de, line 1: empty", both_sides("train", "\n" * 16)),
    Bad("an empty corpus", PREPARE, r"test\.de: empty; expected one sentence per line", both_sides("test", "")),
    Bad(
        "a missing line",
        PREPARE,
        r"test\.de has 1 lines, test\.en has 16 lines; line n of both must be a translation pair",
        lambda folder: (folder / "test.de").write_text("one\n"),
    ),
    Bad("a missing side", PREPARE, r"train\.de: no such file, plain", lambda folder: (folder / "train.de").unlink()),
    Bad("a directory for a file", PREPARE, r"test\.en: no such file", directory_for_file),
    Bad("the name of a file for its prefix", f"{PREPARE} --train train.de", r"train\.de\.de: no such file"),
    Bad(
        "text with the name of a gzip file",
        PREPARE,
        r"train\.de\.gz: cannot be read \(Not a gzipped file",
        lambda folder: (folder / "train.de").rename(folder / "train.de.gz"),
    ),
    Bad(
        "too many subwords",
        f"{PREPARE} --vocab-size 9999",
        r"a vocabulary of 9999 pieces is too large for this text, which gives \d+ at most",
    ),
    Bad("too few subwords", f"{PREPARE} --vocab-size 9", r"a vocabulary of 9 pieces is too small for the \d+"),
    Bad("no pair that is short enough", f"{PREPARE} --max-length 1", r"train: no sentence pair is left; check the"),
    Bad(
        "a line that is too long",
        f"{PREPARE} --max-positions 4",
        r"valid\.de, line 1: \d+ subwords .* expected at most 4",
    ),
    Bad("equal languages", f"{PREPARE} --target de", r"--source and --target are both 'de'; name two languages"),
    Bad("a path as a language", f"{PREPARE} --target ../en", r"language '\.\./en': expected only letters"),
    Bad("a path as a name", f"{PREPARE} --name ../x", r"the corpus's name is '\.\./x', expected one without slashes"),
    Bad("an output that exists", f"{PREPARE} --output .", r"\.: already exists; name another output"),
    Bad("an output below a file", f"{PREPARE} --output train.de/x", r"train\.de: cannot be made a directory"),
    Bad("no number", f"{PREPARE} --max-ratio nan", r"argument --max-ratio: nan: expected a number of at least 1"),
    Bad(
        "a share above 1", f"{PREPARE} --character-coverage 2", r"argument --character-coverage: 2: .* from 0\.98 to 1"
    ),
    Bad("a full disk", PREPARE, r"new/out: cannot be written \(File too large\); make room", largest=2000),
]


@pytest.fixture
def text(tmp_path) -> Path:
    """Three splits of 16 pairs."""
    for split in ("train", "valid", "test"):
        both_sides(split, "".join(f"{line}\n" for line in LINES))(tmp_path)
    return tmp_path


@pytest.mark.parametrize("bad", TEXT, ids=lambda bad: bad.name)
def test_text_that_cannot_be_prepared(text, bad):
    assert re.match(bad.message, refusal(bad, text))


TAGGED = "de-en/train.tags.de-en.de"


def release(**changes: bytes | None) -> dict[str, bytes]:
    """The files of a tiny archive with the release's layout, of which None removes one."""
    files: dict[str, bytes | None] = {}
    for lang in ("de", "en"):
        files[f"de-en/train.tags.de-en.{lang}"] = b"".join(b"Satz Nummer %d .\n" % number for number in range(60))
        for name in ("TED.dev2010", "TEDX.dev2012", "TED.tst2010", "TED.tst2011", "TED.tst2012"):
            files[f"de-en/IWSLT14.{name}.de-en.{lang}.xml"] = b'<seg id="1"> eins </seg>\n'
    return {name: content for name, content in (files | changes).items() if content is not None}


def archive(files: dict[str, bytes], mode: str = "w:gz", link: str | None = None):
    def spoil(folder: Path) -> None:
        with tarfile.open(folder / "a.tgz", mode) as tar:
            for name, content in files.items():
                member = tarfile.TarInfo(name)
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
            if link:
                member = tarfile.TarInfo(link)
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/hostname"
                tar.addfile(member)

    return spoil


def cut(folder: Path) -> None:
    archive(release())(folder)
    (folder / "a.tgz").write_bytes((folder / "a.tgz").read_bytes()[:-40])


def zipped(folder: Path) -> None:
    with zipfile.ZipFile(folder / "a.tgz", "w") as file:
        file.writestr(TAGGED, "eins\n")


NO_ARCHIVE = r"a\.tgz: cannot be read as a gzipped tar archive"
NO_TAGGED = rf"a\.tgz: has no file {TAGGED}; expected the layout of the IWSLT'14 De-En release"
ARCHIVES = [
    Bad("no archive", UNPACK, r"--archive a\.tgz: no such file"),
    Bad("a truncated archive", UNPACK, rf"{NO_ARCHIVE} \(Compressed file ended", cut),
    Bad("a zip file", UNPACK, rf"{NO_ARCHIVE} \(Not a gzipped file", zipped),
    Bad("a plain tar", UNPACK, rf"{NO_ARCHIVE} \(Not a gzipped file", archive(release(), "w:")),
    Bad("an empty file", UNPACK, NO_ARCHIVE, lambda folder: (folder / "a.tgz").touch()),
    Bad(
        "paths out of the folder", UNPACK, NO_TAGGED, archive({f"../{name}": text for name, text in release().items()})
    ),
    Bad("absolute paths", UNPACK, NO_TAGGED, archive({f"/tmp/{name}": text for name, text in release().items()})),
    Bad("a symbolic link", UNPACK, NO_TAGGED, archive(release(**{TAGGED: None}), link=TAGGED)),
    Bad("a missing file", UNPACK, NO_TAGGED, archive(release(**{TAGGED: None}))),
    Bad("other text than UTF-8", UNPACK, rf"{TAGGED}, line 2: not valid", archive(release(**{TAGGED: b"1\n\xfc\n"}))),
    Bad("another number of lines", UNPACK, r"train\.de of a\.tgz has 1 lines, ", archive(release(**{TAGGED: b"1\n"}))),
    Bad(
        "no sentence",
        UNPACK,
        r"the training text has no word of two characters; check the archive",
        archive(release(**{TAGGED: b"", "de-en/train.tags.de-en.en": b""})),
    ),
    Bad(
        "an address of a file",
        "prepare_iwslt14 --url file:///etc/hostname --output new/out",
        r"file:.*begins with http",
    ),
    Bad("no merges", f"{UNPACK} --bpe-merges 0", r"argument --bpe-merges: 0: expected a whole number of at least 1"),
]


@pytest.mark.parametrize("bad", ARCHIVES, ids=lambda bad: bad.name)
def test_archives_that_cannot_be_prepared(tmp_path, bad):
    assert re.match(bad.message, refusal(bad, tmp_path))
