"""Any parallel text, prepared with one joint sentencepiece model: ``python -m gradinit_mt.corpora.parallel``."""

import argparse
import dataclasses
import io
import re
from functools import partial
from pathlib import Path

from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

from gradinit_mt.common.command import number, positive_int, run, step
from gradinit_mt.common.errors import UserError
from gradinit_mt.common.files import new_directory
from gradinit_mt.common.versions import package_version
from gradinit_mt.corpora.layout import MAX_POSITIONS, RAW_SPLITS, SPLITS, PreparedCorpus, complete, summary
from gradinit_mt.corpora.names import require_language, require_plain_name, require_plain_path
from gradinit_mt.corpora.text import Sides, Text, find_text, read_lines, require_equal
from gradinit_mt.corpora.workers import add_workers, map_text


def read_parallel(prefix: Path, source: str, target: str) -> Sides:
    """The two sides of a parallel text, by language.

    Raises:
        UserError: a file is missing or not UTF-8, the sides differ in length or are empty, or one has an empty line.
    """
    paths = {lang: find_text(prefix, lang) for lang in (source, target)}
    sides = {lang: read_lines(path) for lang, path in paths.items()}
    names = {str(paths[lang]): lines for lang, lines in sides.items()}
    require_equal(names, "line n of both must be a translation pair")
    for name, lines in names.items():
        if not lines:
            raise UserError(f"{name}: empty; expected one sentence per line")
        for position, line in enumerate(lines, start=1):
            if not line.strip():
                raise UserError(f"{name}, line {position}: empty; remove this line from both sides")
    return sides


def learn_model(sentences: list[str], vocab_size: int, character_coverage: float) -> bytes:
    """A serialized sentencepiece BPE model of the sentences.

    BPE counts pairs as whole numbers, so the model does not depend on the number of threads. It is written to memory,
    so it contains no path.

    Raises:
        UserError: ``vocab_size`` does not fit the text (states the bound), or sentencepiece fails otherwise.
    """
    model = io.BytesIO()
    try:
        SentencePieceTrainer.train(
            sentence_iterator=map(_spaced, sentences),
            model_writer=model,
            model_type="bpe",
            vocab_size=vocab_size,
            character_coverage=character_coverage,
            # The default of 4,192 bytes silently leaves out longer lines.
            max_sentence_length=1 << 20,
            minloglevel=2,
        )
    except (RuntimeError, OSError) as error:
        if bound := re.search(r"Please set it to a value <= (\d+)", str(error)):
            raise UserError(
                f"a vocabulary of {vocab_size} pieces is too large for this text, which gives {bound[1]} at most; "
                "lower --vocab-size"
            ) from error
        if bound := re.search(r"smaller than required_chars. \d+ vs (\d+)", str(error)):
            raise UserError(
                f"a vocabulary of {vocab_size} pieces is too small for the {bound[1]} characters and symbols of this "
                "text; raise --vocab-size or lower --character-coverage"
            ) from error
        raise UserError(f"sentencepiece could not learn a model: {error}") from error
    return model.getvalue()


def encode(model: SentencePieceProcessor, line: str) -> str:
    """The pieces of a line, joined by spaces."""
    return " ".join(model.encode(_spaced(line), out_type=str))


def encode_training(model: SentencePieceProcessor, line: str) -> str:
    """The same with ``<unk>`` for characters without a piece, which would otherwise get an entry in the dictionary."""
    return " ".join(model.id_to_piece(model.encode(_spaced(line))))


def _spaced(line: str) -> str:
    """The line without U+0085, the only character at which Python splits and that sentencepiece does not make a space.

    It stands for an ellipsis in text that was decoded wrongly. fairseq would take a piece with it for two.
    """
    return line.replace("\x85", " ")


def require_subwords(text: Text) -> None:
    """Raises UserError if a line became empty: it held only characters that the model ignores."""
    for split, sides in text.items():
        for lang, lines in sides.items():
            if "" in lines:
                raise UserError(
                    f"{split}.{lang}, line {lines.index('') + 1}: only invisible characters; remove this line from "
                    "both sides"
                )


def drop_pairs(sides: Sides, max_length: int, max_ratio: float | None) -> tuple[Sides, dict[str, int]]:
    """Drops pairs in which a side has 0 or more than ``max_length`` pieces, then those with too unequal lengths.

    Returns:
        The remaining sides by language, and the number of pairs dropped for each reason.
    """
    kept, dropped = [], {"length": 0, "ratio": 0}
    for pair in zip(*sides.values(), strict=True):
        short, long = sorted(line.count(" ") + 1 if line else 0 for line in pair)
        if short == 0 or long > max_length:
            dropped["length"] += 1
        elif max_ratio is not None and long > max_ratio * short:
            dropped["ratio"] += 1
        else:
            kept.append(pair)
    return {lang: [pair[side] for pair in kept] for side, lang in enumerate(sides)}, dropped


