"""Trains a model on a prepared corpus through the stock fairseq-train; continues where an earlier start stopped.

python -m gradinit_mt.training.launch DATA [options] [-- options of fairseq-train]
"""

import argparse
import datetime
import json
import math
import os
import shlex
import shutil
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import torch

import gradinit_mt
from gradinit_mt import checkpoints, command
from gradinit_mt.corpora.files import write_json
from gradinit_mt.corpora.layout import PreparedCorpus, package_version
from gradinit_mt.errors import UserError
from gradinit_mt.training.presets import BELONGS_TO, COMMON, PRESETS, preset_for
from gradinit_mt.training.watch import watch

# What may change when a run is continued: where its files lie, what it logs and keeps. (The number of updates may too,
# if --total-num-update fixes the schedule.)
FREE_OPTIONS = {"user-dir", "save-dir", "tensorboard-logdir", "num-workers", "log-interval", "keep-last-epochs"}


# What the launcher sets itself, and would lose track of.
OWNED = {"save-dir", "seed", "user-dir", "source-lang", "target-lang", "distributed-world-size", "cpu"}


# glibc gives the large tensors of every update back to the system and faults their pages in again at the next.
KEEP_MEMORY = "glibc.malloc.mmap_max=0:glibc.malloc.trim_threshold=4294967296:glibc.malloc.top_pad=67108864"


class TrainingError(UserError):
    """A run that cannot start or go on; the message says what to do."""


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
    split = arguments.index("--") if "--" in arguments else len(arguments)
    options = parser.parse_args(arguments[:split])
    options.further = arguments[split + 1 :]
    return options


def fairseq_options(options: argparse.Namespace, corpus: PreparedCorpus, gpus: int, processes: int) -> list[str]:
    """The arguments of fairseq-train: what all runs share, the preset, this run, and last the user's own."""
    preset = PRESETS[options.preset or preset_for(corpus.name)]
    tokens = options.tokens_per_update or preset.tokens_per_update
    run = {
        "user-dir": str(Path(gradinit_mt.__file__).parent),
        "source-lang": corpus.source,
        "target-lang": corpus.target,
        "seed": options.seed,
        "save-dir": str(options.save_dir),
        "tensorboard-logdir": str(options.save_dir / "tensorboard"),
        "log-format": "json",
        "max-tokens": math.ceil(tokens / processes),
        "gradinit-max-tokens": math.ceil(preset.gradinit_tokens / processes),
        "distributed-world-size": processes,
    }
    if not gpus:
        run["cpu"] = True
        if processes > 1:
            run |= {"distributed-backend": "gloo", "ddp-backend": "legacy_ddp"}
    arguments = [str(corpus.bin)]
    chosen = {name for name, _ in _pairs(options.further)}
    for name, value in {**COMMON, **preset.options, **run}.items():
        if BELONGS_TO.get(name) not in chosen and not (name.startswith("gradinit") and "task" in chosen):
            arguments += [f"--{name}"] if value is True else [f"--{name}", str(value)]
    if misplaced := sorted(chosen & OWNED):
        raise TrainingError(f"--{misplaced[0]} after --: the launcher sets it; see scripts/train.sh --help")
    return arguments + options.further


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


def changed_options(before: list[str], now: list[str]) -> list[str]:
    """The options that differ between two argument lists, but for those that may."""
    old, new = dict(_pairs(before)), dict(_pairs(now))
    free = FREE_OPTIONS | ({"max-update"} if "total-num-update" in new else set())
    names = sorted((old.keys() | new.keys()) - free)
    return [
        f"{name} {old.get(name, 'unset')} there, {new.get(name, 'unset')} now"
        for name in names
        if not _same(old.get(name), new.get(name))
    ]


def _same(one: str | None, other: str | None) -> bool:
    """Equal as text, or as numbers: 1e-3 is 0.001."""
    try:
        return one == other or float(one) == float(other)
    except (TypeError, ValueError):
        return False


def _pairs(arguments: list[str]) -> Iterator[tuple[str, str]]:
    """(option, its values) in turn; the positional argument counts as ``data``."""
    name, values = "data", []
    for argument in arguments:
        if argument.startswith("--"):
            yield name, " ".join(values) or "set"
            name, equals, value = argument[2:].partition("=")
            values = [value] if equals else []
        else:
            values.append(argument)
    yield name, " ".join(values) or "set"


