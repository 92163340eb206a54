"""Checkpoints of unknown origin: read without running anything, refused if fairseq would run or open what they name.

A checkpoint can hold objects of foreign types, which PyTorch's safe loader refuses, and settings that fairseq acts on
when it builds the model: text that it evaluates, interpolations that it resolves, and names of further files.
"""

import argparse
import contextlib
import functools
import re
import sys
import zipfile
from collections.abc import Collection, Iterator
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy._core.multiarray import _reconstruct
from omegaconf import OmegaConf

from gradinit_mt.common.errors import UserError
from gradinit_mt.plugin.checkpoints.plain_values import plain_value

# PyTorch 2.6 and later load checkpoints without running code from them, and refuse types that are not allowed here.
# fairseq stores options of components without a dataclass, such as the optimizer sgd, as a Namespace of plain values.
torch.serialization.add_safe_globals([argparse.Namespace])
# With --eval-bleu it stores the n-gram counts of the running BLEU score as arrays of integers.
torch.serialization.add_safe_globals([np.ndarray, np.dtype, np.dtypes.Int64DType, _reconstruct])

# Options whose text fairseq evaluates; those of one side of the model also begin with "encoder_" or "decoder_".
EVALUATED = frozenset(
    {
        *("adafactor_eps", "adam_betas", "adamax_betas", "lamb_betas", "wer_args", "model_overrides"),
        *("adaptive_input_cutoff", "adaptive_softmax_cutoff", "character_filters", "xformers_att_config"),
        *("layers", "attention", "self_attention", "gated_attention", "project_input", "downsample", "pretrained"),
        *("conv_feature_layers", "conv_aggregator_layers", "override_encoder_layers", "feature_encoder_spec"),
        *("left_pad_source", "left_pad_target", "input_layers", "conv_layers"),
        *("pipeline_balance", "pipeline_devices"),
        *(f"pipeline_{side}_{what}" for side in ("encoder", "decoder") for what in ("balance", "devices")),
    }
)
# Options of models that name a file to be read.
_FILE = re.compile(
    r"(encoder_|decoder_)?embed_path|(w2v|seq2seq|hubert|multires_hubert)_path|pretrained_(\w+_)?checkpoint"
    r"|load_pretrained_\w+_from"
)
_SIDE = re.compile(r"^(encoder|decoder)_")

# The settings of the training that resumes, as pairs of name and value: its model is built of these alone.
_OWN: ContextVar[Collection[tuple[str, object]]] = ContextVar("_OWN", default=())


def read(path: Path, mmap: bool = False) -> Any:
    """What a checkpoint holds, on the CPU, read by PyTorch's safe loader.

    Args:
        mmap: leave the tensors on the disk until they are used.

    Raises:
        UserError: the file is damaged, or holds objects of types that are not allowed; none was made.
    """
    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=mmap)
    except Exception as error:  # torch raises those of zip files, of pickles, and its own
        raise UserError(f"{path}: cannot be read as a checkpoint: {_reason(error)}") from error


def require_undamaged(path: Path) -> None:
    """Raises UserError if a part of the file differs from its checksum, which PyTorch writes and does not verify."""
    if not zipfile.is_zipfile(path):
        return
    try:
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except (zipfile.BadZipFile, EOFError, NotImplementedError) as error:
        raise UserError(f"{path}: cannot be read as a checkpoint: {_reason(error)}") from error
    if damaged is not None:
        raise UserError(f"{path}: damaged, its part {damaged} differs from its checksum; use another checkpoint")


def _reason(error: Exception) -> str:
    if refused := re.search(r"GLOBAL (\S+)", str(error)):
        return f"it holds objects of type {refused[1]}, which neither fairseq nor gradinit_mt stores"
    if "weights_only" in str(error):  # PyTorch advises to load it without that protection
        return "it is no checkpoint, or holds more than tensors and plain values"
    if not isinstance(error, RuntimeError | EOFError | OSError):  # from the middle of the unpickler
        return f"it is no file of torch.save ({type(error).__name__})"
    first_line = str(error).strip().partition("\n")[0].partition(". ")[0]
    return f"{first_line or type(error).__name__} (was the training killed while it saved?)"


