"""Runs the comparison study: every alternative to learning-rate warmup under one protocol, from corpora to the report.

    make study
    nohup .venv/bin/python experiments/comparison/study.py corpora/multi30k --output runs/comparison &

Stop it with Ctrl-C or SIGTERM; the same command continues: runs from their last checkpoints, and nothing is done twice.
A failed cell leaves the others alone. ``-n`` shows what is left. Options after ``--`` go to snakemake.
"""

import argparse
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path[:1] = [str(ROOT), str(ROOT / "experiments")]  # instead of this folder: the modules are comparison.NAME

from comparison import engine  # noqa: E402 - needs the path above
from comparison.cells import Cell  # noqa: E402
from comparison.configuration import load  # noqa: E402
from comparison.data import checksums  # noqa: E402
from comparison.device import NO_GPU, device_name  # noqa: E402
from comparison.earlier import FILES, remove_outdated_choices, require_usable  # noqa: E402
from comparison.folder import READING  # noqa: E402
from comparison.known import known  # noqa: E402
from comparison.plan import Planned, finished, plan  # noqa: E402
from comparison.time_left import status  # noqa: E402
from gradinit_mt.common import command  # noqa: E402
from gradinit_mt.common.errors import UserError  # noqa: E402
from gradinit_mt.common.files import write_json  # noqa: E402
from gradinit_mt.common.lock import locked  # noqa: E402
from gradinit_mt.corpora.layout import PreparedCorpus  # noqa: E402

HERE = ROOT / "experiments" / "comparison"


def configuration(chosen: argparse.Namespace) -> dict:
    """The configuration file with this command's corpora, output, blocks and device.

    Raises:
        UserError: the file is not as expected, a corpus has the name of none in it or of another one, or a block is
            not in it or has another corpus than these.
    """
    config = load(chosen.config)
    prepared = [PreparedCorpus.load(directory) for directory in chosen.corpora]
    corpora = {corpus.name: str(corpus.directory) for corpus in prepared}
    if twice := [name for name, number in Counter(corpus.name for corpus in prepared).items() if number > 1]:
        raise UserError(f"two of the corpora have the name {twice[0]}: leave one of them out")
    expected = {block["corpus"] for block in config["blocks"].values()}
    if unknown := corpora.keys() - expected:
        raise UserError(f"corpus {', '.join(unknown)}: {chosen.config} has blocks for {', '.join(sorted(expected))}")
    if unknown := set(chosen.blocks or ()) - set(config["blocks"]):
        raise UserError(f"--blocks {', '.join(unknown)}: expected of {', '.join(config['blocks'])}")
    if chosen.blocks:
        config["blocks"] = {name: config["blocks"][name] for name in chosen.blocks}
    for name in chosen.blocks or ():
        if (needed := config["blocks"][name]["corpus"]) not in corpora:
            raise UserError(f"--blocks {name}: its corpus {needed} is not among the arguments; add its directory")
    own = {"corpora": corpora, "data_sha256": {corpus.name: checksums(corpus) for corpus in prepared}}
    own |= {"output": str(chosen.output), "python": sys.executable}
    own |= {"device": chosen.device, "device_name": device_name(chosen.device), "side_by_side": chosen.side_by_side}
    return config | own


def planned_cells(config: dict, further: Sequence[dict] = ()) -> list[Planned]:
    """The cells of the configuration, of which ``further`` readings are known beside those in its output.

    Raises:
        UserError: what there is of a cell is not what the configuration asks for.
    """
    output = Path(config["output"])
    planned = plan(config, [*finished(output), *further])
    for entry in planned:
        require_usable(entry, output, further, config)
    return planned


def adopt(readings: list[dict], output: Path) -> None:
    """Takes cells over that were trained elsewhere; those of which ``output`` has something stay as they are."""
    for reading in readings:
        directory = output / "cells" / Cell.of(reading).name
        if not any((directory / name).exists() for name in FILES):
            directory.mkdir(parents=True, exist_ok=True)
            write_json(directory / READING, reading)


def show_left(config: dict, readings: list[dict]) -> None:
    """Prints what is left of each block, and the names of the cells that are, where these readings are known."""
    planned, there = planned_cells(config, readings), [*readings, *finished(Path(config["output"]))]
    for name, block in config["blocks"].items():
        if block["corpus"] in config["corpora"]:
            of_block = plan(config | {"blocks": {name: block}}, there)
            command.step(f"{name}, {block['about']}: {progress(of_block, there, config)}")
    command.step(f"together: {progress(planned, there, config)}")
    done = {Cell.of(reading) for reading in there}
    for entry in planned:
        if entry.cell not in done:
            print(entry.cell.name)


