"""The stock commands of fairseq, run on the small corpus."""

import multiprocessing
import os
import subprocess
import sys
import tempfile
from multiprocessing import forkserver
from pathlib import Path

import pytest
from forked import run_module
from short_runs import ADAM, GRADINIT, MODEL, TRAINING

VARIABLES = {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


class Fairseq:
    """Runs the stock commands on one corpus, each in a process of its own.

    Processes are forked from one that has imported fairseq, which saves most of the seconds of a start; each then runs
    the module that ``python -m`` runs, with its own arguments. Several data-parallel processes start under torchrun.
    """

    def __init__(self, corpus: Path, root: Path) -> None:
        self.corpus, self.root = corpus, root
        self.environment = os.environ | VARIABLES
        self.forks = multiprocessing.get_context("forkserver")
        self.forks.set_forkserver_preload(["fairseq_cli.train", "fairseq_cli.generate"])
        with pytest.MonkeyPatch.context() as patch:
            for name, value in VARIABLES.items():
                patch.setenv(name, value)
            forkserver.ensure_running()

    def run(self, command, *arguments, stdin="", status=0, processes=1, module=None, variables=None):
        """Runs ``fairseq_cli.COMMAND`` with the plugin, checks whether it succeeded (status 0), returns its output."""
        arguments = [str(self.corpus / "bin"), "--user-dir", str(self.root / "gradinit_mt"), *map(str, arguments)]
        if processes > 1:
            line = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
            line += [module] if module else ["-m", f"fairseq_cli.{command}"]
            streams = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
            done = subprocess.run([*line, *arguments], env=self.environment | (variables or {}), **streams)
            ended, output = done.returncode, done.stdout
        else:
            with tempfile.NamedTemporaryFile("r", errors="replace") as printed:
                fork = self.forks.Process(
                    target=run_module, args=(f"fairseq_cli.{command}", arguments, stdin, printed.name)
                )
                fork.start()
                fork.join()
                ended, output = fork.exitcode, printed.read()
        # fairseq's data thread may still be running when an error ends it, and then aborts the process
        assert (ended == 0) == (status == 0), output[-6000:]
        return output

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