def is_complete(save_dir: Path, arguments: list[str]) -> bool:
    """Whether the last checkpoint has all updates that the arguments ask for.

    fairseq-train itself would make one more and write its checkpoints again.
    """
    last = save_dir / "checkpoint_last.pt"
    wanted = dict(_pairs(arguments)).get("max-update", "")
    return last.exists() and wanted.isdigit() and checkpoints.facts(last).updates >= int(wanted) > 0


def mend_last_checkpoint(save_dir: Path) -> str | None:
    """Replaces a ``checkpoint_last.pt`` that a kill left truncated by the newest whole checkpoint beside it.

    Returns:
        What was done, or None if there was nothing to mend.
    """
    last = save_dir / "checkpoint_last.pt"
    if not last.exists() or zipfile.is_zipfile(last):
        return None
    last.rename(save_dir / "checkpoint_last.broken")
    others = [*checkpoints.numbered(save_dir, "epoch").values(), *checkpoints.numbered(save_dir, "update").values()]
    for path in sorted(others, key=lambda path: path.stat().st_mtime, reverse=True):
        if zipfile.is_zipfile(path):
            temporary = last.with_suffix(".tmp")
            shutil.copyfile(path, temporary)
            temporary.replace(last)
            return f"{last} was truncated: going on from {path.name}"
    return f"{last} was truncated and no other checkpoint is whole: starting again"


def checked_run(options: argparse.Namespace, arguments: list[str]) -> dict:
    """What ``run.json`` is to hold: the run that the save dir has begun, or a new one.

    Raises:
        TrainingError: it holds a run with other settings, or files of which nothing is known.
    """
    path = options.save_dir / "run.json"
    run = {"data": str(options.data.resolve()), "options": arguments, "starts": []}
    begun = any(options.save_dir.glob("*.pt")) or (options.save_dir / "gradinit.safetensors").exists()
    if path.exists() and begun:
        run = json.loads(path.read_text(encoding="utf-8"))
        changed = changed_options(run["options"], arguments)
        if changed:
            raise TrainingError(
                f"{options.save_dir} holds a run with other settings ({'; '.join(changed)}); "
                "use another --save-dir, or remove it"
            )
        run["options"] = arguments
    elif options.save_dir.is_dir() and any(options.save_dir.iterdir()) and not path.exists():
        raise TrainingError(f"{options.save_dir} is not empty and holds no run.json; use another --save-dir")
    return run


def note_start(save_dir: Path, run: dict, command: list[str]) -> None:
    """Adds this start to ``run.json``."""
    now = datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
    versions = {name: package_version(name) for name in ("torch", "fairseq-fixed", "gradinit-mt")}
    run["starts"].append({"time": now, "command": shlex.join(command), "versions": versions})
    save_dir.mkdir(parents=True, exist_ok=True)
    write_json(save_dir / "run.json", run)


def train(arguments: list[str]) -> None:
    """Runs the command."""
    options = parse_arguments(arguments)
    corpus = PreparedCorpus.load(options.data.resolve())
    options.save_dir = (options.save_dir or Path("runs", f"{corpus.name}-seed{options.seed}")).resolve()
    gpus, processes = devices(options.device, options.processes)
    fairseq_arguments = fairseq_options(options, corpus, gpus, processes)
    line = command_line(fairseq_arguments, processes)
    if options.dry_run:
        print(shlex.join(line))
        return
    run = checked_run(options, fairseq_arguments)
    mended = mend_last_checkpoint(options.save_dir)
    if mended:
        command.step(mended)
    here = Path.cwd()
    shown = options.save_dir.relative_to(here) if options.save_dir.is_relative_to(here) else options.save_dir
    if is_complete(options.save_dir, fairseq_arguments):
        command.step(f"{shown} is complete; next: scripts/evaluate.sh {shown}")
        return
    note_start(options.save_dir, run, line)
    place = f"{gpus} GPU{'s' * (gpus > 1)}" if gpus else f"CPU, {processes} process{'es' * (processes > 1)}"
    command.step(f"training on {corpus.name} ({place}); checkpoints and log in {shown}")
    status = watch(line, environment(gpus, processes), options.save_dir / "train.log")
    if status:
        raise TrainingError(
            f"fairseq-train ended with status {status}; its output is in {shown}/train.log. "
            "The same command continues the run"
        )
    command.step(f"done; next: scripts/evaluate.sh {shown}")


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
