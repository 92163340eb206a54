"""Trains a model on a prepared corpus through the stock fairseq-train; continues where an earlier start stopped.

python -m gradinit_mt.training.launch DATA [options] [-- options of fairseq-train]
"""

import argparse
import os
import shlex
import signal
import sys
from pathlib import Path

import torch

from gradinit_mt.common import command
from gradinit_mt.corpora.layout import PreparedCorpus
from gradinit_mt.training import TrainingError, options, save_dir
from gradinit_mt.training.presets import PRESETS, preset_for
from gradinit_mt.training.watch import Outcome, watch

# glibc gives the large tensors of every update back to the system and faults their pages in again at the next.
KEEP_MEMORY = "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=4294967296:glibc.malloc.top_pad=67108864"


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """The options; those after ``--`` become ``further``."""
    presets = "\n".join(f"  {name:14} {preset.about}" for name, preset in PRESETS.items())
    parser = argparse.ArgumentParser(
        prog="scripts/train.sh",
        description="Train a model on a prepared corpus, without warmup after GradInit unless told otherwise.",
        epilog=f"presets:\n{presets}\n\nOptions after -- go to fairseq-train and override the preset's, for example\n"
        "  scripts/train.sh DATA -- --no-gradinit --warmup-updates 1000 --lr 5e-4",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("data", type=Path, metavar="DATA", help="prepared corpus (the directory with corpus.json)")
    add("--save-dir", type=Path, metavar="DIR", help="checkpoints and logs (default: runs/<corpus>-seed<seed>)")
    add("--preset", choices=tuple(PRESETS), help="settings (default: by the corpus's name, else other)")
    add("--seed", type=int, default=1, help="of parameters, order of batches and dropout (default: %(default)s)")
    add("--device", choices=("auto", "cpu", "gpu"), default="auto", help="auto: GPUs if there are any")
    add(
        "--processes",
        type=command.positive_int,
        metavar="N",
        help="data-parallel processes (default: all GPUs; CPU: 1)",
    )
    add(
        "--tokens-per-update", type=command.positive_int, metavar="N", help="over all processes (default: the preset's)"
    )
    add("--dry-run", action="store_true", help="print the command and stop")
    return command.parse_with_further(parser, arguments)


def command_line(arguments: list[str], processes: int) -> list[str]:
    """The stock fairseq-train, under torchrun if there are several processes."""
    python = [sys.executable]
    if processes > 1:
        python += ["-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    return [*python, "-m", "fairseq_cli.train", *arguments]


def devices(device: str, processes: int | None) -> tuple[int, int]:
    """(GPUs to use, processes).

    Raises:
        TrainingError: more GPUs are asked for than the machine has.
    """
    present = torch.cuda.device_count()
    if device == "cpu" or (device == "auto" and not present):
        return 0, processes or 1
    if not present:
        raise TrainingError("no GPU found; use --device cpu")
    if (processes or 1) > present:
        raise TrainingError(f"{processes or 1} GPUs asked for, this machine has {present}; use --device cpu or fewer")
    return processes or present, processes or present


def train(arguments: list[str]) -> None:
    """Runs the command."""
    chosen = parse_arguments(arguments)
    corpus = PreparedCorpus.load(chosen.data.resolve())
    directory = (chosen.save_dir or Path("runs", f"{corpus.name}-seed{chosen.seed}")).resolve()
    gpus, processes = devices(chosen.device, chosen.processes)
    preset = chosen.preset or preset_for(corpus.name)
    fairseq_arguments = options.compose(
        preset, corpus, directory, chosen.seed, chosen.further, chosen.tokens_per_update, gpus, processes
    )
    line = command_line(fairseq_arguments, processes)
    if chosen.dry_run:
        print(shlex.join(line))
        return
    save_dir.require_usable(directory)
    with save_dir.locked(directory) as lock:
        run = checked_run(directory, corpus, fairseq_arguments)
        if mended := save_dir.mend_last_checkpoint(directory):
            command.step(mended)
        shown = shlex.quote(str(_from_here(directory)))
        max_update = options.given(fairseq_arguments).get("max_update")
        if save_dir.is_complete(directory, max_update):
            command.step(f"{shown} is complete; next: scripts/evaluate.sh {shown}")
            return
        save_dir.note_start(directory, run, line)
        place = f"{gpus} GPU{'s' * (gpus > 1)}" if gpus else f"CPU, {processes} process{'es' * (processes > 1)}"
        command.step(f"training on {corpus.name} (preset {preset}; {place}); checkpoints and log in {shown}")
        log = directory / save_dir.LOG
        outcome = watch(line, environment(gpus, processes), log, max_update, keep_open=[lock])
    _require_success(outcome, f"{shown}/{save_dir.LOG}")
    command.step(f"done; next: scripts/evaluate.sh {shown}")


def _require_success(outcome: Outcome, log: str) -> None:
    if outcome.interrupted_by == signal.SIGINT:
        raise KeyboardInterrupt
    if outcome.interrupted_by == signal.SIGTERM:
        sys.exit(128 + signal.SIGTERM)
    if outcome.status:
        sys.stderr.writelines(f"{text}\n" for text in outcome.last_lines)
        full = any("No space left on device" in text for text in outcome.last_lines)
        raise TrainingError(
            f"fairseq-train ended with status {outcome.status}; its output is in {log}. "
            f"{'The disk is full: make room, and the' if full else 'The'} same command continues the run"
        )


def checked_run(directory: Path, corpus: PreparedCorpus, arguments: list[str]) -> dict:
    """What ``run.json`` is to hold: the run that the save dir has begun, or a new one.

    Raises:
        TrainingError: it holds a run with other settings.
    """
    run = save_dir.read_run(directory)
    if run is None or not save_dir.has_begun(directory):
        return {"data": str(corpus.directory), "options": arguments, "starts": []}
    if changes := options.changed(run["options"], arguments):
        raise TrainingError(
            f"{directory} holds a run with other settings ({'; '.join(changes)}); use another --save-dir, or remove it"
        )
    return run | {"options": arguments}


def _from_here(path: Path) -> Path:
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path


def environment(gpus: int, processes: int) -> dict[str, str]:
    """The variables of the training processes: without GPUs none is visible, and the cores are shared out."""
    variables = dict(os.environ)
    if not gpus:
        cores = len(os.sched_getaffinity(0))
        variables |= {"CUDA_VISIBLE_DEVICES": ""}
        variables.setdefault("OMP_NUM_THREADS", str(max(1, cores // processes)))
        variables.setdefault("GLIBC_TUNABLES", KEEP_MEMORY)
    return variables


if __name__ == "__main__":
    command.run(lambda: train(sys.argv[1:]), interrupted="the same command continues the run")
