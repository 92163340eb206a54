"""What fairseq 0.12 lacks for current PyTorch, for machines without a GPU and for checkpoints of unknown origin."""

import argparse
import os
import sys
from typing import Any

import numpy as np
import torch
from numpy._core.multiarray import _reconstruct
from omegaconf import DictConfig

from gradinit_mt.plugin.plain_values import plain_value

# PyTorch 2.6 and later load checkpoints without running code from them, and refuse types that are not allowed here.
# fairseq stores options of components without a dataclass, such as the optimizer sgd, as a Namespace of plain values.
torch.serialization.add_safe_globals([argparse.Namespace])
# With --eval-bleu it stores the n-gram counts of the running BLEU score as arrays of integers.
torch.serialization.add_safe_globals([np.ndarray, np.dtype, np.dtypes.Int64DType, _reconstruct])


def allow_torchrun_without_gpu() -> None:
    """Lets fairseq-train run under torchrun on a CPU.

    Under torchrun, fairseq takes the rank modulo the number of GPUs as the device, which fails without a GPU. The run
    also needs ``--cpu --distributed-world-size N --distributed-backend gloo``, because fairseq's default requires one.
    """
    from fairseq.distributed import utils

    infer_with_gpu = utils._infer_torch_distributed_launch_init

    def infer(cfg: DictConfig) -> None:
        if torch.cuda.device_count():
            infer_with_gpu(cfg)
            return
        cfg.distributed_init_method = "env://"
        cfg.distributed_world_size = int(os.environ["WORLD_SIZE"])
        cfg.distributed_rank = int(os.environ["RANK"])
        cfg.device_id = 0
        cfg.distributed_no_spawn = True

    utils._infer_torch_distributed_launch_init = infer


def wrap_models_on_a_cpu() -> None:
    """Lets ``--ddp-backend c10d`` and ``pytorch_ddp``, fairseq's default, train on a CPU.

    fairseq names a GPU to PyTorch's wrapper, which refuses one for a model that is not on it.
    """
    from fairseq.models import distributed_fairseq_model as wrappers

    parallel = wrappers.DistributedDataParallel

    def wrapped(module: torch.nn.Module, **options: Any) -> torch.nn.Module:
        if all(parameter.device.type == "cpu" for parameter in module.parameters()):
            options |= {"device_ids": None, "output_device": None}
        return parallel(module=module, **options)

    wrappers.DistributedDataParallel = wrapped


def resume_data_parallel_runs() -> None:
    """Lets a run of several processes load its checkpoint.

    The first rank reads the checkpoint and sends everything but the tensors to the others. fairseq makes them load
    that like a file of unknown origin, and PyTorch 2.6 and later refuse the settings in it. The data is safe to
    unpickle, since it comes from a process of the same run.
    """
    from fairseq.distributed import utils

    def broadcast_object(
        obj: object, src_rank: int, group: torch.distributed.ProcessGroup, dist_device: torch.device
    ) -> object:
        holder = [obj]
        torch.distributed.broadcast_object_list(holder, src=src_rank, group=group, device=dist_device)
        return holder[0]

    utils._broadcast_object_slow = broadcast_object


def count_every_batch() -> None:
    """Lets an update of several batches that ends with an empty one count the others.

    With ``--update-freq``, the last update of an epoch may give a process fewer batches than the rest, filled up with
    empty ones. If the last is empty, fairseq takes all of that process's for empty: it divides the gradient, which has
    them, by the tokens of the other processes alone, and leaves them out of what it logs.
    """
    from fairseq.trainer import Trainer

    train_step = Trainer.train_step

    def train_on_batches(self: Trainer, samples: list[dict], raise_oom: bool = False) -> dict | None:
        return train_step(self, [sample for sample in samples if sample] or samples[:1], raise_oom)

    Trainer.train_step = train_on_batches


def evaluate_plain_values_only() -> None:
    """Keeps fairseq from running options as code, including options that come with a checkpoint.

    In many places fairseq calls ``eval`` on the text of an option. A module's own ``eval`` shadows the builtin.
    """
    for name, module in list(sys.modules.items()):
        spec = getattr(module, "__spec__", None)  # of a command that ``python -m`` runs: its real name
        if (spec.name if spec else name).split(".")[0] in ("fairseq", "fairseq_cli"):
            vars(module)["eval"] = plain_value
