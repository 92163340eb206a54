"""IWSLT'14 German-English, prepared as by fairseq's prepare-iwslt14.sh: ``python -m gradinit_mt.corpora.iwslt14``.

The steps mirror that script, and the text is byte for byte the same: the lines of talks, Moses tokenization, cleaning,
lowercasing, one pair in 23 for validation, five evaluation sets for test, and joint BPE merges.
"""

import argparse
import dataclasses
import re
from pathlib import Path

from subword_nmt.apply_bpe import BPE
from subword_nmt.learn_bpe import learn_bpe

from gradinit_mt.common.command import positive_int, run, step
from gradinit_mt.common.errors import UserError
from gradinit_mt.common.files import new_directory
from gradinit_mt.common.versions import package_version
from gradinit_mt.corpora.archive import download, read_archive
from gradinit_mt.corpora.layout import PreparedCorpus, complete, summary
from gradinit_mt.corpora.moses import lowercase, tokenize
from gradinit_mt.corpora.names import require_plain_path
from gradinit_mt.corpora.text import Sides, Text, read_lines, require_equal, split_lines
from gradinit_mt.corpora.workers import add_workers, map_text

ROOT = Path(__file__).resolve().parents[2]
URL = "https://dl.fbaipublicfiles.com/fairseq/data/iwslt14/de-en.tgz"
LANGUAGES = ("de", "en")
MERGES = 10_000
# The release is recognized by its size: no checksum of the archive has been published.
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


def training_lines(lines: list[str]) -> list[str]:
    """The sentences of a tagged training file, including titles and descriptions but no addresses and keywords."""
    return [TALK_TEXT.sub("", line) for line in lines if not any(tag in line for tag in TALK_DATA)]


def segments(lines: list[str]) -> list[str]:
    """The segments of an XML evaluation set, one per line; entities are unchanged."""
    return [SEGMENT_END.sub("", SEGMENT_BEGIN.sub("", line)) for line in lines if "<seg id" in line]


def read_release(archive: Path) -> tuple[Sides, Sides]:
    """The original training and test sentences of the archive.

    Raises:
        UserError: a file is missing, or the two languages have unequal numbers of sentences.
    """
    files = read_archive(archive)

    def lines(name: str) -> list[str]:
        if name not in files:
            raise UserError(f"{archive}: has no file {name}; expected the layout of the IWSLT'14 De-En release")
        return split_lines(files[name], name)

    train, test = {}, {}
    for lang in LANGUAGES:
        train[lang] = training_lines(lines(f"de-en/train.tags.de-en.{lang}"))
        sets = [lines(f"de-en/IWSLT14.{name}.de-en.{lang}.xml") for name in TEST_SETS]
        test[lang] = [segment for xml in sets for segment in segments(xml)]
    for split, sides in (("train", train), ("test", test)):
        names = {f"{split}.{lang} of {archive}": text for lang, text in sides.items()}
        require_equal(names, "the archive is damaged or another one")
    return train, test


