"""A toy language that a tiny model learns in seconds."""

import os
import random
import subprocess
import time
from pathlib import Path

from gradinit_mt.common.errors import UserError
from gradinit_mt.training import save_dir

NOUNS = {"Hund": "dog", "Katze": "cat", "Haus": "house", "Baum": "tree", "Auto": "car", "Kind": "child"}
VERBS = {"sieht": "sees", "mag": "likes", "hat": "has", "findet": "finds"}
TEST_SENTENCES = 61  # not a multiple of 8: by default fairseq-generate would omit the last batch


def write_text(prefix: Path, sentences: int, rng: random.Random) -> None:
    pairs = []
    for _ in range(sentences):
        (a, b), (c, d), (e, f) = (
            rng.choice([*NOUNS.items()]),
            rng.choice([*VERBS.items()]),
            rng.choice([*NOUNS.items()]),
        )
        many = rng.random() < 0.5
        pairs.append(
            (f"Das {a} {c} ein {e}{', ja' * many}.", f"The {b} {d} a {f}{', yes' * many}."),
        )
    for lang, lines in zip(("de", "en"), zip(*pairs, strict=True), strict=True):
        prefix.with_suffix(f".{lang}").write_text("\n".join(lines) + "\n", encoding="utf-8")


def call(*arguments, **options) -> subprocess.CompletedProcess:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **options.pop("env", {})}
    arguments = [str(argument) for argument in arguments]
    return subprocess.run(arguments, capture_output=True, text=True, env=environment, **options)


def wait_until_free(directory, deadline):
    """Waits for the workers of a killed launcher to end and release the lock."""
    while True:
        assert time.monotonic() < deadline
        try:
            with save_dir.locked(directory):
                return
        except UserError:
            time.sleep(0.1)
