"""Runs fairseq's stock commands on the small corpus."""

import multiprocessing
import os
import shutil
import tempfile
from multiprocessing import forkserver
from pathlib import Path

import pytest
from forked import run_module, run_script
from machine import free_port
from short_runs import ADAM, GRADINIT, short_run

VARIABLES = {"OMP_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}


class Fairseq:
    """Runs the stock commands on one corpus, each in a new process.

    The processes are forked from one that has already imported fairseq, and what PyTorch imports with the first
    optimizer, because that takes seconds. Each then runs the module that ``python -m`` would run.
    """

    def __init__(self, corpus: Path, root: Path) -> None:
        self.corpus, self.root = corpus, root
        self.environment = os.environ | VARIABLES
        self.forks = multiprocessing.get_context("forkserver")
        self.forks.set_forkserver_preload(["fairseq_cli.train", "fairseq_cli.generate", "torch._dynamo"])
        with pytest.MonkeyPatch.context() as patch:
            for name, value in VARIABLES.items():
                patch.setenv(name, value)
            forkserver.ensure_running()

    def arguments(self, *arguments):
        """The command line of any command: the corpus, the plugin and ``arguments``."""
        return [str(self.corpus / "bin"), "--user-dir", str(self.root / "gradinit_mt"), *map(str, arguments)]

    def start(self, command, *arguments, stdin="", output=os.devnull):
        """Starts ``fairseq_cli.COMMAND`` with the plugin and returns the process."""
        names = (f"fairseq_cli.{command}", self.arguments(*arguments), stdin, output)
        process = self.forks.Process(target=run_module, args=names)
        process.start()
        return process

    def run(self, command, *arguments, stdin="", fails=False):
        """Runs ``fairseq_cli.COMMAND`` with the plugin, checks whether it failed as expected, returns its output."""
        with tempfile.NamedTemporaryFile("r", errors="replace") as printed:
            process = self.start(command, *arguments, stdin=stdin, output=printed.name)
            process.join()
            output = printed.read()
        # any status but 0: fairseq's data thread may abort the process after an error
        assert (process.exitcode != 0) == fails, output[-6000:]
        return output

    def run_ranks(self, processes, script, *arguments, **variables):
        """Runs a script in several processes, with the variables that torchrun sets."""
        variables |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(processes)}
        with tempfile.NamedTemporaryFile("r", errors="replace") as printed:
            given = (str(script), self.arguments(*arguments), printed.name)
            ranks = [
                self.forks.Process(target=run_script, args=(*given, variables | {"RANK": str(rank)}))
                for rank in range(processes)
            ]
            for rank in ranks:
                rank.start()
            for rank in ranks:
                rank.join()
            assert [rank.exitcode for rank in ranks] == [0] * processes, printed.read()[-6000:]

    def train(self, save_dir, updates, *arguments, **options):
        """A short run of the small model."""
        return self.run("train", *short_run(save_dir, updates), *arguments, **options)


@pytest.fixture(scope="session")
def fairseq(toy_corpus, root) -> Fairseq:
    return Fairseq(toy_corpus, root)


@pytest.fixture(scope="session")
def trained(fairseq, tmp_path_factory) -> Path:
    """The save dir of a finished run: GradInit, then 8 updates of Adam without warmup."""
    save_dir = tmp_path_factory.mktemp("trained") / "run"
    (save_dir.parent / "log").write_text(fairseq.train(save_dir, 8, *GRADINIT, *ADAM))
    return save_dir


@pytest.fixture
def record_only(trained, tmp_path) -> Path:
    """A save dir with only the record of the trained run, as if killed before its first checkpoint."""
    (tmp_path / "run").mkdir()
    shutil.copy(trained / "gradinit.safetensors", tmp_path / "run")
    return tmp_path / "run"