def require_harmless(
    state: Any, path: Path, overridden: Collection[str] = (), own: Collection[tuple[str, object]] = ()
) -> None:
    """Checks the settings of a checkpoint, as ``read`` returns it.

    Args:
        state: has its settings in "cfg" or "args".
        path: of the checkpoint, for the message.
        overridden: the options for which the user gives another value.
        own: names and values that the checkpoint may repeat, since the user's own command line has them.

    Raises:
        UserError: fairseq would run a setting as code, resolve it, or read the file that it names.
    """
    parts = [state.get(name) for name in ("cfg", "args")] if isinstance(state, dict) else []
    for name, value in _settings(parts):
        if name not in overridden:
            try:
                _require_harmless(name, value)
            except UserError as error:
                if (name, value) in own:
                    continue
                raise UserError(
                    f"{path}: {error}. If you trust the file, train with the same value, or use fairseq-generate with "
                    f'another one: --model-overrides "{{{name!r}: None}}"'
                ) from error


def _settings(parts: object) -> Iterator[tuple[str, object]]:
    """The name and value of every setting, at any depth; those of a list have the list's name."""
    left, seen = [("", parts)], set()
    while left:
        name, value = left.pop()
        value = vars(value) if isinstance(value, argparse.Namespace) else value
        if not isinstance(value, dict | list | tuple):
            yield name, value
        elif (name, id(value)) not in seen:  # which a pickle can nest in itself
            seen.add((name, id(value)))
            items = value.items() if isinstance(value, dict) else ((name, item) for item in value)
            left += [(str(key), item) for key, item in items]


def _require_harmless(name: str, value: object) -> None:
    if isinstance(value, str | bytes):
        if "${" in str(value):
            raise UserError(f"{name}: {value[:80]!r} is a reference, and fairseq would resolve it: expected a value")
        if _FILE.fullmatch(name) and value:
            raise UserError(f"{name}: {value[:80]!r} is a file, and fairseq would read it: expected none")
        require_plain(name, value)


def require_plain(name: str, value: object) -> None:
    """Raises UserError if fairseq would run the value of this option as code."""
    if isinstance(value, str | bytes) and (name in EVALUATED or _SIDE.sub("", name) in EVALUATED):
        try:
            plain_value(value)
        except UserError as error:
            raise UserError(f"{name}: {error}") from error


@contextlib.contextmanager
def resuming(cfg: Any) -> Iterator[None]:
    """In this block fairseq loads checkpoints that repeat a setting of ``cfg``, of which the model has been built."""
    settings = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)  # as fairseq stores them
    token = _OWN.set(list(_settings(settings)))
    try:
        yield
    finally:
        _OWN.reset(token)


def evaluate_plain_values_only() -> None:
    """Keeps fairseq from running options as code, including options that come with a checkpoint.

    In many places fairseq calls ``eval`` on the text of an option. A module's own ``eval`` shadows the builtin.
    """
    for name, module in list(sys.modules.items()):
        spec = getattr(module, "__spec__", None)  # of a command that ``python -m`` runs: its real name
        if (spec.name if spec else name).split(".")[0] in ("fairseq", "fairseq_cli"):
            vars(module)["eval"] = plain_value


def refuse_harmful_checkpoints() -> None:
    """Makes fairseq check each checkpoint before it loads it."""
    from fairseq import checkpoint_utils
    from fairseq.file_io import PathManager

    load = checkpoint_utils.load_checkpoint_to_cpu

    @functools.wraps(load)
    def load_checkpoint_to_cpu(path: str, arg_overrides: dict | None = None, load_on_all_ranks: bool = False) -> dict:
        local = Path(PathManager.get_local_path(path))  # fairseq also takes addresses
        if local.is_file():
            require_harmless(_settings_only(local), local, arg_overrides or (), _OWN.get())
        return load(path, arg_overrides, load_on_all_ranks)

    checkpoint_utils.load_checkpoint_to_cpu = load_checkpoint_to_cpu


def _settings_only(path: Path) -> Any:
    """A checkpoint whose tensors stay on the disk, if its format allows that."""
    try:
        return read(path, mmap=True)
    except UserError:
        return read(path)  # mmap takes PyTorch's zip format only
