"""Ways of training that the plugin cannot work with, refused before anything is computed."""

import torch

from gradinit_mt.core import GradInitError
from gradinit_mt.plugin.options import GradInitTranslationConfig


def require_whole_parameters(cfg: GradInitTranslationConfig) -> None:
    """Raises GradInitError if some process would lack parameters that an initialization changes."""
    split = {
        "--ddp-backend fully_sharded": cfg.ddp_backend == "fully_sharded",
        "--pipeline-model-parallel": cfg.pipeline_model_parallel,
        f"--model-parallel-size {cfg.model_parallel_size}": cfg.model_parallel_size != 1,
    }
    for option in filter(split.get, split):
        raise GradInitError(
            f"initialization needs whole parameters on every rank, which {option} splits: drop it, or give "
            "--no-gradinit and no --initializer"
        )
    if cfg.use_bmuf:
        raise GradInitError(
            "--use-bmuf averages with copies of the parameters from before initialization: drop it, or give "
            "--no-gradinit and no --initializer"
        )


def require_trainable(cfg: GradInitTranslationConfig) -> None:
    """Raises GradInitError if fairseq cannot train in this precision on this device."""
    if cfg.tpu:
        raise GradInitError(
            "the plugin does not train on TPUs, for which fairseq 0.12 takes --bf16 and --tpu: use --precision bfloat16"
        )
    flat = cfg.fp16 and not (cfg.memory_efficient_fp16 or cfg.fp16_no_flatten_grads)
    if flat and (cfg.cpu or not torch.cuda.is_available()):
        # where there is a GPU that --cpu leaves alone, fairseq would train without gradients
        raise GradInitError(
            "fairseq keeps the flat float32 copies of --fp16 on a GPU: on a CPU use --precision bfloat16"
        )
