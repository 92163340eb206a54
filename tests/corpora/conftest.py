"""Small parallel texts for the tests of the preparations."""

import random
from pathlib import Path

import pytest

from gradinit_mt.corpora.text import write_lines

SYLLABLES = ["ba", "do", "fi", "gu", "ke", "lo", "mi", "nu", "ra", "sö", "te", "wü"]


def sentences(count: int, seed: int) -> list[str]:
    """Sentences of 3 to 8 made-up words."""
    draw = random.Random(seed)

    def word() -> str:
        return "".join(draw.choices(SYLLABLES, k=draw.randint(1, 3)))

    return [" ".join(word() for _ in range(draw.randint(3, 8))) + "." for _ in range(count)]


def write_parallel_text(folder: Path) -> Path:
    """Fills a new folder with train (300 pairs), valid and test (20 each) in "de" and "en"."""
    folder.mkdir()
    for number, (split, count) in enumerate((("train", 300), ("valid", 20), ("test", 20))):
        for offset, lang in enumerate(("de", "en")):
            write_lines(folder / f"{split}.{lang}", sentences(count, seed=2 * number + offset))
    return folder


@pytest.fixture
def parallel_text(tmp_path) -> Path:
    """A folder of parallel text that the test may change."""
    return write_parallel_text(tmp_path / "text")


@pytest.fixture(scope="module")
def kept_text(tmp_path_factory) -> Path:
    """The same text, not to be changed."""
    return write_parallel_text(tmp_path_factory.mktemp("kept") / "text")
