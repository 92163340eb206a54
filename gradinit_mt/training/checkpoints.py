"""Finding and reading fairseq checkpoints, without unpickling arbitrary objects."""

import argparse
import re
from dataclasses import dataclass
from pathlib import Path

import torch

import gradinit_mt.plugin.compat  # noqa: F401 - allows the types that fairseq stores beside the tensors
from gradinit_mt.common.errors import UserError
from gradinit_mt.common.files import sha256
from gradinit_mt.plugin.evaluated import code_in


class CheckpointError(UserError):
    """A file that is no usable checkpoint; the message names it and the remedy."""


# What fairseq calls the files it keeps: by epoch "checkpoint7.pt", by update "checkpoint_2_1000.pt".
_NUMBERED = {"epoch": re.compile(r"checkpoint(\d+)\.pt"), "update": re.compile(r"checkpoint_\d+_(\d+)\.pt")}

# The plugin's models and the baseline they are compared with. Others have options that are evaluated, or read files.
MODELS = frozenset(
    {
        *("post_ln_transformer", "post_ln_transformer_base", "post_ln_transformer_iwslt_de_en"),
        *("post_ln_transformer_small", "post_ln_transformer_tiny"),
        *("transformer", "transformer_iwslt_de_en", "transformer_tiny", "transformer_wmt_en_de"),
        *("transformer_wmt_en_de_big", "transformer_wmt_en_de_big_t2t"),
        *("transformer_vaswani_wmt_en_de_big", "transformer_vaswani_wmt_en_fr_big"),
    }
)


@dataclass(frozen=True)
class CheckpointFacts:
    """What a result says about the checkpoint it was made with."""

    file: str
    sha256: str
    source: str | None  # the languages it was trained on, where it says so
    target: str | None
    max_source_positions: int | None  # the longest source and target that its model takes, ends included
    max_target_positions: int | None
    updates: int
    training_seconds: float  # wall-clock of the run up to this checkpoint, over all restarts
    validation_metric: str | None  # fairseq's name of it; a loss is in bits per target token
    validation_value: float | None  # None where this checkpoint was not validated, such as an average
    averaged_from: list[dict] | None  # "file" and "sha256" of each, where it is an average


def load(path: Path) -> dict:
    """A fairseq checkpoint, on the CPU, through PyTorch's safe loader.

    Raises:
        CheckpointError: the file is missing, truncated, no fairseq checkpoint, holds types not allowed, is of a model
            that is not in ``MODELS``, or gives code where fairseq would evaluate an option.
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"{path}: no such checkpoint{_present(path.parent)}")
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises many kinds: of zip files, of pickles, of its own
        raise CheckpointError(f"{path}: cannot be read as a checkpoint: {_reason(error)}") from error
    if not isinstance(state, dict) or "model" not in state or not ({"cfg", "args"} & state.keys()):
        raise CheckpointError(f"{path}: not a fairseq checkpoint (no entries 'model' and 'cfg')")
    _require_harmless(state, path)
    return state


def _require_harmless(state: dict, path: Path) -> None:
    model = _settings(state, "model")
    names = {model.get("_name"), model.get("arch")} - {None}
    if not names or not names <= MODELS:
        raise CheckpointError(
            f"{path}: its model is {' or '.join(sorted(map(repr, names))) or 'not named'}; expected one of "
            f"{', '.join(sorted(MODELS))}. If you trust the file, use fairseq-generate itself"
        )
    for settings in (state.get("args"), state.get("cfg")):
        if code := code_in(settings):
            raise CheckpointError(f"{path}: {code} in its settings is code, which fairseq would run; do not use it")


def _settings(state: dict, part: str) -> dict:
    """One part of a checkpoint's settings ("model", "task", ...); of an old one, which has no parts, all of them."""
    settings = state["cfg"].get(part) if state.get("cfg") else state["args"]
    return vars(settings) if isinstance(settings, argparse.Namespace) else settings or {}


def _reason(error: Exception) -> str:
    if refused := re.search(r"GLOBAL (\S+)", str(error)):
        return f"it holds objects of type {refused[1]}, which gradinit_mt.plugin.compat does not allow"
    first_line = str(error).strip().partition("\n")[0]
    return f"{first_line or type(error).__name__} (was the training killed while it saved?)"


def _present(directory: Path) -> str:
    names = sorted(path.name for path in directory.glob("*.pt"))
    return f"; {directory} holds {', '.join(names)}" if names else f"; {directory} holds no .pt file"


def facts(path: Path) -> CheckpointFacts:
    """Reads what ``CheckpointFacts`` holds; raises as ``load`` does."""
    state = load(path)
    value = state["extra_state"].get("val_loss")
    task, model = _settings(state, "task"), _settings(state, "model")
    return CheckpointFacts(
        file=str(Path(path).resolve()),
        sha256=sha256(path),
        source=task.get("source_lang"),
        target=task.get("target_lang"),
        max_source_positions=_positions(task, model, "max_source_positions"),
        max_target_positions=_positions(task, model, "max_target_positions"),
        updates=state["optimizer_history"][-1]["num_updates"],
        # a tensor in a run of several processes
        training_seconds=round(float(state["extra_state"]["previous_training_time"]), 1),
        validation_metric=None if value is None else _settings(state, "checkpoint")["best_checkpoint_metric"],
        validation_value=None if value is None else float(value),
        averaged_from=state.get("averaged_from"),
    )


def _positions(task: dict, model: dict, name: str) -> int | None:
    found = [settings[name] for settings in (task, model) if isinstance(settings.get(name), int)]
    return min(found, default=None)


def choose(save_dir: Path, checkpoint: str) -> Path:
    """``best`` and ``last`` are fairseq's files of that name in ``save_dir``; anything else is a path."""
    return save_dir / f"checkpoint_{checkpoint}.pt" if checkpoint in ("best", "last") else Path(checkpoint)


def numbered(save_dir: Path, kind: str) -> dict[int, Path]:
    """The checkpoints kept by ``kind`` ("epoch" or "update"), by their number, in rising order."""
    found = {}
    for path in save_dir.iterdir():
        match = _NUMBERED[kind].fullmatch(path.name)
        if match:
            found[int(match[1])] = path
    return dict(sorted(found.items()))
