"""IWSLT'14 German-English as fairseq's prepare-iwslt14.sh prepares it: ``python -m gradinit_mt.corpora.iwslt14``.

Every step mirrors one of that script, and the text comes out byte for byte the same: the lines of talks, Moses
tokenization, cleaning, lowercasing, one pair in 23 for validation, five evaluation sets for test, and joint BPE merges.
"""

import argparse
import dataclasses
import re
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from subword_nmt.apply_bpe import BPE
from subword_nmt.learn_bpe import learn_bpe

from gradinit_mt.common.command import add_workers, positive_int, run, step
from gradinit_mt.common.files import new_directory
from gradinit_mt.common.versions import package_version
from gradinit_mt.corpora.archive import download, unpack
from gradinit_mt.corpora.layout import (
    RAW_SPLITS,
    SPLITS,
    PreparedCorpus,
    finish,
    require_plain_path,
    summary,
    write_text,
)
from gradinit_mt.corpora.moses import lowercase, tokenize
from gradinit_mt.corpora.text import CorpusError, read_lines
from gradinit_mt.corpora.workers import map_lines

ROOT = Path(__file__).resolve().parents[2]
URL = "https://dl.fbaipublicfiles.com/fairseq/data/iwslt14/de-en.tgz"
LANGUAGES = ("de", "en")
MERGES = 10_000
# The release is known by its size: no checksum of the archive itself has been published.
RELEASE_SIZE = 19_982_877
RELEASE_COUNTS = {"train": 160_239, "valid": 7_283, "test": 6_750}
RELEASE_CHECKSUMS = ROOT / "data" / "checksums" / "iwslt14.de-en.sha256"

TEST_SETS = ("TED.dev2010", "TEDX.dev2012", "TED.tst2010", "TED.tst2011", "TED.tst2012")
VALID_EVERY = 23
MAX_LENGTH = 175  # tokens
MAX_RATIO = 1.5
MAX_WORD = 1000  # characters

TALK_DATA = ("<url>", "<talkid>", "<keywords>")
TALK_TEXT = re.compile("</?(?:title|description)>")
SEGMENT_BEGIN = re.compile(r'<seg id="[0-9]*">\s*', re.ASCII)
SEGMENT_END = re.compile(r"\s*</seg>\s*", re.ASCII)

# language -> lines
Sides = dict[str, list[str]]


def training_lines(lines: list[str]) -> list[str]:
    """The sentences of a tagged training file: titles and descriptions too, but not addresses, numbers and keywords."""
    return [TALK_TEXT.sub("", line) for line in lines if not any(tag in line for tag in TALK_DATA)]


def segments(lines: list[str]) -> list[str]:
    """The segments of an XML evaluation set, one per line; entities stay as they are."""
    return [SEGMENT_END.sub("", SEGMENT_BEGIN.sub("", line)) for line in lines if "<seg id" in line]


def check_equal(sides: Sides, what: str) -> None:
    """Raises CorpusError if the sides have unequal numbers of lines."""
    if len({len(lines) for lines in sides.values()}) > 1:
        counts = ", ".join(f"{lang} {len(lines):,}" for lang, lines in sides.items())
        raise CorpusError(
            f"{what}: unequal numbers of sentences in the archive ({counts}); it is damaged or another one"
        )


def read_member(directory: Path, name: str) -> list[str]:
    """The lines of one file of the unpacked archive.

    Raises:
        CorpusError: the archive lacks it, or it is not UTF-8.
    """
    if not (directory / name).is_file():
        raise CorpusError(
            f"the archive has no file {name}; expected the layout of the IWSLT'14 De-En release (de-en.tgz)"
        )
    return read_lines(directory / name)


def read_archive(directory: Path) -> tuple[Sides, Sides]:
    """The training and the test sentences of the unpacked archive, as they came.

    Raises:
        CorpusError: a file is missing, or the two languages have unequal numbers of sentences.
    """
    train, test = {}, {}
    for lang in LANGUAGES:
        train[lang] = training_lines(read_member(directory, f"de-en/train.tags.de-en.{lang}"))
        sets = [read_member(directory, f"de-en/IWSLT14.{name}.de-en.{lang}.xml") for name in TEST_SETS]
        test[lang] = [line for lines in sets for line in segments(lines)]
    check_equal(train, "training text")
    check_equal(test, "evaluation sets")
    return train, test


