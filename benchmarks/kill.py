"""Interrupts a small run at random moments, continues it, and compares it bit for bit with an undisturbed run.

    .venv/bin/python benchmarks/kill.py corpora/sample --output runs/kill --count 100 --processes 1

Each trial starts scripts/train.sh, waits a random part of the undisturbed run's time (mostly of its training, which is
shorter than its start), and sends -9, -15 or -2 to the launcher or to the training process it started. Then the same
command continues the run to its end. A trial counts as equal if parameters, optimizer and place in the data are those
of the undisturbed run, no process was left training and no half-written file. Outcomes are appended to
``trials.jsonl``: the same command continues an interrupted series. The counts are in ``report.json``; the exit status
is 1 if a trial was not equal.
"""

import argparse
import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import torch
from measuring import describe_machine
from tqdm import tqdm

from gradinit_mt.common import command, journal
from gradinit_mt.common.errors import UserError
from gradinit_mt.common.files import write_json
from gradinit_mt.training import checkpoints, save_dir

TRAIN = Path(__file__).resolve().parent.parent / "scripts" / "train.sh"
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
VICTIMS = ("launcher", "training")
SETTINGS = [
    *("--encoder-layers", "1", "--encoder-embed-dim", "16", "--encoder-ffn-embed-dim", "16", "--dropout", "0.3"),
    *("--gradinit-iterations", "60", "--log-interval", "5", "--save-interval-updates", "9"),
    *("--keep-interval-updates", "2", "--keep-last-epochs", "2", "--max-epoch", "3", "--total-num-update", "1000"),
]
BEGUN = "Start iterating over samples"  # fairseq's message before the first update, which begins with GradInit
EARLY = 0.2  # share of the trials whose moment may lie before that
ORPHANS_END = 60  # seconds, after the launcher has ended


