"""Fixtures shared by all folders of the tests."""

import gzip
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from forked import Forks
from machine import made_once

import gradinit_mt
from gradinit_mt.common.processor import usable_cores

# A shell starts background jobs with SIGINT ignored, and processes under test would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)

# The networks of the tests are too small for more threads, and the workers share the cores.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")  # of processes under test

# Servers under test are on this machine, whatever proxy it has for others.
os.environ |= dict.fromkeys(("no_proxy", "NO_PROXY"), "localhost,127.0.0.1")

ROOT = Path(__file__).resolve().parent.parent


# Folders whose test files take minutes. A worker is given whole files in order; a long one at the end idles the others.
LONG = ("end_to_end", "scripts", "experiments", "examples", "plugin")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than the cores, for the moments in which a test waits for a process to end; 4 at most."""
    return min(4, usable_cores() + 1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Puts the long folders first, and keeps the order within a folder."""
    items.sort(key=lambda item: LONG.index(item.path.parent.name) if item.path.parent.name in LONG else len(LONG))


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def forks(root) -> Forks:
    """Starts commands with fairseq imported already."""
    return Forks(root)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real corpora beside the checkout; a test that needs them is skipped where they are absent."""
    path = ROOT.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"needs the real corpora in {path}, which are not part of the project")
    return path


@pytest.fixture(scope="session")
def toy_corpus(root, tmp_path_factory) -> Path:
    """240 training, 30 validation and 20 test pairs of the sample, prepared with 300 subwords."""

    def prepare(directory: Path) -> None:
        for split, size in (("train", 240), ("valid", 30), ("test", 20)):
            for lang in ("de", "en"):
                text = gzip.decompress((root / f"data/sample/{split}.{lang}.gz").read_bytes())
                (directory / f"{split}.{lang}").write_bytes(b"".join(text.splitlines(keepends=True)[:size]))
        command = [str(root / "scripts/prepare_corpus.sh"), "--name", "toy", "--source", "de", "--target", "en"]
        command += ["--vocab-size", "300", "--workers", "1", "--output", str(directory / "corpus")]
        for split in ("train", "valid", "test"):
            command += [f"--{split}", str(directory / split)]
        environment = os.environ | {"GRADINIT_MT_PYTHON": sys.executable}
        subprocess.run(command, check=True, capture_output=True, env=environment)

    return made_once(tmp_path_factory, "sample", prepare) / "corpus"


@pytest.fixture(scope="session")
def dictionary():
    """One of fairseq's, with forty words."""
    from fairseq.data import Dictionary

    words = Dictionary()
    for number in range(40):
        words.add_symbol(f"w{number}")
    return words


@pytest.fixture(scope="session")
def task(dictionary):
    """A task of fairseq without data, for building models."""
    gradinit_mt.register_with_fairseq()
    return SimpleNamespace(source_dictionary=dictionary, target_dictionary=dictionary)
