"""Checkpoints that a kill or a full disk cannot spoil."""

import functools
from pathlib import Path
from typing import Any

import torch
from fairseq import checkpoint_utils
from fairseq.file_io import PathManager

from gradinit_mt.common.files import atomic_write, copy_file


def save_whole_files() -> None:
    """Makes fairseq write each checkpoint, and each copy of one, under a temporary name and rename it when it is whole.

    fairseq copies the first checkpoint of a save over ``checkpoint_best.pt`` and ``checkpoint_last.pt`` in place.
    """
    save = checkpoint_utils.torch_persistent_save

    @functools.wraps(save)
    def torch_persistent_save(obj: Any, filename: str, async_write: bool = False) -> None:
        if async_write or not PathManager.supports_rename(filename):
            save(obj, filename, async_write)
        else:
            _save(obj, Path(filename))

    copy = PathManager.copy

    @functools.wraps(copy)
    def copied(src_path: str, dst_path: str, overwrite: bool = False) -> bool:
        if not overwrite or not PathManager.supports_rename(dst_path):
            return copy(src_path, dst_path, overwrite)
        copy_file(Path(src_path), Path(dst_path))
        return True

    checkpoint_utils.torch_persistent_save = torch_persistent_save
    PathManager.copy = staticmethod(copied)


def _save(obj: Any, path: Path) -> None:
    try:
        with atomic_write(path) as temporary, open(temporary, "wb") as file:
            torch.save(obj, file)
    except RuntimeError as error:
        if isinstance(error.__context__, OSError):  # PyTorch hides the reason, such as a full disk
            raise OSError(error.__context__.errno, error.__context__.strerror, str(path)) from error
        raise
