"""The sample corpus as files: distinct sentence pairs in three splits."""

import gzip
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import repeat
from pathlib import Path

from gradinit_mt.common.errors import UserError
from gradinit_mt.common.files import new_directory

from .dice import Dice
from .sentences import Pair, sentence

LANGUAGES = ("de", "en")
# After this many draws in a row without a new sentence, the grammar is considered exhausted.
PATIENCE = 10_000


def _option(default: int, low: int, high: int, help_text: str):
    return field(default=default, metadata={"range": (low, high), "help": help_text})


@dataclass(frozen=True)
class SampleOptions:
    """What to generate; the command line checks the ranges."""

    train_size: int = _option(24_000, 1, 500_000, "sentence pairs in train")
    valid_size: int = _option(500, 1, 50_000, "sentence pairs in valid")
    test_size: int = _option(500, 1, 50_000, "sentence pairs in test")
    seed: int = _option(1, 0, 2**32 - 1, "seed; the same options give the same text everywhere")


def distinct_pairs(pairs: Iterator[Pair], count: int) -> list[Pair]:
    """The first ``count`` pairs in which neither side has occurred before.

    Raises:
        UserError: the pairs end, or PATIENCE of them in a row bring nothing new.
    """
    kept, seen, idle = [], {lang: set() for lang in LANGUAGES}, 0
    while len(kept) < count:
        pair = next(pairs, None)
        if pair is None or idle == PATIENCE:
            raise UserError(
                f"{count} distinct sentence pairs requested, but the grammar gave only {len(kept)}; request fewer"
            )
        if any(text in seen[lang] for lang, text in zip(LANGUAGES, pair, strict=True)):
            idle += 1
            continue
        idle = 0
        kept.append(pair)
        for lang, text in zip(LANGUAGES, pair, strict=True):
            seen[lang].add(text)
    return kept


def generate(options: SampleOptions) -> dict[str, list[Pair]]:
    """The splits; valid and test are drawn first, so they do not depend on the size of train."""
    sizes = {"valid": options.valid_size, "test": options.test_size, "train": options.train_size}
    pairs = iter(distinct_pairs(map(sentence, repeat(Dice(options.seed))), sum(sizes.values())))
    return {split: [next(pairs) for _ in range(size)] for split, size in sizes.items()}


def write(output: Path, options: SampleOptions) -> None:
    """Writes SPLIT.LANG.gz and SHA256SUMS, with checksums of the texts: gzip's bytes depend on the version of zlib.

    Raises:
        UserError: ``output`` exists, or the grammar has too few sentences.
    """
    with new_directory(output) as directory:
        splits = generate(options)
        sums = []
        for split in sorted(splits):
            for index, lang in enumerate(LANGUAGES):
                data = "".join(pair[index] + "\n" for pair in splits[split]).encode()
                (directory / f"{split}.{lang}.gz").write_bytes(gzip.compress(data, mtime=0))
                sums.append(f"{hashlib.sha256(data).hexdigest()}  {split}.{lang}\n")
        (directory / "SHA256SUMS").write_text("".join(sums))