def rejection(pair: tuple[str, ...]) -> str | None:
    """Why clean-corpus-n.perl (ratio 1.5, 1 to 175 tokens) drops a tokenized pair; None if it keeps the pair.

    Its other rule, deleting vertical bars, never applies: the tokenizer has escaped them.
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
    """The indices of the training pairs to keep, and the number of pairs dropped for each reason."""
    reasons = [rejection(pair) for pair in zip(*tokenized.values(), strict=True)]
    kept = [index for index, reason in enumerate(reasons) if reason is None]
    return kept, {reason: reasons.count(reason) for reason in ("empty", "length", "ratio", "word")}


def tokenized_splits(train: Sides, test: Sides, workers: int) -> tuple[Text, Text, dict[str, int]]:
    """Tokenizes, cleans, lowercases and splits the sentences of the archive.

    Returns:
        The tokenized, lowercased splits; the parallel original sentences of ``valid`` and ``test``; and the numbers of
        training pairs dropped.
    """
    tokenized = {lang: tokenize(lines, lang, workers, f"train.{lang}") for lang, lines in train.items()}
    kept, dropped = clean(tokenized)
    chosen = {
        "train": [index for number, index in enumerate(kept, start=1) if number % VALID_EVERY != 0],
        "valid": kept[VALID_EVERY - 1 :: VALID_EVERY],
    }
    splits = {
        split: {lang: [lowercase(" ".join(lines[i].split())) for i in indices] for lang, lines in tokenized.items()}
        for split, indices in chosen.items()
    }
    splits["test"] = {}
    for lang, lines in test.items():
        splits["test"][lang] = tokenize_test(lines, lang, workers, f"test.{lang}")
    raw = {
        "valid": {lang: [lines[i].strip() for i in chosen["valid"]] for lang, lines in train.items()},
        "test": {lang: [line.strip() for line in lines] for lang, lines in test.items()},
    }
    return splits, raw, dropped


def tokenize_test(lines: list[str], lang: str, workers: int = 1, label: str | None = None) -> list[str]:
    """Sentences of the evaluation sets, tokenized and lowercased; see ``moses.tokenize``.

    The script replaces typographic apostrophes in these only.
    """
    plain = [line.replace("\u2019", "'") for line in lines]
    return [lowercase(line) for line in tokenize(plain, lang, workers, label)]


def learn_merges(sentences: list[str], merges: int, path: Path) -> BPE:
    """Learns BPE merges from the sentences with subword-nmt and writes them to ``path``.

    Raises:
        UserError: the sentences have no word of two characters.
    """
    if not any(len(word) > 1 for line in sentences for word in line.split()):
        raise UserError("the training text has no word of two characters; check the archive")
    with path.open("w+", encoding="utf-8", newline="\n") as file:
        learn_bpe(sentences, file, merges)
        return BPE(file)


def published_checksums() -> dict[str, str]:
    """The checksums of the reference preparation by file name."""
    return dict(line.split()[::-1] for line in read_lines(RELEASE_CHECKSUMS))


def check_release(corpus: PreparedCorpus) -> str:
    """Compares a preparation of the real release with the published one.

    Returns:
        A line that states what agreed.

    Raises:
        UserError: the counts or, for the published number of merges, a checksum differ.
    """
    if corpus.counts != RELEASE_COUNTS:
        raise UserError(f"the archive has the release's size, but gives {corpus.counts}; expected {RELEASE_COUNTS}")
    if corpus.bpe_merges != MERGES:
        return f"release: the counts agree; checksums are published for {MERGES} merges only"
    wrong = [name for name, digest in published_checksums().items() if corpus.sha256[name] != digest]
    if wrong:
        raise UserError(
            f"the archive has the release's size, but {', '.join(wrong)} differ from the published preparation "
            f"({RELEASE_CHECKSUMS}); the archive is damaged, or a tool's version differs from that in requirements/"
        )
    return "release: the counts and all published checksums agree"


def prepare(options: argparse.Namespace) -> tuple[PreparedCorpus, str]:
    """Prepares the archive that the command line names.

    Returns:
        The corpus, and a line that states whether it is the published preparation.

    Raises:
        UserError: the archive cannot be downloaded or does not have the release's layout, the output exists or is no
            plain path, or a preparation of the real release differs from the published one.
    """
    require_plain_path(options.output)
    with new_directory(options.output) as directory:
        archive = options.archive
        if archive is None:
            archive = options.output.parent / "iwslt14.de-en.tgz"
            step(f"downloading {options.url} to {archive}")
            download(options.url, archive, RELEASE_SIZE)
        elif not archive.is_file():
            raise UserError(f"--archive {archive}: no such file")
        step("unpacking and tokenizing")
        text, raw, dropped = tokenized_splits(*read_release(archive), options.workers)
        step(f"learning {options.bpe_merges} BPE merges")
        both_sides = [line for lang in LANGUAGES for line in text["train"][lang]]
        merges = learn_merges(both_sides, options.bpe_merges, directory / "code")
        corpus = PreparedCorpus(
            directory=directory,
            name="iwslt14.de-en",
            source="de",
            target="en",
            subword="subword-nmt",
            lowercased=True,
            moses_tokenized=True,
            joined_dictionary=options.joined_dictionary,
            bpe_merges=options.bpe_merges,
            dropped=dropped,
            tools={name: package_version(name) for name in ("sacremoses", "subword-nmt", "regex")},
        )
        corpus = complete(corpus, map_text(merges.process_line, text, options.workers), raw, options.workers)
        verdict = f"not the release, which has {RELEASE_SIZE:,} bytes: its counts and checksums do not apply"
        if archive.stat().st_size == RELEASE_SIZE:
            verdict = check_release(corpus)
    return dataclasses.replace(corpus, directory=options.output), verdict


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/prepare_iwslt14.sh",
        description="Prepares IWSLT'14 German-English for training, byte for byte as fairseq's own script does.",
    )
    add = parser.add_argument
    output = ROOT / "corpora" / "iwslt14.de-en"
    add("--output", type=Path, default=output, metavar="DIR", help="new directory (default: %(default)s)")
    origin = parser.add_mutually_exclusive_group()
    origin.add_argument(
        "--archive", type=Path, metavar="FILE", help="local de-en.tgz (default: download it beside DIR)"
    )
    origin.add_argument("--url", default=URL, help="address of the archive (default: %(default)s)")
    add("--bpe-merges", type=positive_int, default=MERGES, metavar="N", help="merges to learn (default: %(default)s)")
    add("--joined-dictionary", action="store_true", help="one dictionary for both languages (default: one for each)")
    add_workers(parser)
    return parser.parse_args(arguments)


def main() -> None:
    """Prepares the corpus and prints a summary."""
    corpus, verdict = prepare(parse_args())
    print(summary(corpus))
    print(f"  {verdict}")


if __name__ == "__main__":
    run(main)
