"""A run of the stock commands on a toy language."""

import json
import random
import shutil
from functools import partial
from types import SimpleNamespace

import pytest
from machine import made_once
from toy import TEST_SENTENCES, write_text


@pytest.fixture(scope="session")
def toy(root, forks, tmp_path_factory):
    """A prepared corpus, shared by all workers, and this worker's copy of a run of 8 epochs that kept the last 4."""
    place = made_once(tmp_path_factory, "toy", partial(_prepare_and_train, root, forks))
    run = shutil.copytree(place / "run", tmp_path_factory.mktemp("toy") / "run")
    return SimpleNamespace(corpus=place / "corpus", run=run)


def _prepare_and_train(root, forks, place):
    rng = random.Random(1)
    for split, sentences in (("train", 600), ("valid", 30), ("test", TEST_SENTENCES)):
        write_text(place / split, sentences, rng)
    corpus, save_dir = place / "corpus", place / "run"
    splits = [item for split in ("train", "valid", "test") for item in (f"--{split}", place / split)]
    status, output = forks.run(
        *("gradinit_mt.corpora.parallel", *splits, "--source", "de", "--target", "en"),
        *("--output", corpus, "--vocab-size", "90", "--workers", "1"),
    )
    assert status == 0, output
    status, output = forks.run(
        *("fairseq_cli.train", corpus / "bin", "--user-dir", root / "gradinit_mt"),
        *("--task", "gradinit_translation", "--no-gradinit", "--arch", "post_ln_transformer_tiny"),
        *("--encoder-layers", "1", "--decoder-layers", "1", "--optimizer", "adam", "--lr", "5e-3", "--cpu"),
        *("--criterion", "label_smoothed_cross_entropy", "--max-tokens", "1500", "--max-epoch", "8"),
        *("--keep-last-epochs", "4"),
        *("--required-batch-size-multiple", "1", "--save-dir", save_dir, "--log-format", "json"),
    )
    assert status == 0, output
    (save_dir / "run.json").write_text(json.dumps({"data": str(corpus), "options": [], "starts": []}))