def rejection(pair: tuple[str, str]) -> str | None:
    """Why clean-corpus-n.perl (ratio 1.5, 1 to 175 tokens) drops a tokenized pair; None if it stays.

    Its other rule, to delete vertical bars, never applies: the tokenizer has escaped them.
    """
    words = [line.split() for line in pair]
    short, long = sorted(map(len, words))
    if short == 0:
        return "empty"
    if long > MAX_LENGTH:
        return "length"
    if long / short > MAX_RATIO:
        return "ratio"
    if any(len(word) > MAX_WORD for side in words for word in side):
        return "word"
    return None


def clean(tokenized: Sides) -> tuple[list[int], dict[str, int]]:
    """The indices of the training pairs that stay, and how many are dropped for each reason."""
    kept, dropped = [], {"empty": 0, "length": 0, "ratio": 0, "word": 0}
    for index, pair in enumerate(zip(*tokenized.values(), strict=True)):
        if reason := rejection(pair):
            dropped[reason] += 1
        else:
            kept.append(index)
    return kept, dropped


def tokenized_splits(
    train: Sides, test: Sides, workers: int
) -> tuple[dict[str, Sides], dict[str, Sides], dict[str, int]]:
    """Tokenizes, cleans, lowercases and splits the sentences of the archive.

    Returns:
        The splits, tokenized and lowercased; the raw sentences of ``valid`` and ``test``, line by line with them; and
        the numbers of training pairs dropped.
    """
    tokenized = {lang: tokenize(train[lang], lang, workers, f"train.{lang}") for lang in LANGUAGES}
    kept, dropped = clean(tokenized)
    chosen = {
        "train": [index for number, index in enumerate(kept, start=1) if number % VALID_EVERY != 0],
        "valid": kept[VALID_EVERY - 1 :: VALID_EVERY],
    }
    splits = {
        split: {lang: [lowercase(" ".join(lines[i].split())) for i in indices] for lang, lines in tokenized.items()}
        for split, indices in chosen.items()
    }
    # The evaluation sets alone have typographic apostrophes made plain.
    plain = {lang: [line.replace("\u2019", "'") for line in lines] for lang, lines in test.items()}
    splits["test"] = {
        lang: [lowercase(line) for line in tokenize(plain[lang], lang, workers, f"test.{lang}")] for lang in LANGUAGES
    }
    raw = {
        "valid": {lang: [lines[i].strip() for i in chosen["valid"]] for lang, lines in train.items()},
        "test": {lang: [line.strip() for line in lines] for lang, lines in test.items()},
    }
    return splits, raw, dropped


def learn_merges(sentences: list[str], merges: int, path: Path) -> None:
    """Writes the BPE merges that subword-nmt learns from the sentences.

    Raises:
        CorpusError: the sentences have no word of two characters.
    """
    if not any(len(word) > 1 for line in sentences for word in line.split()):
        raise CorpusError("the training text has no word of two characters; check the archive")
    with path.open("w", encoding="utf-8", newline="\n") as file:
        learn_bpe(sentences, file, merges)


def merger(path: Path):
    """The function that splits a tokenized line by the merges in ``path``."""
    with path.open(encoding="utf-8", newline="\n") as file:
        return BPE(file).process_line


def checksums(path: Path) -> Iterator[tuple[str, str]]:
    """The (digest, file name) pairs of a file as sha256sum writes it."""
    for line in read_lines(path):
        digest, name = line.split()
        yield digest, name


def check_release(corpus: PreparedCorpus) -> str:
    """Compares a preparation of the real release with what is published of it.

    Returns:
        A line that says what agreed.

    Raises:
        CorpusError: the counts or, for the published number of merges, a checksum differ.
    """
    if corpus.counts != RELEASE_COUNTS:
        raise CorpusError(f"the archive has the release's size, but gives {corpus.counts}; expected {RELEASE_COUNTS}")
    if corpus.bpe_merges != MERGES:
        return f"release: the counts agree; checksums are published for {MERGES} merges only"
    wrong = [name for digest, name in checksums(RELEASE_CHECKSUMS) if corpus.sha256[name] != digest]
    if wrong:
        raise CorpusError(
            f"the archive has the release's size, but {', '.join(wrong)} differ from the published preparation "
            f"({RELEASE_CHECKSUMS}); the archive is damaged, or a tool's version is not that of requirements/"
        )
    return "release: the counts and all published checksums agree"


