"""The engine of the study, snakemake: its command line, and its process."""

import argparse
import os
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from gradinit_mt.common import command
from gradinit_mt.common.errors import UserError
from gradinit_mt.common.files import write_json

HERE = Path(__file__).resolve().parent
ENGINE = HERE.parents[1] / ".venv-study" / "bin" / "snakemake"
# not ENGINE itself, whose first line holds the path of the place where it was installed
START = [str(ENGINE.with_name("python")), "-m", "snakemake"]
POLL = 10  # seconds between looks at what has finished
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def require_installed() -> None:
    """Raises UserError if snakemake is not installed."""
    if not ENGINE.exists():
        raise UserError(f"{ENGINE}: not installed; run make study")


def starts_jobs_elsewhere(further: Sequence[str]) -> bool:
    """Whether these options of snakemake let other machines run the cells, as of a cluster."""
    return any(option.partition("=")[0] in ("--profile", "--executor", "-e") for option in further)


def command_line(config: dict, chosen: argparse.Namespace) -> list[str]:
    """The command line of snakemake, whose configuration is written beside its output.

    Args:
        config: of the study.
        chosen: its options; those for snakemake are in ``further``.
    """
    path = chosen.output / "config.json"
    write_json(path, config)
    line = [*START, "--snakefile", str(HERE / "Snakefile"), "--configfile", str(path)]
    line += ["--directory", str(chosen.output), "--workflow-profile", str(HERE / "profiles" / "default")]
    # on a cluster the engine counts jobs, not the cores of this machine
    line += ["--cores", str(chosen.cores), "--jobs", str(chosen.cores), "--resources", f"gpu={chosen.gpus}"]
    return [*line, *chosen.further]


def run(line: list[str], lock: int, progress: Callable[[], str]) -> int:
    """Runs snakemake to its end, and shows progress whenever there is some; returns its exit status.

    The engine inherits the file descriptor ``lock``, so that the output stays locked while it runs, whatever becomes of
    this process.
    """
    process = None
    try:
        with _signals_deferred():  # one that came inside of Popen would leave the engine running
            # in its own session: a signal is passed on to the engine and its steps together
            process = subprocess.Popen(line, start_new_session=True, preexec_fn=_restore_sigint, pass_fds=[lock])
        shown = ""
        while process.poll() is None:
            if (now := progress()) != shown:
                command.step(now)
                shown = now
            with suppress(subprocess.TimeoutExpired):
                process.wait(POLL)
    except BaseException:
        if process is not None:
            os.killpg(process.pid, signal.SIGINT)
            process.wait()
        raise
    return process.returncode


@contextmanager
def _signals_deferred() -> Iterator[None]:
    """The handlers of signals that end the study run after the block, not inside of it."""
    came: list[int] = []
    handlers = {number: signal.signal(number, lambda which, _: came.append(which)) for number in ENDING}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
        for which in came:
            signal.raise_signal(which)


def _restore_sigint() -> None:
    """A shell starts background jobs with SIGINT ignored, and their children would inherit that."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