def progress(planned: list[Planned], readings: list[dict], config: dict) -> str:
    """What is done of the planned cells, and the time left, in one line."""
    return status(planned, readings, config["side_by_side"], config["device_name"])


def _progress_now(config: dict) -> str:
    readings = finished(Path(config["output"]))
    return progress(plan(config, readings), readings, config)


def failures(planned: list[Planned], output: Path) -> list[str]:
    """The cells without a reading, with the end of the last thing that their steps printed."""
    lines = []
    for entry in planned:
        directory = output / "cells" / entry.cell.name
        if not (directory / READING).exists():
            logs = filter(Path.exists, (directory / name for name in ("train.txt", "score.txt", "read.txt")))
            newest = max(logs, key=lambda log: log.stat().st_mtime_ns, default=None)
            text = newest.read_text(encoding="utf-8", errors="replace").strip() if newest else ""
            lines.append(f"{entry.cell.name}: {text.splitlines()[-1] if text else 'it waited for another cell'}")
    return lines


def run_all(config: dict, chosen: argparse.Namespace, lock: int) -> None:
    """Runs the engine while cells are left, until no finished cell adds others to the plan."""
    result = 0
    while True:
        planned, readings = planned_cells(config), finished(chosen.output)
        if {entry.cell for entry in planned} <= set(map(Cell.of, readings)):
            command.step(progress(planned, readings, config))
            break
        remove_outdated_choices(planned, chosen.output, config)
        line = engine.command_line(config, chosen)
        # what a running cell makes is checked when the engine has ended: an error here would interrupt the others
        result = engine.run(line, lock, lambda: _progress_now(config))
        if len(planned_cells(config)) == len(planned):
            break
    wrong = []
    if result:
        failed = failures(planned_cells(config), chosen.output)
        wrong = [f"{len(failed)} of {len(planned)} cells failed:", *failed] if failed else []
        wrong = wrong or [f"snakemake ended with status {result}; see its output above"]
    if finished(chosen.output) and not report(config, chosen.output):
        wrong.append("the report failed; see above. Finished cells are kept, and report.py makes it from them")
    if wrong:
        raise UserError("\n".join(wrong))


def report(config: dict, output: Path) -> bool:
    """Makes the report of what is finished, beside the runs; returns whether it could."""
    line = [sys.executable, HERE / "report.py", output, "--output", output / "report"]
    line += ["--baselines", *config["baselines"]]
    return subprocess.run(list(map(str, line))).returncode == 0


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """The options; those after ``--`` become ``further``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("corpora", nargs="+", type=Path, metavar="CORPUS", help="prepared corpora; blocks of the others are left out")
    add("--output", type=Path, default=Path("runs/comparison"), metavar="DIR", help="(default: %(default)s)")
    add("--config", type=Path, default=HERE / "config.yaml", metavar="FILE", help="the study (default: config.yaml)")
    add("--blocks", nargs="+", metavar="NAME", help="(default: all)")
    add(
        "--cores",
        type=command.positive_int,
        metavar="N",
        help="cells side by side (default: 2, or one for each GPU if there are more)",
    )
    gpus = "GPUs to train on, one cell on each (default: on the CPU)"
    add("--gpus", type=command.number(int, 0), default=0, metavar="N", help=gpus)
    known = "readings.jsonl of an earlier study, whose cells are not trained again"
    add("--known", type=Path, metavar="FILE", help=known)
    add("-n", "--dry-run", action="store_true", help="show what is left, and write nothing")
    chosen = command.parse_with_further(parser, arguments)
    chosen.corpora = [corpus.resolve() for corpus in chosen.corpora]
    chosen.cores = chosen.cores or max(2, chosen.gpus)
    chosen.side_by_side = min(chosen.cores, chosen.gpus or chosen.cores)
    chosen.output, chosen.device = chosen.output.resolve(), "gpu" if chosen.gpus else "cpu"
    return chosen


def main() -> None:
    chosen = parse_arguments(sys.argv[1:])
    config = configuration(chosen)
    readings = known(chosen.known) if chosen.known else []
    if chosen.dry_run:
        show_left(config, readings)
        return
    engine.require_installed()
    if chosen.gpus and not config["device_name"] and not engine.starts_jobs_elsewhere(chosen.further):
        raise UserError(NO_GPU)
    chosen.output.mkdir(parents=True, exist_ok=True)
    with locked(chosen.output, f"{chosen.output} is in use by another start; wait until it has ended") as lock:
        planned_cells(config, readings)
        adopt(readings, chosen.output)
        run_all(config, chosen, lock)


if __name__ == "__main__":
    command.run(main, interrupted="finished cells are kept; the same command continues")
