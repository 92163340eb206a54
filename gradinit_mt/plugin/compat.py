"""What fairseq 0.12 lacks for current PyTorch, for machines without a GPU and for updates of several batches."""

import os
from typing import Any

import torch
from omegaconf import DictConfig


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
