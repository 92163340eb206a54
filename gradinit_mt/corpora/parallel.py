"""Any parallel text, prepared with one joint sentencepiece model: ``python -m gradinit_mt.corpora.parallel``."""

import argparse
import dataclasses
import io
import re
from pathlib import Path

import sentencepiece
from tqdm import tqdm

from gradinit_mt.common.command import add_workers, positive_int, run, step
from gradinit_mt.common.files import new_directory
from gradinit_mt.common.versions import package_version
from gradinit_mt.corpora.layout import (
    MAX_POSITIONS,
    RAW_SPLITS,
    SPLITS,
    PreparedCorpus,
    finish,
    require_plain_path,
    summary,
    write_text,
)
from gradinit_mt.corpora.text import CorpusError, find_text, read_lines

BATCH = 10_000  # sentences encoded between two updates of the progress bar


def read_parallel(prefix: Path, source: str, target: str) -> dict[str, list[str]]:
    """The two sides of a parallel text, by language.

    Raises:
        CorpusError: a file is missing or not UTF-8, the sides differ in length or are empty, or one has an empty line.
    """
    paths = {lang: find_text(prefix, lang) for lang in (source, target)}
    sides = {lang: read_lines(path) for lang, path in paths.items()}
    if len(sides[source]) != len(sides[target]):
        raise CorpusError(
            f"{paths[source]} has {len(sides[source]):,} lines, {paths[target]} has {len(sides[target]):,}; "
            "line n of both must be a translation pair"
        )
    for lang, lines in sides.items():
        if not lines:
            raise CorpusError(f"{paths[lang]}: empty; expected one sentence per line")
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                raise CorpusError(f"{paths[lang]}, line {number}: empty; remove this line from both sides")
    return sides


def learn_model(sentences: list[str], vocab_size: int, character_coverage: float) -> bytes:
    """A sentencepiece BPE model of the sentences, serialized.

    BPE counts pairs in whole numbers, so the model does not depend on the number of threads; written to memory, it
    holds no path either.

    Raises:
        CorpusError: ``vocab_size`` does not fit the text (names the bound), or sentencepiece refuses otherwise.
    """
    model = io.BytesIO()
    try:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocab_size,
            character_coverage=character_coverage,
            # Its own limit of 4,192 bytes leaves longer lines out without a word.
            max_sentence_length=1 << 20,
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        if bound := re.search(r"Please set it to a value <= (\d+)", str(error)):
            raise CorpusError(
                f"a vocabulary of {vocab_size} pieces is too large for this text, which gives {bound[1]} at most; "
                "lower --vocab-size"
            ) from error
        if bound := re.search(r"smaller than required_chars. \d+ vs (\d+)", str(error)):
            raise CorpusError(
                f"a vocabulary of {vocab_size} pieces is too small for the {bound[1]} characters and symbols of this "
                "text; raise --vocab-size or lower --character-coverage"
            ) from error
        raise CorpusError(f"sentencepiece could not learn a model: {error}") from error
    return model.getvalue()


def encode(model: sentencepiece.SentencePieceProcessor, lines: list[str], workers: int, label: str) -> list[str]:
    """Each line as its pieces, joined by spaces."""
    encoded: list[str] = []
    with tqdm(total=len(lines), desc=label, unit=" lines", disable=None, mininterval=0.5) as bar:
        for start in range(0, len(lines), BATCH):
            batch = model.encode(lines[start : start + BATCH], out_type=str, num_threads=workers)
            encoded += [" ".join(pieces) for pieces in batch]
            bar.update(len(batch))
    return encoded


def drop_pairs(sides: dict[str, list[str]], max_length: int, max_ratio: float | None) -> tuple[dict, dict]:
    """Leaves out pairs with a side of 0 or more than ``max_length`` pieces, then those with too unequal lengths.

    Returns:
        The remaining sides by language, and the number of pairs dropped for each reason.
    """
    kept: dict[str, list[str]] = {lang: [] for lang in sides}
    dropped = {"length": 0, "ratio": 0}
    for pair in zip(*sides.values(), strict=True):
        short, long = sorted(line.count(" ") + 1 if line else 0 for line in pair)
        if short == 0 or long > max_length:
            dropped["length"] += 1
        elif max_ratio is not None and long > max_ratio * short:
            dropped["ratio"] += 1
        else:
            for lines, line in zip(kept.values(), pair, strict=True):
                lines.append(line)
    return kept, dropped


def check_language(option: str, lang: str) -> None:
    """Raises CorpusError unless ``lang`` can stand in file names and in fairseq's language pair."""
    if not re.fullmatch(r"[A-Za-z0-9_]+", lang):
        raise CorpusError(f"{option} {lang!r}: expected letters, digits and underscores only, like de")


