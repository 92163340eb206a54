"""What a task does with the model before the first update: another initialization, then GradInit."""

import logging
import os

import torch
from fairseq.criterions import FairseqCriterion
from fairseq.file_io import PathManager
from fairseq.models import BaseFairseqModel
from fairseq.optim import FairseqOptimizer
from fairseq.tasks.translation import TranslationTask

from gradinit_mt.core import GradInitError
from gradinit_mt.initializers import INITIALIZERS, Start
from gradinit_mt.plugin.batches import batches_of, max_tokens
from gradinit_mt.plugin.checkpoints import newest
from gradinit_mt.plugin.half_precision import in_float32
from gradinit_mt.plugin.learning import learn, take_scales
from gradinit_mt.plugin.losses import token_loss
from gradinit_mt.plugin.options import GradInitTranslationConfig
from gradinit_mt.plugin.ranks import from_first_rank, rank_and_world_size, sum_over_ranks

logger = logging.getLogger(__name__)


def initialize(
    task: TranslationTask,
    options: dict,
    model: BaseFairseqModel,
    criterion: FairseqCriterion,
    optimizer: FairseqOptimizer,
) -> None:
    """Changes the parameters as the task's options ask, unless they come from a checkpoint.

    Args:
        task: with its training set loaded.
        options: the model's, see ``model_options``.
        model: without wrappers; in evaluation mode afterwards.
        criterion: of training.
        optimizer: of training; its float32 copies of a half-precision model change alike.

    Raises:
        GradInitError: an option cannot be met, the device's memory is too small, or learning fails.
    """
    cfg: GradInitTranslationConfig = task.cfg
    restored = from_first_rank(lambda: restored_from(cfg))
    if restored is not None:
        asked = {"--initializer": cfg.initializer is not None, "GradInit": not cfg.no_gradinit}
        names = " and ".join(name for name in asked if asked[name])
        logger.warning("%s: skipped, the parameters come from the checkpoint %s", names, restored)
        return
    _require_derivatives(cfg, options)
    model.eval()  # turns dropout off; the trainer sets training mode again
    try:
        with in_float32(model, optimizer) as learned:
            if cfg.initializer is not None:
                _start_from(str(cfg.initializer), task, learned, criterion)
            if cfg.gradinit_from is not None:
                take_scales(cfg.gradinit_from, learned, cfg.save_dir)
            elif not cfg.no_gradinit:
                learn(task, options, learned, criterion, optimizer)
    except torch.OutOfMemoryError as error:
        # the trainer would take it for a temporary shortage and continue without initialization
        raise GradInitError(
            "initialization does not fit into the device's memory: use a smaller --gradinit-max-tokens "
            f"(now {max_tokens(cfg)}) with a larger --gradinit-update-freq"
        ) from error


def restored_from(cfg: GradInitTranslationConfig) -> str | None:
    """The checkpoint that this run started from, if any; searched in fairseq's order."""
    ending = f"{cfg.checkpoint_suffix}.pt"
    path = os.path.join(cfg.save_dir, newest.LAST.replace(".pt", ending))
    if cfg.restore_file != newest.LAST:
        path = cfg.restore_file.replace(".pt", ending)
    elif not PathManager.exists(path):
        path = cfg.continue_once or cfg.finetune_from_model or path
    return path if PathManager.isfile(path) else None


def _require_derivatives(cfg: GradInitTranslationConfig, options: dict) -> None:
    if not (options.get("checkpoint_activations") or options.get("offload_activations")):
        return
    cannot = "takes derivatives that --checkpoint-activations and --offload-activations cannot give"
    if cfg.initializer is not None and INITIALIZERS[str(cfg.initializer)].takes_derivatives:
        raise GradInitError(f"--initializer {cfg.initializer} {cannot}: drop them, or use another initializer")
    if not (cfg.no_gradinit or cfg.gradinit_from):
        raise GradInitError(
            f"GradInit {cannot}: learn the scales in a run without them (--max-update 1, with a smaller "
            "--gradinit-max-tokens if memory is short), then train with --gradinit-from its save dir"
        )


def _start_from(name: str, task: TranslationTask, model: BaseFairseqModel, criterion: FairseqCriterion) -> None:
    """Gives the model the parameters of an initializer."""
    source = batches_of(task, model)
    sums = sum_over_ranks if rank_and_world_size()[1] > 1 else None
    start = Start(model, task.cfg.seed, token_loss(criterion), source.whole(), source.divide, sums)
    INITIALIZERS[name].initialize(start)
    logger.info("initializer: %s", name)