class Series:
    """Trials on one corpus with so many processes."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.output: Path = options.output
        further = [*SETTINGS, "--max-tokens", str(options.tokens // options.processes)]
        self.command = [str(TRAIN), str(options.data), "--processes", str(options.processes), "--", *further]
        self.environment = os.environ | {"GRADINIT_MT_PYTHON": sys.executable}

    def start(self, directory: Path) -> subprocess.Popen:
        """Starts or continues the run in this save dir."""
        arguments = [*self.command[:2], "--save-dir", str(directory), *self.command[2:]]
        with open(directory.with_suffix(".log"), "a") as log:
            return subprocess.Popen(arguments, env=self.environment, stdout=log, stderr=log, start_new_session=True)

    def finish(self, directory: Path) -> float:
        """Runs to the end; returns the seconds it took."""
        began = time.monotonic()
        if status := self.start(directory).wait():
            raise UserError(
                f"{directory}: the launcher ended with status {status}; see {directory.with_suffix('.log')}"
            )
        return time.monotonic() - began

    def trial(self, number: int, seconds: float, whole: Path) -> dict:
        """Interrupts, continues and compares one run; ``seconds`` is how long the undisturbed one took."""
        chance = random.Random(number)
        sent, victim, early = chance.choice(SIGNALS), chance.choice(VICTIMS), chance.random() < EARLY
        moment = chance.uniform(0, seconds if early else training_seconds(whole))
        directory = self.output / f"trial{number}"
        launcher = self.start(directory)
        while not (early or launcher.poll() is not None or BEGUN in logged(directory)):
            time.sleep(0.05)
        time.sleep(moment)
        hit = interrupt(launcher, sent, victim)
        status = launcher.wait()
        free = wait_until_free(directory)
        place = where(directory)
        self.finish(directory)
        found = {
            "number": number,
            "early": early,
            "after_seconds": round(moment, 2),
            "signal": sent.name,
            "victim": victim,
        }
        found |= {"sent": hit, "status": status, "place": place, "no_orphan": free}
        found["no_half_written_file"] = not any(directory.rglob("*.tmp"))
        found["same"] = equal(directory, whole)
        return found


def interrupt(launcher: subprocess.Popen, sent: signal.Signals, victim: str) -> bool:
    """Sends the signal to the launcher, or to its child; False if there is none (any more)."""
    process = launcher.pid if victim == "launcher" else child_of(launcher.pid)
    if process is None or launcher.poll() is not None:
        return False
    os.kill(process, sent)
    return True


def child_of(process: int) -> int | None:
    """The first child of a process."""
    children = Path(f"/proc/{process}/task/{process}/children")
    found = children.read_text().split() if children.exists() else []
    return int(found[0]) if found else None


def wait_until_free(directory: Path) -> bool:
    """Whether no process of the run is left; a few seconds pass while they end."""
    end = time.monotonic() + ORPHANS_END
    while time.monotonic() < end:
        try:
            with save_dir.locked(directory):
                return True
        except UserError:
            time.sleep(0.1)
    return False


def logged(directory: Path) -> str:
    """The log of a run so far."""
    log = directory / save_dir.LOG
    return log.read_text(errors="replace") if log.exists() else ""


def training_seconds(whole: Path) -> float:
    """How long the undisturbed run was in GradInit and training, after its start of many seconds."""
    return float(re.findall(r"done training in ([\d.]+) seconds", logged(whole))[-1])


def where(directory: Path) -> str:
    """What the run was doing, by the last lines of its log."""
    text = logged(directory)
    marks = {
        "start": "",
        "GradInit": "GradInit: ",
        "updates": "train_inner | ",
        "validation": "begin validation on",
        "saving": "Saving checkpoint to",
        "between epochs": "end of epoch",
    }
    return max(marks, key=lambda name: (text.rfind(marks[name]) if marks[name] else 0))


def equal(one: Path, other: Path) -> bool:
    """Whether two runs ended with the same parameters, optimizer and place in the data."""
    states = [checkpoints.load(run / "checkpoint_last.pt") for run in (one, other)]
    parts = [
        {name: state[name] for name in ("model", "last_optimizer_state")}
        | {"place": state["extra_state"]["train_iterator"], "updates": state["optimizer_history"][-1]["num_updates"]}
        for state in states
    ]
    try:
        torch.testing.assert_close(*parts, rtol=0, atol=0)
    except AssertionError:
        return False
    return True


def good(trial: dict) -> bool:
    """Whether a trial ended as it should."""
    return trial["same"] and trial["no_orphan"] and trial["no_half_written_file"]


def run(options: argparse.Namespace) -> bool:
    """Runs the trials that are missing; returns whether all were equal."""
    series = Series(options)
    series.output.mkdir(parents=True, exist_ok=True)
    whole = series.output / "whole"
    known = series.output / "trials.jsonl"
    began = time.monotonic()
    if not (series.output / "whole.json").exists():
        write_json(series.output / "whole.json", {"seconds": series.finish(whole)})
    seconds = json.loads((series.output / "whole.json").read_text())["seconds"]
    trials = journal.read(known)
    for number in tqdm(range(len(trials), options.count), desc="trials", disable=None):
        trials.append(series.trial(number, seconds, whole))
        journal.add(known, trials[-1])
        print(trials[-1], file=sys.stderr)
    write_json(series.output / "report.json", summary(trials, options.processes, time.monotonic() - began))
    return all(map(good, trials))


def summary(trials: list[dict], processes: int, seconds: float) -> dict:
    """The counts of a report."""
    count = {name: dict(Counter(trial[name] for trial in trials)) for name in ("place", "signal", "victim")}
    return {
        "machine": describe_machine(torch.device("cpu")),
        "processes": processes,
        "trials": len(trials),
        "good": sum(map(good, trials)),
        "interrupted": sum(trial["sent"] for trial in trials),
        "seconds_of_this_start": round(seconds, 1),
        **count,
    }


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("data", type=Path, metavar="DATA", help="prepared corpus, a small one")
    add("--output", type=Path, required=True, metavar="DIR", help="save dirs, trials.jsonl, report.json")
    add("--count", type=command.positive_int, default=100, help="trials (default: %(default)s)")
    add("--processes", type=command.positive_int, default=1, help="data-parallel processes (default: %(default)s)")
    add("--tokens", type=command.positive_int, default=400, help="per update (default: %(default)s)")
    if not run(parser.parse_args()):
        sys.exit(1)


if __name__ == "__main__":
    command.run(main, interrupted="the same command continues the series")