def prepare(options: argparse.Namespace) -> tuple[PreparedCorpus, str]:
    """Prepares the archive that the command line names.

    Returns:
        The corpus, and a line on whether it is the published preparation.

    Raises:
        CorpusError: the archive cannot be fetched or is not the layout of the release, the output exists or has a
            ``:`` in its path, or a preparation of the real release differs from the published one.
    """
    require_plain_path(options.output)
    with new_directory(options.output) as directory:
        archive = options.archive
        if archive is None:
            archive = options.output.parent / "iwslt14.de-en.tgz"
            step(f"fetching {options.url} to {archive}")
            download(options.url, archive, RELEASE_SIZE)
        elif not archive.is_file():
            raise CorpusError(f"--archive {archive}: no such file")
        step("unpacking and tokenizing")
        with tempfile.TemporaryDirectory(dir=directory) as unpacked:
            unpack(archive, Path(unpacked))
            train, test = read_archive(Path(unpacked))
        text, raw, dropped = tokenized_splits(train, test, options.workers)
        step(f"learning {options.bpe_merges} BPE merges")
        code = directory / "code"
        learn_merges([line for lang in LANGUAGES for line in text["train"][lang]], options.bpe_merges, code)
        merged = {
            split: {
                lang: map_lines(partial(merger, code), text[split][lang], options.workers, f"{split}.{lang}")
                for lang in LANGUAGES
            }
            for split in SPLITS
        }
        write_text(directory, merged, {split: raw[split] for split in RAW_SPLITS})
        step("binarizing with fairseq-preprocess")
        corpus = finish(describe(options, directory, merged, dropped), options.workers)
        if archive.stat().st_size == RELEASE_SIZE:
            verdict = check_release(corpus)
        else:
            verdict = f"not the release, which has {RELEASE_SIZE:,} bytes: its counts and checksums do not apply"
    return dataclasses.replace(corpus, directory=options.output), verdict


def describe(options: argparse.Namespace, directory: Path, text: dict[str, Sides], dropped: dict) -> PreparedCorpus:
    """The entries of ``corpus.json`` that are known before the text is binarized."""
    return PreparedCorpus(
        directory=directory,
        name="iwslt14.de-en",
        source="de",
        target="en",
        subword="subword-nmt",
        lowercased=True,
        moses_tokenized=True,
        joined_dictionary=options.joined_dictionary,
        vocab_size=None,
        bpe_merges=options.bpe_merges,
        counts={split: len(text[split]["de"]) for split in SPLITS},
        dropped=dropped,
        tools={name: package_version(name) for name in ("sacremoses", "subword-nmt", "regex")},
    )


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/prepare_iwslt14.sh",
        description="Prepares IWSLT'14 German-English for training, byte for byte as fairseq's own script does.",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=ROOT / "corpora" / "iwslt14.de-en",
        metavar="DIR",
        help="the prepared corpus; must not exist (default: %(default)s)",
    )
    origin = parser.add_mutually_exclusive_group()
    origin.add_argument(
        "--archive", type=Path, metavar="FILE", help="a local de-en.tgz (default: fetch it to beside DIR and keep it)"
    )
    origin.add_argument("--url", default=URL, help="where to fetch the archive from (default: %(default)s)")
    parser.add_argument(
        "--bpe-merges",
        type=positive_int,
        default=MERGES,
        metavar="N",
        help="BPE merges to learn (default: %(default)s)",
    )
    parser.add_argument(
        "--joined-dictionary", action="store_true", help="one dictionary for both languages (default: one for each)"
    )
    add_workers(parser)
    return parser.parse_args(arguments)


def main() -> None:
    """Prepares the corpus and prints a summary."""
    corpus, verdict = prepare(parse_args())
    print(summary(corpus))
    print(f"  {verdict}")


if __name__ == "__main__":
    run(main)
