"""Finding and reading fairseq checkpoints, without unpickling arbitrary objects."""

import argparse
import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from gradinit_mt.common.errors import UserError
from gradinit_mt.common.files import sha256
from gradinit_mt.plugin.checkpoints import untrusted

# fairseq's names: "checkpoint7.pt" by epoch, "checkpoint_2_1000.pt" by epoch and update
_NUMBERED = {"epoch": re.compile(r"checkpoint(\d+)\.pt"), "update": re.compile(r"checkpoint_\d+_(\d+)\.pt")}


@dataclass(frozen=True)
class CheckpointFacts:
    """What a result reports of its checkpoint."""

    file: str
    sha256: str
    model: str  # the name of its architecture
    source: str | None  # the languages it was trained on, if noted
    target: str | None
    max_source_positions: int | None  # longest source and target that the model takes, with the end of the sentence
    max_target_positions: int | None
    updates: int
    training_seconds: float  # wall-clock time of the run up to this checkpoint, over all restarts
    validation_metric: str | None  # fairseq's name of it; a loss is in bits per target token
    validation_value: float | None  # None if it was not validated, like an average
    averaged_from: list[dict] | None  # "file" and "sha256" of each, if it is an average
    label_smoothing: float = 0.0  # of the criterion, and so of its validation loss


def load(path: Path, own: Collection[tuple[str, object]] = ()) -> dict:
    """Loads a fairseq checkpoint to the CPU with PyTorch's safe loader.

    Args:
        path: of the checkpoint.
        own: names and values of options that it may repeat, since they are also those of the run that continues.

    Raises:
        UserError: the file is missing, truncated, not from fairseq, or holds types that are not allowed, or settings
            that fairseq would run as code or follow to another file.
    """
    require_file(path)
    untrusted.require_undamaged(path)
    state = untrusted.read(path)
    kinds = {"model": dict, "extra_state": dict, "optimizer_history": list}
    if not isinstance(state, dict) or any(not isinstance(state.get(name), kind) for name, kind in kinds.items()):
        raise UserError(f"{path}: not a fairseq checkpoint (it lacks one of {', '.join(kinds)})")
    if not isinstance(state.get("args"), argparse.Namespace) and not isinstance(state.get("cfg"), dict):
        raise UserError(f"{path}: not a fairseq checkpoint (no settings in 'cfg' or 'args')")
    untrusted.require_harmless(state, path, own=own)
    return state


def require_file(path: Path) -> None:
    """Raises UserError if there is no such file; the message lists the checkpoints beside it."""
    if not path.is_file():
        present = ", ".join(sorted(other.name for other in path.parent.glob("*.pt")))
        raise UserError(f"{path}: no such checkpoint; {path.parent} holds {present or 'no .pt file'}")


def settings(state: dict, part: str) -> dict:
    """One part of the settings ("model", "task", ...). fairseq looks first in ``args``, which has no parts."""
    settings = state.get("args") or state["cfg"].get(part)
    settings = vars(settings) if isinstance(settings, argparse.Namespace) else settings
    return settings if isinstance(settings, dict) else {}


def facts(path: Path, own: Collection[tuple[str, object]] = ()) -> CheckpointFacts:
    """The facts of a checkpoint; arguments and errors are those of ``load``."""
    return load_with_facts(path, own)[1]


def load_with_facts(path: Path, own: Collection[tuple[str, object]] = ()) -> tuple[dict, CheckpointFacts]:
    """A checkpoint and its facts; arguments and errors are those of ``load``.

    Raises:
        UserError: also if facts are missing.
    """
    require_file(path)
    digest = sha256(path)  # first: a training may replace the file while it is read
    state = load(path, own)
    return state, _facts_of(state, path, digest)


def require_unchanged(file: str, digest: str) -> None:
    """Raises UserError if a checkpoint is no longer the file that had this checksum."""
    if sha256(Path(file)) != digest:
        raise UserError(f"{file}: changed while it was in use; copy it first, or wait for the training")


def _facts_of(state: dict, path: Path, digest: str) -> CheckpointFacts:
    task, model = settings(state, "task"), settings(state, "model")
    try:
        value = state["extra_state"].get("val_loss")
        return CheckpointFacts(
            file=str(path.resolve()),
            sha256=digest,
            model=str(model.get("_name") or model.get("arch")),  # fairseq's order
            source=task.get("source_lang"),
            target=task.get("target_lang"),
            max_source_positions=_positions(task, model, "max_source_positions"),
            max_target_positions=_positions(task, model, "max_target_positions"),
            updates=state["optimizer_history"][-1]["num_updates"],
            # float() for the tensor of a data-parallel run
            training_seconds=round(float(state["extra_state"]["previous_training_time"]), 1),
            validation_metric=None if value is None else settings(state, "checkpoint")["best_checkpoint_metric"],
            validation_value=None if value is None else float(value),
            averaged_from=state.get("averaged_from"),
            label_smoothing=float(settings(state, "criterion").get("label_smoothing") or 0.0),
        )
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise UserError(f"{path}: lacks what fairseq stores in a checkpoint ({error!r})") from error


def _positions(task: dict, model: dict, name: str) -> int | None:
    found = [settings[name] for settings in (task, model) if isinstance(settings.get(name), int)]
    return min(found, default=None)


def choose(save_dir: Path, checkpoint: str) -> Path:
    """``best`` and ``last`` name fairseq's files in ``save_dir``; anything else is a path."""
    return save_dir / f"checkpoint_{checkpoint}.pt" if checkpoint in ("best", "last") else Path(checkpoint)


def numbered(save_dir: Path, kind: str) -> dict[int, Path]:
    """The checkpoints kept by ``kind`` ("epoch" or "update"): their number and path, in ascending order."""
    matches = {path: _NUMBERED[kind].fullmatch(path.name) for path in save_dir.iterdir()}
    return dict(sorted((int(match[1]), path) for path, match in matches.items() if match))
