"""Interrupts a small run in every phase, continues it, and compares it bit for bit with an undisturbed run.

    .venv/bin/python benchmarks/kill.py runs/kill/corpus --output runs/kill --count 100 --processes 1 2

Each trial starts scripts/train.sh, waits for a phase of the run (its start, GradInit, updates, a validation, a save,
the end of an epoch), then for a random part of it, and sends -9, -15 or -2 to the launcher, its group, one training
process, torchrun, or every process. Then the same command continues the run to its end. A trial is good if

- the run ended, with the documented status, and within a minute no process was left;
- every file under a final name was whole, and the newest checkpoint no older than the last one reported as saved;
- the continued run equals the undisturbed one bit for bit, logged losses included, and left no temporary file.

Outcomes are appended to ``trials.jsonl``: the same command continues the series, and a larger ``--count`` extends it.
``report.json`` has the counts, ``table.md`` phase x signal x target. Save dirs of trials that are not good are kept.
The exit status is 1 if there is one.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import interrupting
import run_ends
import torch
from interrupting import PHASES, TARGETS, Follower, Started
from measuring import describe_machine
from tqdm import tqdm

from gradinit_mt.common import command, journal
from gradinit_mt.common.errors import UserError
from gradinit_mt.common.files import write_json, write_text
from gradinit_mt.common.tables import markdown
from gradinit_mt.training.log import LOG

T = TypeVar("T")

TRAIN = Path(__file__).resolve().parent.parent / "scripts" / "train.sh"
SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
AIMS = (*PHASES, "GradInit", "validation", "saving", "epoch end")  # twice: those in which a kill may spoil something
TOKENS = 600  # per update
SETTINGS = [
    *("--encoder-layers", "1", "--decoder-layers", "1", "--encoder-embed-dim", "16", "--encoder-ffn-embed-dim", "16"),
    *("--encoder-attention-heads", "2", "--decoder-attention-heads", "2", "--dropout", "0.3"),
    *("--gradinit-iterations", "30", "--gradinit-look-ahead", "2", "--log-interval", "2"),
    *("--save-interval-updates", "5", "--keep-interval-updates", "2", "--keep-last-epochs", "2"),
    *("--max-epoch", "2", "--max-update", "1000", "--total-num-update", "1000"),
]
SHORTEST = 0.001  # seconds of a phase that can be aimed at
HANGS = 120  # seconds after the signal until a launcher counts as hanging


class Runs:
    """Runs of one corpus with a given number of processes, among them the undisturbed one."""

    def __init__(self, data: Path, output: Path, processes: int) -> None:
        self.output, self.processes = output, processes
        self.whole = output / f"whole{processes}"
        further = [*SETTINGS, "--max-tokens", str(TOKENS // processes)]
        self.command = [str(TRAIN), str(data), "--device", "cpu", "--processes", str(processes), "--", *further]

    def start(self, directory: Path) -> subprocess.Popen:
        """Starts or continues the run in this save dir."""
        arguments = [*self.command[:2], "--save-dir", str(directory), *self.command[2:]]
        environment = {"OMP_NUM_THREADS": "1"} | os.environ | {"GRADINIT_MT_PYTHON": sys.executable}
        with open(_output(directory), "a") as log:
            return subprocess.Popen(arguments, env=environment, stdout=log, stderr=log, start_new_session=True)

    def finish(self, directory: Path) -> None:
        """Runs to the end; raises UserError if it fails or hangs, and then leaves no process."""
        try:
            status = self.start(directory).wait(HANGS)
        except subprocess.TimeoutExpired as error:
            _end_all(directory)
            raise UserError(f"{directory}: the run has not ended within {HANGS} seconds") from error
        if status:
            raise UserError(f"{directory}: the launcher ended with status {status}; see {_output(directory)}")

    def spans(self) -> dict[str, list[float]]:
        """The seconds of each phase of the undisturbed run, in order, which is run first if need be."""
        path = self.whole.with_suffix(".json")
        if not path.exists():
            log = Follower(self.whole / LOG)
            with _alone(self.whole):
                launcher = self.start(self.whole)
                while launcher.poll() is None:
                    log.read()
                    time.sleep(interrupting.STEP)
            if launcher.wait():
                raise UserError(f"{self.whole}: the undisturbed run failed; see {_output(self.whole)}")
            log.read()
            write_json(path, spans(log.entries))
        return json.loads(path.read_text())

    def trial(self, number: int, plan: "Plan") -> dict:
        """Interrupts, continues and compares one run; its save dir is removed if the trial was good."""
        directory = self.output / f"trial{number}"
        with _alone(directory):
            began = time.monotonic()
            found = self._interrupted(number, plan, directory) | self._continued(directory)
            found["seconds"] = round(time.monotonic() - began, 1)
        if good(found):
            _remove(directory)
        return found

    def _interrupted(self, number: int, plan: "Plan", directory: Path) -> dict:
        log = Follower(directory / LOG)
        run = Started(self.start(directory), self.processes, log)
        run.approach(plan.phase, plan.occurrence, plan.delay)
        met = run.hit(plan.signal, plan.target, plan.chance)
        found = plan.facts(number, self.processes) | {"hit": met, "phase": log.phase}
        found |= _ended(run.launcher, directory)
        found["half_written"] = run_ends.half_written(directory)
        found["kept"] = not found["half_written"] and run_ends.newest_update(directory) >= log.saved
        return found

    def _continued(self, directory: Path) -> dict:
        try:
            self.finish(directory)
        except UserError as error:
            return {"differences": [str(error)], "temporary_files": []}
        left = [path.name for path in directory.rglob("*.tmp")]
        return {"differences": run_ends.differences(self.whole, directory), "temporary_files": left}


class Plan:
    """What is done in a trial, drawn by its number: the values of every factor are equally frequent."""

    def __init__(self, index: int, processes: int, spans: dict[str, list[float]], aims: Sequence[str] = AIMS) -> None:
        self.chance = random.Random(f"{processes} {index}")
        names = TARGETS if processes > 1 else TARGETS[:-1]
        self.signal = balanced(SIGNALS, index, f"{processes} signal")
        self.target = balanced(names, index, f"{processes} target")
        self.phase = balanced(aims, index, f"{processes} phase")
        lengths = spans[self.phase][: -1 if self.phase in ("updates", "epoch end") else None]  # the run ends with them
        long = [pair for pair in enumerate(lengths, 1) if pair[1] > SHORTEST]
        self.occurrence, length = self.chance.choice(long or list(enumerate(lengths, 1)))
        self.delay = self.chance.uniform(0, length)

    def facts(self, number: int, processes: int) -> dict:
        """For the outcome."""
        place = {"aim": self.phase, "occurrence": self.occurrence, "after_seconds": round(self.delay, 3)}
        return {"number": number, "processes": processes, "signal": self.signal.name, "target": self.target} | place


def balanced(values: Sequence[T], index: int, seed: str) -> T:
    """The value at an index of an endless sequence: all values in a random order, then again in another."""
    block, place = divmod(index, len(values))
    return random.Random(f"{seed} {block}").sample(values, len(values))[place]


def spans(entries: list[tuple[str, float]]) -> dict[str, list[float]]:
    """The seconds of each time that a phase lasted, by phase."""
    found: dict[str, list[float]] = {phase: [] for phase in PHASES}
    for (phase, begun), (_, ended) in pairwise(entries):
        found[phase].append(ended - begun)
    return found


@contextmanager
def _alone(directory: Path) -> Iterator[None]:
    """Without files or processes of an earlier attempt, which was cut off; processes also end if this one is."""
    try:
        _end_all(directory)
        _remove(directory)
        yield
    except BaseException:
        _end_all(directory)
        raise


def _ended(launcher: subprocess.Popen, directory: Path) -> dict:
    """How a run ended after its signal; what is left of it is killed."""
    began = time.monotonic()
    with suppress(subprocess.TimeoutExpired):
        launcher.wait(HANGS)
    status = launcher.poll()
    orphans = interrupting.remaining(directory) if status is not None else []
    seconds = round(time.monotonic() - began, 2)
    _end_all(directory)
    launcher.wait()
    return {"status": status, "seconds_to_end": seconds, "orphans": len(orphans)}


def _end_all(directory: Path) -> None:
    interrupting.kill(interrupting.remaining(directory, 0))


def _output(directory: Path) -> Path:
    """What the launcher has printed."""
    return directory.with_suffix(".log")


def _remove(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    _output(directory).unlink(missing_ok=True)


def good(trial: dict) -> bool:
    """Whether a trial ended as it should."""
    faults = ("orphans", "half_written", "differences", "temporary_files")
    return trial["kept"] and documented(trial) and not any(trial[name] for name in faults)


def documented(trial: dict) -> bool:
    """Whether the launcher's exit status is the one that the documentation promises."""
    number = signal.Signals[trial["signal"]]
    if not trial["hit"]:
        return trial["status"] == 0
    if trial["target"] not in ("launcher", "group", "job"):
        return trial["status"] is not None  # None: it hung
    if number == signal.SIGKILL:
        return trial["status"] == -number
    # a launcher that has not begun to listen ends by the signal itself
    return trial["status"] in ((128 + number, -number) if trial["phase"] == "start" else (128 + number,))


