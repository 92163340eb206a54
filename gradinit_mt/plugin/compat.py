"""What fairseq 0.12 lacks for current PyTorch and for machines without a GPU; each entry with its reason."""

import argparse
import os
import sys

import numpy as np
import torch

from gradinit_mt.plugin.plain_values import plain_value

# torch >= 2.6 loads checkpoints without running code from them, and refuses the types it does not know. fairseq
# writes two kinds: the options of parts that have no dataclass (the optimizer sgd, say) as a Namespace of plain values,
torch.serialization.add_safe_globals([argparse.Namespace])
# and, under --eval-bleu, the n-gram counts of the running BLEU as arrays of integers.
torch.serialization.add_safe_globals([np.ndarray, np.dtype, np.dtypes.Int64DType, np._core.multiarray._reconstruct])


def allow_torchrun_without_gpu() -> None:
    """Lets fairseq-train run under torchrun on a CPU.

    Under torchrun fairseq takes a rank's device to be the rank modulo the number of GPUs, which is 0 there. Besides,
    it wants ``--cpu --distributed-world-size N --distributed-backend gloo --ddp-backend legacy_ddp``: its other
    backend names a GPU.
    """
    from fairseq.distributed import utils

    infer_with_gpu = utils._infer_torch_distributed_launch_init

    def infer(cfg) -> None:
        if torch.cuda.device_count():
            infer_with_gpu(cfg)
            return
        cfg.distributed_init_method = "env://"
        cfg.distributed_world_size = int(os.environ["WORLD_SIZE"])
        cfg.distributed_rank = int(os.environ["RANK"])
        cfg.device_id = 0
        cfg.distributed_no_spawn = True

    utils._infer_torch_distributed_launch_init = infer


def resume_data_parallel_runs() -> None:
    """Lets a run of several processes load its checkpoint.

    The first rank reads it and sends the others all that is no tensor. fairseq lets them read that as a file of unknown
    origin, and torch >= 2.6 refuses the settings in it. It comes from a process of this very run.
    """
    from fairseq.distributed import utils

    def broadcast_object(obj, src_rank, group, dist_device):
        holder = [obj]
        torch.distributed.broadcast_object_list(holder, src=src_rank, group=group, device=dist_device)
        return holder[0]

    utils._broadcast_object_slow = broadcast_object


def evaluate_plain_values_only() -> None:
    """Keeps fairseq from running options as code, those that a checkpoint brings along among them.

    In many places it calls ``eval`` on the text of an option. A module's own name goes before the builtin of that name.
    """
    for name, module in list(sys.modules.items()):
        if name.split(".")[0] == "fairseq":
            module.eval = plain_value
