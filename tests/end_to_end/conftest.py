"""The stock commands of fairseq, run on the small corpus as a user runs them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from short_runs import ADAM, GRADINIT, MODEL, TRAINING


class Fairseq:
    """Runs the stock commands on one corpus."""

    def __init__(self, corpus: Path, root: Path) -> None:
        self.corpus, self.root = corpus, root
        self.environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}

    def run(self, command, *arguments, stdin=None, status=0, processes=1, module=None, variables=None):
        """Runs ``fairseq_cli.COMMAND`` with the plugin, checks whether it succeeded (status 0), returns its output."""
        line = [sys.executable]
        if processes > 1:
            line += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
        line += [module] if module else ["-m", f"fairseq_cli.{command}"]
        line += [str(self.corpus / "bin"), "--user-dir", str(self.root / "gradinit_mt"), *map(str, arguments)]
        done = subprocess.run(
            line,
            input=stdin,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self.environment | (variables or {}),
        )
        # fairseq's data thread may still be running when an error ends it, and then aborts the process
        assert (done.returncode == 0) == (status == 0), done.stdout[-6000:]
        return done.stdout

    def train(self, save_dir, updates, *arguments, **options):
        """A short run of the small model."""
        paths = ["--save-dir", save_dir, "--max-update", updates]
        return self.run("train", *MODEL, *TRAINING, *paths, *arguments, **options)


@pytest.fixture(scope="session")
def fairseq(toy_corpus, root) -> Fairseq:
    return Fairseq(toy_corpus, root)


@pytest.fixture(scope="session")
def trained(fairseq, tmp_path_factory) -> Path:
    """The save dir of a finished run: GradInit, then 8 updates of Adam without warmup."""
    save_dir = tmp_path_factory.mktemp("trained") / "run"
    (save_dir.parent / "log").write_text(fairseq.train(save_dir, 8, *GRADINIT, *ADAM))
    return save_dir