def run(options: argparse.Namespace) -> bool:
    """Runs the trials that are missing; returns whether all were good."""
    options.output.mkdir(parents=True, exist_ok=True)
    known = options.output / "trials.jsonl"
    trials = journal.resume(known)
    runs = [Runs(options.data.resolve(), options.output.resolve(), processes) for processes in options.processes]
    with tqdm(total=options.count, initial=count_hits(trials), desc="trials", disable=None) as bar:
        while count_hits(trials) < options.count:
            index, which = divmod(len(trials), len(runs))
            chosen = runs[which]
            plan = Plan(index, chosen.processes, chosen.spans(), options.phases)
            trials.append(chosen.trial(len(trials), plan))
            journal.add(known, trials[-1])
            tqdm.write(_line(trials[-1]), file=sys.stderr)
            bar.update(trials[-1]["hit"])
    _report(options.output, trials)
    return all(map(good, trials))


def count_hits(trials: list[dict]) -> int:
    """The trials that count: those whose run had not ended before the signal."""
    return sum(trial["hit"] for trial in trials)


def _line(trial: dict) -> str:
    verdict = "good" if good(trial) else "NOT GOOD"
    place = f"{trial['signal']} to {trial['target']} in {trial['phase']}" if trial["hit"] else "ended before the signal"
    return f"trial {trial['number']}, {trial['processes']} processes: {place}: {verdict}"


