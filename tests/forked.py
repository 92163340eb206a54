"""Commands in processes that are forked from one that has imported fairseq, which saves each of them seconds."""

import multiprocessing
import os
import runpy
import sys
import tempfile
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest

# fairseq's commands, and what PyTorch imports with the first optimizer
PRELOADED = ["fairseq_cli.train", "fairseq_cli.generate", "torch._dynamo"]


class Command:
    """A started command; all that it prints is kept."""

    def __init__(self, process: BaseProcess, printed) -> None:
        self._process, self._printed = process, printed

    @property
    def runs(self) -> bool:
        return self._process.is_alive()

    def output(self) -> str:
        """What it has printed so far."""
        return Path(self._printed.name).read_text(errors="replace")

    def send(self, *numbers: int) -> None:
        """Sends it these signals."""
        for number in numbers:
            os.kill(self._process.pid, number)

    def ended(self, timeout: float | None = None) -> tuple[int, str]:
        """Waits for its end, for so many seconds; its exit status and what it has printed."""
        self._process.join(timeout)
        assert not self.runs, f"still running after {timeout} s:\n{self.output()[-3000:]}"
        return self._process.exitcode, self.output()


class Forks:
    """Starts what ``python -m MODULE`` or ``python SCRIPT`` would run."""

    def __init__(self, root: Path) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload(PRELOADED)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("OMP_NUM_THREADS", "1")
            patch.setenv("PYTHONWARNINGS", "ignore")
            patch.setenv("PYTHONPATH", str(root), prepend=os.pathsep)
            forkserver.ensure_running()

    def start(self, module: str, *arguments: object, stdin: str = "") -> Command:
        """Starts ``python -m module arguments < stdin``."""
        return self._started(_run_module, module, arguments, stdin)

    def start_script(self, script: Path, *arguments: object, variables: dict[str, str]) -> Command:
        """Starts ``python script arguments < /dev/null`` with these variables of the environment."""
        return self._started(_run_script, str(script), arguments, variables)

    def run(self, module: str, *arguments: object, stdin: str = "") -> tuple[int, str]:
        """The exit status of ``python -m module arguments < stdin``, and what it has printed."""
        return self.start(module, *arguments, stdin=stdin).ended()

    def _started(self, target, name, arguments, given) -> Command:
        printed = tempfile.NamedTemporaryFile()  # noqa: SIM115, the command keeps it
        line = [name, *map(str, arguments)]
        process = self._context.Process(target=target, args=(line, given, printed.name))
        process.start()
        return Command(process, printed)


def _run_module(line, stdin, output):
    _redirect(stdin, output)
    sys.argv = line
    runpy.run_module(line[0], run_name="__main__")


def _run_script(line, variables, output):
    _redirect("", output)
    os.environ.update(variables)
    sys.argv = line
    runpy.run_path(line[0], run_name="__main__")


def _redirect(stdin, output):
    with tempfile.TemporaryFile("w+") as given:
        given.write(stdin)
        given.flush()
        os.lseek(given.fileno(), 0, os.SEEK_SET)
        os.dup2(given.fileno(), 0)
    descriptor = os.open(output, os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdin = os.fdopen(0)
