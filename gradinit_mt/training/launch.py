"""Trains a model on a prepared corpus with the stock fairseq-train, or continues an earlier start.

python -m gradinit_mt.training.launch DATA [options] [-- options of fairseq-train]
"""

import argparse
import os
import re
import shlex
import signal
import sys
from functools import partial
from pathlib import Path

import torch

from gradinit_mt.common import command
from gradinit_mt.common.errors import UserError
from gradinit_mt.common.processor import usable_cores
from gradinit_mt.corpora.layout import PreparedCorpus
from gradinit_mt.corpora.names import require_plain_path
from gradinit_mt.plugin.checkpoints import newest
from gradinit_mt.plugin.watch import stop_note
from gradinit_mt.record.record import TENSORS, Record
from gradinit_mt.training import options, preflight, save_dir
from gradinit_mt.training.log import LOG
from gradinit_mt.training.presets import PRESETS, preset_for
from gradinit_mt.training.process import Outcome, run_logged

# By default glibc returns each update's large tensors to the system, and the next update faults their pages in again.
KEEP_MEMORY = "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=4294967296:glibc.malloc.top_pad=67108864"

LITTLE_USE = 0.5  # bits per token; a model that translates has a source gain of several

MAX_SEED = 2**32 - 1  # of NumPy
MAX_PORT = 2**16 - 1


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """The options; those after ``--`` become ``further``."""
    presets = "\n".join(f"  {name:14} {preset.about}" for name, preset in PRESETS.items())
    parser = argparse.ArgumentParser(
        prog="scripts/train.sh",
        description="Train a model on a prepared corpus, by default with GradInit and without warmup.",
        epilog=f"presets:\n{presets}\n\nOptions after -- go to fairseq-train and override the preset's, for example\n"
        "  scripts/train.sh DATA -- --no-gradinit --warmup-updates 1000 --lr 5e-4",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("data", type=Path, metavar="DATA", help="prepared corpus (the directory with corpus.json)")
    add("--save-dir", type=Path, metavar="DIR", help="checkpoints and logs (default: runs/<corpus>-seed<seed>)")
    add("--preset", choices=tuple(PRESETS), help="settings (default: by the corpus's name, else other)")
    add(
        "--seed",
        type=command.number(int, 0, MAX_SEED),
        default=1,
        help="for parameters, batch order and dropout (default: %(default)s)",
    )
    add("--device", choices=("auto", "cpu", "gpu"), default="auto", help="auto: GPUs if there are any")
    add_number = partial(add, type=command.positive_int, metavar="N")
    add_number("--processes", help="data-parallel processes (default: all GPUs; CPU: 1)")
    add_number("--tokens-per-update", help="over all processes (default: the preset's)")
    add_number("--nodes", default=1, help="machines that train together (default: %(default)s)")
    add("--node", type=int, default=0, metavar="K", help="index of this machine, from 0 (default: %(default)s)")
    add("--rendezvous", metavar="HOST:PORT", help="address of machine 0, where all machines meet")
    add("--dry-run", action="store_true", help="print the command and stop")
    chosen = command.parse_with_further(parser, arguments)
    if not 0 <= chosen.node < chosen.nodes:
        parser.error(f"--node {chosen.node}: expected from 0 to {chosen.nodes - 1}, below --nodes")
    address = re.fullmatch(r"[^\s:]+:(\d{1,5})", chosen.rendezvous or "")
    if (chosen.nodes > 1 or chosen.rendezvous) and not (address and 0 < int(address[1]) <= MAX_PORT):
        parser.error(f"--rendezvous {chosen.rendezvous}: expected HOST:PORT, the same on all machines")
    return chosen


def command_line(
    arguments: list[str], processes: int, nodes: int = 1, node: int = 0, rendezvous: str | None = None
) -> list[str]:
    """The command line of fairseq-train, started by torchrun if there are several processes in all.

    Args:
        arguments: those of fairseq-train.
        processes: on this machine.
        nodes: machines.
        node: index of this machine; rank 0 is on machine 0.
        rendezvous: HOST:PORT of machine 0, if there are several.
    """
    python = [sys.executable]
    if processes * nodes > 1:
        python += ["-m", "torch.distributed.run", f"--nproc_per_node={processes}"]
        if rendezvous is None:
            python += ["--standalone"]
        else:
            host, _, port = rendezvous.partition(":")
            python += [f"--nnodes={nodes}", f"--node_rank={node}", f"--master_addr={host}", f"--master_port={port}"]
    return [*python, "-m", "fairseq_cli.train", *arguments]


def devices(device: str, processes: int | None) -> tuple[int, int]:
    """The numbers of GPUs to use and of processes.

    Raises:
        UserError: the machine has fewer GPUs.
    """
    present = torch.cuda.device_count()
    if device == "cpu" or (device == "auto" and not present):
        return 0, processes or 1
    if not present:
        raise UserError("no GPU found; use --device cpu")
    wanted = processes or present
    if wanted > present:
        raise UserError(f"{wanted} GPUs requested, this machine has {present}; use --device cpu or fewer")
    return wanted, wanted


def train(arguments: list[str]) -> None:
    """Runs ``scripts/train.sh`` with these arguments."""
    chosen = parse_arguments(arguments)
    corpus = PreparedCorpus.load(chosen.data.resolve())
    directory = (chosen.save_dir or Path("runs", f"{corpus.name}-seed{chosen.seed}")).resolve()
    require_plain_path(directory)  # fairseq-generate could not read its checkpoints
    gpus, processes = devices(chosen.device, chosen.processes)
    preset = chosen.preset or preset_for(corpus.name)
    everywhere = processes * chosen.nodes
    fairseq_arguments = options.compose(
        preset, corpus, directory, chosen.seed, chosen.further, chosen.tokens_per_update, gpus, everywhere
    )
    preflight.require_sound(fairseq_arguments)
    line_now = partial(_line, directory, fairseq_arguments, processes, chosen)
    if chosen.dry_run:
        print(shlex.join(line_now()))
        return
    owner = chosen.node == 0  # of the save dir; another machine keeps its log beside it
    own = directory if owner else directory.with_name(f"{directory.name}.node{chosen.node}")
    if owner:
        save_dir.require_usable(directory)
        here = save_dir.new_run(corpus, fairseq_arguments)
        if not save_dir.has_begun(directory):
            preflight.require_files(fairseq_arguments)
    with save_dir.locked(own) as lock:
        run = _prepared_run(directory, here) if owner else None
        shown = shlex.quote(str(_from_here(directory)))
        given = options.given(fairseq_arguments)
        max_update = given.get("max_update")
        if save_dir.is_complete(directory, given):
            command.step(f"{shown} is complete; next: scripts/evaluate.sh {shown}")
            return
        stop_note.remove(directory)
        line = line_now()
        if run is not None:
            save_dir.note_start(directory, run, line)
        about = f"preset {preset}: {_plan(given)}; {_place(gpus, processes, chosen)}"
        command.step(f"training on {corpus.name} ({about}); checkpoints and log in {shown}")
        outcome = run_logged(line, environment(gpus, processes), own / LOG, max_update, keep_open=[lock])
    _leave_if_stopped(outcome, directory, shown, owner)
    _require_success(outcome, shlex.quote(str(_from_here(own / LOG))))
    if outcome.source_gain < LITTLE_USE:
        command.step(
            f"warning: with another source the loss is only {outcome.source_gain:.2f} bits per token higher, "
            "so this model hardly translates. After a short training, try more updates (--max-update); otherwise a "
            "lower --lr, then warmup (--warmup-updates)"
        )
    if any(directory.glob("checkpoint*.pt")):
        command.step(f"done; next: scripts/evaluate.sh {shown}")
    else:
        command.step(f"ended without a checkpoint in {shown}")


def _line(directory: Path, arguments: list[str], processes: int, chosen: argparse.Namespace) -> list[str]:
    """The command line of this start; says so if options about another checkpoint are left out."""
    if (directory / newest.LAST).exists() and (remaining := options.continuing(arguments)) != arguments:
        command.step(f"continuing from {newest.LAST}: --restore-file and --reset-* applied to the first start")
        arguments = remaining
    return command_line(arguments, processes, chosen.nodes, chosen.node, chosen.rendezvous)


def _plan(given: dict) -> str:
    ends = {"updates": given.get("max_update"), "epochs": given.get("max_epoch")}
    limits = [f"{number:,} {unit}" for unit, number in ends.items() if number]
    return f"{given['arch']}, lr {', '.join(f'{lr:g}' for lr in given['lr'])}, {' or '.join(limits) or 'no end'}"


def _place(gpus: int, processes: int, chosen: argparse.Namespace) -> str:
    here = f"{gpus} GPU{'s' * (gpus > 1)}" if gpus else f"CPU, {processes} process{'es' * (processes > 1)}"
    return here + (f", machine {chosen.node} of {chosen.nodes}" if chosen.nodes > 1 else "")


def _leave_if_stopped(outcome: Outcome, directory: Path, shown: str, owner: bool) -> None:
    """Exits with the status of a run that the watch has stopped, which torchrun reports as 1."""
    message = stop_note.message(directory)
    stopped = outcome.status == stop_note.STATUS or (outcome.status and message)
    if not stopped or outcome.interrupted_by is not None:
        return
    if message and not owner:  # the first rank's machine has shown it
        command.step(message)
    command.step(f"{shown} was stopped; other settings need another --save-dir, and --watch-updates 0 goes after --")
    sys.exit(stop_note.STATUS)


def _require_success(outcome: Outcome, log: str) -> None:
    if outcome.interrupted_by == signal.SIGINT:
        raise KeyboardInterrupt
    if outcome.interrupted_by is not None:
        sys.exit(128 + outcome.interrupted_by)
    if outcome.status:
        full = any("No space left on device" in text for text in outcome.last_lines)
        raise UserError(
            f"{command.failure('fairseq-train', outcome.status, outcome.last_lines)}\nIts output is in {log}. "
            f"{'The disk is full: make room, and the' if full else 'The'} same command continues the run"
        )


def _prepared_run(directory: Path, here: dict) -> dict:
    run = save_dir.checked_run(directory, here)
    for message in newest.mend(directory):
        command.step(message)
    if (directory / TENSORS).exists() and not (directory / newest.LAST).exists():
        Record.load(directory)  # which the run would continue
    return run


def _from_here(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def environment(gpus: int, processes: int) -> dict[str, str]:
    """The variables of the training processes: on a CPU they see no GPU and share the cores."""
    shown = {"LOGLEVEL": "INFO"}  # of fairseq, whose messages the launcher reads
    if gpus:
        return os.environ | shown
    threads = max(1, usable_cores() // processes)
    defaults = {"OMP_NUM_THREADS": str(threads), "GLIBC_TUNABLES": KEEP_MEMORY}
    return defaults | os.environ | shown | {"CUDA_VISIBLE_DEVICES": ""}


if __name__ == "__main__":
    command.run(lambda: train(sys.argv[1:]), interrupted="the same command continues the run")