def _report(output: Path, trials: list[dict]) -> None:
    hits = [trial for trial in trials if trial["hit"]]
    facts = {
        "machine": describe_machine(torch.device("cpu")),
        "trials": len(hits),
        "good": sum(map(good, hits)),
        "ended_before_the_signal": len(trials) - len(hits),
        "seconds": round(sum(trial["seconds"] for trial in trials)),
    }
    facts |= {name: dict(Counter(trial[name] for trial in hits)) for name in ("processes", "phase", "signal", "target")}
    write_json(output / "report.json", facts)
    text = table(hits)
    write_text(output / "table.md", text)
    print(json.dumps(facts, indent=2), text, sep="\n\n", end="")


def table(trials: list[dict]) -> str:
    """Good trials of all trials, by signal and target (rows) and phase (columns), as Markdown."""
    rows = []
    kinds = sorted({(trial["processes"], trial["signal"], trial["target"]) for trial in trials})
    for kind in [*kinds, ("all", "", "")]:
        members = [t for t in trials if kind[0] == "all" or (t["processes"], t["signal"], t["target"]) == kind]
        cells = [_cell([t for t in members if t["phase"] == phase]) for phase in PHASES]
        rows.append([*map(str, kind), *cells, _cell(members)])
    return markdown(["processes", "signal", "target", *PHASES, "all"], rows)


def _cell(trials: list[dict]) -> str:
    return f"{sum(map(good, trials))}/{len(trials)}" if trials else ""


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    add = parser.add_argument
    add("data", type=Path, metavar="DATA", help="prepared corpus, a small one")
    add("--output", type=Path, required=True, metavar="DIR", help="save dirs, trials.jsonl, report.json, table.md")
    add("--count", type=command.positive_int, default=100, help="trials (default: %(default)s)")
    numbers = "data-parallel processes; trials alternate between several numbers (default: 1 2)"
    add("--processes", type=command.positive_int, nargs="+", default=[1, 2], metavar="N", help=numbers)
    aims = "phases to aim at (default: all; GradInit, validation, saving and epoch end twice as often as the others)"
    add("--phases", nargs="+", default=AIMS, choices=PHASES, metavar="PHASE", help=aims)
    # a shell may have started this with SIGINT ignored, which the runs would inherit
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if not run(parser.parse_args()):
        sys.exit(1)


if __name__ == "__main__":
    command.run(main, interrupted="the same command continues the series")
