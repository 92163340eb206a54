"""IWSLT'14 De-En: each step, and an archive with the release's layout."""

import dataclasses
import io
import tarfile

import pytest

from gradinit_mt.common.errors import UserError
from gradinit_mt.corpora import iwslt14
from gradinit_mt.corpora.iwslt14 import clean, rejection, segments, training_lines
from gradinit_mt.corpora.layout import PreparedCorpus


def test_training_lines_keep_titles_and_drop_the_data_of_talks():
    lines = [
        "<url>http://x</url>",
        "<keywords>a</keywords>",
        "<talkid>1</talkid>",
        "<title>Ein Titel</title>",
        "<description>Worum es geht.</description>",
        " Ein Satz. ",
    ]
    assert training_lines(lines) == ["Ein Titel", "Worum es geht.", " Ein Satz. "]


def test_segments_are_the_text_between_the_tags():
    lines = [
        '<doc docid="1">',
        "<title>no segment</title>",
        '<seg id="1"> It\u2019s &amp; so. </seg>',
        '<seg id="20">x</seg>  ',
    ]
    assert segments(lines) == ["It\u2019s &amp; so.", "x"]


@pytest.mark.parametrize(
    ("source", "target", "reason"),
    [
        ("a b c", "a b", None),
        ("a b c d", "a b", "ratio"),
        ("a b", "a b c d", "ratio"),
        (" ".join("a" * 175), " ".join("a" * 175), None),
        (" ".join("a" * 176), " ".join("a" * 175), "length"),
        ("", "a", "empty"),
        ("a", "\u00a0", "empty"),
        ("a" * 1000, "a", None),
        ("a" * 1001, "a", "word"),
    ],
)
def test_cleaning_at_its_bounds(source, target, reason):
    assert rejection((source, target)) == reason


def test_cleaning_counts_each_pair_once():
    kept, dropped = clean({"de": ["a", "", "a b", "a"], "en": ["b", "b", "a b c d", "b"]})
    assert kept == [0, 3]
    assert dropped == {"empty": 1, "length": 0, "ratio": 1, "word": 0}


def number_words(numbers):
    """Sentences that name their position: number 7 is "Satz n7"."""
    return [f"Satz n{number}" for number in numbers]


def test_one_kept_pair_in_23_is_for_validation():
    sentences = number_words(range(1, 101))
    sentences[4] = "n5"  # dropped: half as long as the other side
    train = {"de": sentences, "en": number_words(range(1, 101))}
    splits, raw, _ = iwslt14.tokenized_splits(train, {"de": ["It\u2019s"], "en": ["It\u2019s"]}, workers=1)
    # Every 23rd of the lines without the fifth: 24, 47, 70, 93.
    assert raw["valid"]["de"] == number_words([24, 47, 70, 93])
    assert splits["valid"]["en"] == [line.lower() for line in number_words([24, 47, 70, 93])]
    assert len(splits["train"]["de"]) == 95
    assert splits["test"] == {"de": ["it &apos; s"], "en": ["it &apos;s"]}
    assert raw["test"]["de"] == ["It\u2019s"]


def write_archive(path, leave_out=None):
    """A tiny archive with the release's layout: 60 training pairs, one segment in each evaluation set."""
    files = {}
    for lang in ("de", "en"):
        files[f"de-en/train.tags.de-en.{lang}"] = "".join(f"Satz Nummer {n} .\n" for n in range(60))
        for name in ("TED.dev2010", "TEDX.dev2012", "TED.tst2010", "TED.tst2011", "TED.tst2012", "TED.tst2013"):
            files[f"de-en/IWSLT14.{name}.de-en.{lang}.xml"] = f'<seg id="1"> {name} </seg>\n'
    with tarfile.open(path, "w:gz") as tar:
        for name, text in files.items():
            if name != leave_out:
                member = tarfile.TarInfo(name)
                member.size = len(text.encode())
                tar.addfile(member, io.BytesIO(text.encode()))
    return path


def run(*arguments):
    return iwslt14.prepare(iwslt14.parse_args([*map(str, arguments), "--workers", "1"]))


def test_prepares_an_archive_with_that_layout(tmp_path):
    archive = write_archive(tmp_path / "de-en.tgz")
    corpus, verdict = run("--archive", archive, "--output", tmp_path / "out", "--bpe-merges", 20, "--joined-dictionary")
    assert corpus == PreparedCorpus.load(tmp_path / "out")
    assert corpus.counts == {"train": 58, "valid": 2, "test": 5}
    assert corpus.joined_dictionary
    assert corpus.dictionary["de"] == corpus.dictionary["en"]
    # The five sets in the order of the reference; a sixth in the archive is not used.
    sets = ["TED.dev2010", "TEDX.dev2012", "TED.tst2010", "TED.tst2011", "TED.tst2012"]
    assert corpus.raw("test", "en").read_text().split() == sets
    joined = corpus.text("test", "en").read_text().replace("@@ ", "")
    assert joined.split() == [name.lower() for name in sets]
    assert verdict.startswith("not the release")


def test_an_archive_with_the_releases_size_must_be_the_release(tmp_path, monkeypatch):
    archive = write_archive(tmp_path / "de-en.tgz")
    monkeypatch.setattr(iwslt14, "RELEASE_SIZE", archive.stat().st_size)
    with pytest.raises(UserError, match="has the release's size, but gives"):
        run("--archive", archive, "--output", tmp_path / "out", "--bpe-merges", 20)
    assert [path.name for path in tmp_path.iterdir()] == ["de-en.tgz"]


def test_missing_member_is_named(tmp_path):
    missing = "de-en/IWSLT14.TED.tst2011.de-en.en.xml"
    archive = write_archive(tmp_path / "de-en.tgz", leave_out=missing)
    with pytest.raises(UserError, match=f"has no file {missing}"):
        run("--archive", archive, "--output", tmp_path / "out")
    assert [path.name for path in tmp_path.iterdir()] == ["de-en.tgz"]


@pytest.fixture
def release(tmp_path):
    """A correct preparation of the release, as far as it is published."""
    return PreparedCorpus(
        directory=tmp_path,
        name="iwslt14.de-en",
        source="de",
        target="en",
        subword="subword-nmt",
        lowercased=True,
        moses_tokenized=True,
        joined_dictionary=False,
        vocab_size=None,
        bpe_merges=10_000,
        counts={"train": 160_239, "valid": 7_283, "test": 6_750},
        dropped={},
        tools={},
        sha256=iwslt14.published_checksums(),
    )


def test_release_is_compared_with_the_published_preparation(release):
    assert set(release.sha256) == {"code", "valid.de", "valid.en", "test.de", "test.en"}
    assert "all published checksums agree" in iwslt14.check_release(release)
    other = dataclasses.replace(release, sha256={**release.sha256, "code": "0" * 64})
    with pytest.raises(UserError, match="but code differ from the published preparation"):
        iwslt14.check_release(other)
    other = dataclasses.replace(release, counts={**release.counts, "train": 160_238})
    with pytest.raises(UserError, match="160238"):
        iwslt14.check_release(other)


def test_other_merges_have_no_published_checksums(release):
    other = dataclasses.replace(release, bpe_merges=8_000, sha256={})
    assert "for 10000 merges only" in iwslt14.check_release(other)


def test_published_checksums_are_those_of_the_reference(shared_data):
    assert (
        iwslt14.RELEASE_CHECKSUMS.read_text() == (shared_data / "iwslt14-release/reference-output.sha256").read_text()
    )
