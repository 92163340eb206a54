"""Runs fairseq's stock commands on the small corpus."""

import shutil
from pathlib import Path

import pytest
from forked import Command, Forks
from machine import free_port, made_once
from short_runs import ADAM, GRADINIT, short_run


class Fairseq:
    """Runs the stock commands on one corpus with the plugin, each in a new process."""

    def __init__(self, corpus: Path, root: Path, forks: Forks) -> None:
        self.corpus, self.root, self._forks = corpus, root, forks

    def arguments(self, *arguments):
        """The command line of any command: the corpus, the plugin and ``arguments``."""
        return [self.corpus / "bin", "--user-dir", self.root / "gradinit_mt", *arguments]

    def start(self, command, *arguments, stdin="") -> Command:
        """Starts ``fairseq_cli.COMMAND``."""
        return self._forks.start(f"fairseq_cli.{command}", *self.arguments(*arguments), stdin=stdin)

    def run(self, command, *arguments, stdin="", fails=False):
        """Runs ``fairseq_cli.COMMAND``, checks whether it failed as expected, and returns its output."""
        status, output = self.start(command, *arguments, stdin=stdin).ended()
        # any status but 0: fairseq's data thread may abort the process after an error
        assert (status != 0) == fails, output[-6000:]
        return output

    def run_ranks(self, processes, script, *arguments, **variables):
        """Runs a script in several processes, with the variables that torchrun sets."""
        variables |= {"MASTER_ADDR": "localhost", "MASTER_PORT": str(free_port()), "WORLD_SIZE": str(processes)}
        line = [script, *self.arguments(*arguments)]
        ranks = [
            self._forks.start_script(*line, variables=variables | {"RANK": str(rank)}) for rank in range(processes)
        ]
        for status, output in [rank.ended() for rank in ranks]:
            assert status == 0, output[-6000:]

    def train(self, save_dir, updates, *arguments, **options):
        """A short run of the small model."""
        return self.run("train", *short_run(save_dir, updates), *arguments, **options)


@pytest.fixture(scope="session")
def fairseq(toy_corpus, root, forks) -> Fairseq:
    return Fairseq(toy_corpus, root, forks)


@pytest.fixture(scope="session")
def trained(fairseq, tmp_path_factory) -> Path:
    """The save dir of a finished run: GradInit, then 8 updates of Adam without warmup. Tests may read it only."""

    def train(place: Path) -> None:
        (place / "log").write_text(fairseq.train(place / "run", 8, *GRADINIT, *ADAM))

    return made_once(tmp_path_factory, "trained", train) / "run"


@pytest.fixture
def record_only(trained, tmp_path) -> Path:
    """A save dir with only the record of the trained run, as if killed before its first checkpoint."""
    (tmp_path / "run").mkdir()
    shutil.copy(trained / "gradinit.safetensors", tmp_path / "run")
    return tmp_path / "run"
