"""The record of an earlier start, or of another run, in place of a new one."""

import os
from dataclasses import replace
from pathlib import Path

from torch import nn

from gradinit_mt.common.errors import differing
from gradinit_mt.core import GradInitConfig, GradInitError
from gradinit_mt.record.record import TENSORS, Record, RecordError, fingerprint

# Settings that records of earlier versions lack, with the values that describe what those versions computed.
ADDED = {"step_from_gradient": False, "embedding_upper_bound": GradInitConfig.embedding_upper_bound}
ADDED_TO_MODEL = {"residual_weights": "none"}


def continued(fresh: Record, save_dir: str) -> Record:
    """The record in the save dir if it belongs to this very run; ``fresh`` if there is none.

    Raises:
        GradInitError: the save dir holds the record of another run, or one that cannot be read.
    """
    path = Path(save_dir, TENSORS)
    if not path.exists():
        return fresh
    try:
        found = Record.load(path)
    except RecordError as error:
        raise GradInitError(f"{error}; remove it, or use another --save-dir") from error
    there, here = ADDED | found.settings, ADDED | fresh.settings
    models = [ADDED_TO_MODEL | settings.pop("model", {}) for settings in (there, here)]
    changes = [f"model.{change}" for change in differing(*models)] + differing(there, here)
    if "model" not in found.settings:
        changes = ["it was learned by an earlier version"]
    if found.theta0 != fresh.theta0 or found.blocks != fresh.blocks:
        changes.append("other initial parameters")
    if changes:
        raise GradInitError(
            f"{path} belongs to another run ({'; '.join(changes)}): use another --save-dir, or remove it"
        )
    return found


def complete(path: str) -> Record:
    """The record at ``path``.

    Raises:
        GradInitError: there is none, or it is not complete.
    """
    try:
        record = Record.load(path)
    except RecordError as error:
        raise GradInitError(f"--gradinit-from {path}: {error}") from error
    if not record.complete:
        raise GradInitError(
            f"--gradinit-from {path}: it holds {record.state.iteration} of {record.settings['iterations']} iterations; "
            "let the run that learns it finish first"
        )
    return record


def given(path: str, model: nn.Module) -> Record:
    """The record at ``path`` as that of this run, with its origin and with the fingerprint of ``model``.

    Raises:
        GradInitError: there is none, it is not complete, or it is that of another model.
    """
    record = complete(path)
    try:
        record.require_blocks_of(model)
    except RecordError as error:
        raise GradInitError(f"--gradinit-from {path}: {error}") from error
    origin = os.path.realpath(path).removesuffix(f"/{TENSORS}")  # the same for every spelling of the path
    return replace(record, settings=record.settings | {"from": origin}, theta0=fingerprint(model))
