"""The device of a cell: one GPU for each of those that train side by side, or the processor."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path

import torch

from gradinit_mt.common.errors import UserError
from gradinit_mt.common.processor import processor_name

VISIBLE = "CUDA_VISIBLE_DEVICES"
NO_GPU = "no GPU was found: start study.py without --gpus, or where nvidia-smi lists a GPU"


def device_name(device: str) -> str:
    """The name of the GPU that this process sees first, or of the processor; empty if there is no GPU here.

    Args:
        device: ``gpu`` or ``cpu``.
    """
    if device == "cpu":
        return processor_name()
    return torch.cuda.get_device_name() if torch.cuda.is_available() else ""


def place(device: str) -> AbstractContextManager[None]:
    """Where a step runs: on one GPU (see ``one_gpu``) with the device ``gpu``, anywhere with ``cpu``."""
    return one_gpu() if device == "gpu" else nullcontext()


@contextmanager
def one_gpu() -> Iterator[None]:
    """Shows the processes started inside only one of the visible GPUs, which no other such process uses meanwhile.

    Raises:
        UserError: there is none, or all of them are in use.
    """
    given = os.environ.get(VISIBLE)
    visible = given.split(",") if given else [str(number) for number in range(torch.cuda.device_count())]
    if not visible:
        raise UserError(NO_GPU)
    for name in visible:
        with (_locks() / name.replace("/", "-")).open("a") as file:  # parts of one GPU have names with slashes
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            os.environ[VISIBLE] = name
            yield
            return
    raise UserError(
        f"no free GPU among {', '.join(visible)}: lower --gpus of study.py, or wait for the other processes"
    )


def _locks() -> Path:
    """Where GPUs are locked by name. In each job of SLURM the GPU that it was given may be called 0."""
    path = Path(tempfile.gettempdir(), f"gradinit-mt-gpus-{os.getuid()}-{os.environ.get('SLURM_JOB_ID', '')}")
    path.mkdir(exist_ok=True)
    return path