def prepare(options: argparse.Namespace) -> PreparedCorpus:
    """Prepares the corpus that the command line describes.

    Raises:
        UserError: see ``read_parallel`` and ``learn_model``; the output exists, or is no plain path; the name is not
            that of a file; or a line of ``valid`` or ``test`` has no subword.
    """
    languages = (options.source, options.target)
    for lang in languages:
        require_language(lang)
    if options.source == options.target:
        raise UserError(f"--source and --target are both {options.source!r}; name two languages")
    require_plain_path(options.output)
    name = options.name or options.output.resolve().name
    require_plain_name(name)
    with new_directory(options.output) as directory:
        step("reading the text")
        raw = {split: read_parallel(getattr(options, split), *languages) for split in SPLITS}
        step(f"learning a joint sentencepiece model of {options.vocab_size} pieces")
        both_sides = [line for lang in languages for line in raw["train"][lang]]
        model_bytes = learn_model(both_sides, options.vocab_size, options.character_coverage)
        model = SentencePieceProcessor(model_proto=model_bytes)
        (directory / "sentencepiece.model").write_bytes(model_bytes)
        pieces = [f"{model.id_to_piece(i)}\t{model.get_score(i):g}\n" for i in range(model.get_piece_size())]
        (directory / "sentencepiece.vocab").write_text("".join(pieces), encoding="utf-8")
        step("encoding the text")
        text = map_text(partial(encode, model), {split: raw[split] for split in RAW_SPLITS}, options.workers)
        require_subwords(text)
        text |= map_text(partial(encode_training, model), {"train": raw["train"]}, options.workers)
        text["train"], dropped = drop_pairs(text["train"], options.max_length, options.max_ratio)
        corpus = PreparedCorpus(
            directory=directory,
            name=name,
            source=options.source,
            target=options.target,
            subword="sentencepiece",
            lowercased=False,
            moses_tokenized=False,
            joined_dictionary=True,
            vocab_size=options.vocab_size,
            dropped=dropped,
            tools={"sentencepiece": package_version("sentencepiece")},
        )
        corpus = complete(corpus, text, raw, options.workers, options.max_positions)
    return dataclasses.replace(corpus, directory=options.output)


def parse_args(arguments: list[str] | None = None) -> argparse.Namespace:
    """The options of the command line."""
    parser = argparse.ArgumentParser(
        prog="scripts/prepare_corpus.sh",
        description="Prepares parallel text for training with one joint sentencepiece model (BPE). PREFIX stands for "
        "the files PREFIX.SOURCE and PREFIX.TARGET, plain or gzipped (.gz), one sentence per line, UTF-8.",
    )
    add = parser.add_argument
    for split in SPLITS:
        add(f"--{split}", type=Path, required=True, metavar="PREFIX", help=f"the {split} text")
    for side in ("source", "target"):
        add(f"--{side}", required=True, metavar="LANG", help=f"{side} language: the suffix of its files")
    add("--output", type=Path, required=True, metavar="DIR", help="new directory for the prepared corpus")
    add("--name", help="name of the corpus in reports (default: that of DIR)")
    size = "pieces of the model (default: %(default)s)"
    add("--vocab-size", type=positive_int, default=8000, metavar="N", help=size)
    coverage = (
        "share of the training text's characters that get a piece; the others are unknown symbols (default: "
        "%(default)s; 0.9995 suits Chinese)"
    )
    add("--character-coverage", type=number(float, 0.98, 1), default=1.0, metavar="SHARE", help=coverage)
    length = "drop training pairs with more pieces on a side (default: %(default)s)"
    add("--max-length", type=positive_int, default=175, metavar="N", help=length)
    positions = (
        "longest sentence that the models will accept, in subwords including its end; a longer one in valid or test is "
        "an error (default: %(default)s, fairseq's default)"
    )
    add("--max-positions", type=positive_int, default=MAX_POSITIONS, metavar="N", help=positions)
    ratio = "drop training pairs with one side more than R times as long as the other (default: no limit)"
    add("--max-ratio", type=number(float, 1), metavar="R", help=ratio)
    add_workers(parser)
    return parser.parse_args(arguments)


def main() -> None:
    """Prepares the corpus and prints a summary."""
    print(summary(prepare(parse_args())))


if __name__ == "__main__":
    run(main)