def prepare(options: argparse.Namespace) -> PreparedCorpus:
    """Prepares the corpus that the command line describes.

    Raises:
        CorpusError: see ``read_parallel`` and ``learn_model``; or the output exists, or has a ``:`` in its path.
    """
    languages = (options.source, options.target)
    for option, lang in zip(("--source", "--target"), languages, strict=True):
        check_language(option, lang)
    if options.source == options.target:
        raise CorpusError(f"--source and --target are both {options.source!r}; name two languages")
    require_plain_path(options.output)
    with new_directory(options.output) as directory:
        step("reading the text")
        raw = {split: read_parallel(getattr(options, split), *languages) for split in SPLITS}
        step(f"learning a joint sentencepiece model of {options.vocab_size} pieces")
        both_sides = [line for lang in languages for line in raw["train"][lang]]
        model_bytes = learn_model(both_sides, options.vocab_size, options.character_coverage)
        model = sentencepiece.SentencePieceProcessor(model_proto=model_bytes)
        (directory / "sentencepiece.model").write_bytes(model_bytes)
        pieces = [f"{model.id_to_piece(i)}\t{model.get_score(i):g}\n" for i in range(model.get_piece_size())]
        (directory / "sentencepiece.vocab").write_text("".join(pieces), encoding="utf-8")
        step("encoding the text")
        text = {
            split: {lang: encode(model, raw[split][lang], options.workers, f"{split}.{lang}") for lang in languages}
            for split in SPLITS
        }
        text["train"], dropped = drop_pairs(text["train"], options.max_length, options.max_ratio)
        write_text(directory, text, {split: raw[split] for split in RAW_SPLITS}, options.max_positions)
        step("binarizing with fairseq-preprocess")
        corpus = PreparedCorpus(
            directory=directory,
            name=options.name or options.output.name,
            source=options.source,
            target=options.target,
            subword="sentencepiece",
            lowercased=False,
            moses_tokenized=False,
            joined_dictionary=True,
            vocab_size=options.vocab_size,
            bpe_merges=None,
            counts={split: len(text[split][options.source]) for split in SPLITS},
            dropped=dropped,
            tools={"sentencepiece": package_version("sentencepiece")},
        )
        corpus = finish(corpus, options.workers)
    return dataclasses.replace(corpus, directory=options.output)


def max_ratio(text: str) -> float:
    """An argparse type: a number from 1 on."""
    value = float(text)
    if not value >= 1:
        raise argparse.ArgumentTypeError(f"{text}: expected 1 or more")
    return value


def coverage(text: str) -> float:
    """An argparse type: a share of characters that sentencepiece accepts, 0.98 to 1."""
    value = float(text)
    if not 0.98 <= value <= 1:
        raise argparse.ArgumentTypeError(f"{text}: expected 0.98 to 1")
    return value


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/prepare_corpus.sh",
        description="Prepares parallel text for training with one joint sentencepiece model (BPE). PREFIX stands for "
        "the files PREFIX.SOURCE and PREFIX.TARGET, plain or gzipped (.gz), one sentence per line, UTF-8.",
    )
    for split in SPLITS:
        parser.add_argument(f"--{split}", type=Path, required=True, metavar="PREFIX", help=f"the {split} text")
    parser.add_argument("--source", required=True, metavar="LANG", help="source language: the end of its files' names")
    parser.add_argument("--target", required=True, metavar="LANG", help="target language: the end of its files' names")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="the prepared corpus; must not exist")
    parser.add_argument("--name", help="name of the corpus in reports (default: that of DIR)")
    parser.add_argument(
        "--vocab-size", type=positive_int, default=8000, metavar="N", help="pieces of the model (default: %(default)s)"
    )
    parser.add_argument(
        "--character-coverage",
        type=coverage,
        default=1.0,
        metavar="SHARE",
        help="share of the training text's characters that get a piece (default: %(default)s; 0.9995 suits Chinese)",
    )
    parser.add_argument(
        "--max-length",
        type=positive_int,
        default=175,
        metavar="N",
        help="training pairs with a side of more pieces are left out (default: %(default)s)",
    )
    parser.add_argument(
        "--max-positions",
        type=positive_int,
        default=MAX_POSITIONS,
        metavar="N",
        help="longest sentence, in subwords with its end, that the models to be trained take; a longer one in valid or "
        "test is an error (default: %(default)s, as fairseq's)",
    )
    parser.add_argument(
        "--max-ratio",
        type=max_ratio,
        metavar="R",
        help="training pairs with one side over R times as long as the other are left out (default: none is)",
    )
    add_workers(parser)
    return parser.parse_args(arguments)


def main() -> None:
    """Prepares the corpus and prints a summary."""
    print(summary(prepare(parse_args())))


if __name__ == "__main__":
    run(main)
