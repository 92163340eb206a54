"""Signals that ask training to end: it finishes its update, saves, and leaves with a status that names the signal."""

import copy
import functools
import logging
import os
import signal
from collections.abc import Callable
from typing import Any, NoReturn

import torch
import torch.distributed
from fairseq import checkpoint_utils

from gradinit_mt.common.parent import end_with
from gradinit_mt.plugin.exiting import exit_with
from gradinit_mt.plugin.ranks import from_first_rank, rank_and_world_size

logger = logging.getLogger(__name__)

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)

_received = 0  # the first signal; 0 for none
_saved_at = -1  # the update of the last save


def end_with_torchrun() -> None:
    """Makes the system send SIGTERM to this process when torchrun, its parent, is killed. (On Linux.)"""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        end_with(os.getppid())


def listen() -> None:
    """Notes the first signal from now on, except one that this process was started to ignore.

    Later ones are ignored, since one interruption may arrive several times: from a terminal, a scheduler and torchrun.
    """
    for number in SIGNALS:
        if signal.getsignal(number) is not signal.SIG_IGN:
            signal.signal(number, _note)


def _note(number: int, _frame: object) -> None:
    global _received
    _received = _received or number


def received() -> int:
    """The signal that any rank has received, on every rank; 0 for none."""
    if rank_and_world_size()[1] == 1:
        return _received
    on_gpu = torch.distributed.get_backend() == "nccl"
    number = torch.tensor([_received], device="cuda" if on_gpu else "cpu")
    torch.distributed.all_reduce(number, op=torch.distributed.ReduceOp.MAX)
    return int(number)


def leave(number: int, save: Callable[[], str]) -> NoReturn:
    """Ends this process with the status 128 + ``number``, on every rank after the first one has called ``save``.

    Args:
        save: returns what was saved, for the log.
    """
    saved = from_first_rank(save)
    logger.warning("interrupted by %s: %s", signal.Signals(number).name, saved)
    exit_with(128 + number)


def save_between_updates(training: dict) -> None:
    """Makes fairseq-train save and leave after the update in which a signal comes, and after its validation.

    Args:
        training: the names of the module whose ``train`` runs; it is called ``__main__`` or ``fairseq_cli.train``.
    """
    stock = training.get("validate_and_save")
    if stock is None or hasattr(stock, "__wrapped__"):
        return

    @functools.wraps(stock)
    def validate_and_save(cfg: Any, trainer: Any, task: Any, epoch_itr: Any, *arguments: Any) -> tuple:
        losses, complete = stock(cfg, trainer, task, epoch_itr, *arguments)
        number = received()
        if number and not complete:
            if trainer.get_num_updates() != _saved_at:
                checkpoint_utils.save_checkpoint(_last_alone(cfg.checkpoint), trainer, epoch_itr, None)
            kept = "nothing was saved, as --no-save asks" if cfg.checkpoint.no_save else "saved"
            leave(number, lambda: f"{kept} after update {trainer.get_num_updates()}")
        return losses, complete

    training["validate_and_save"] = validate_and_save


def _last_alone(cfg: Any) -> Any:
    """The settings of a save of ``checkpoint_last.pt`` that touches no other checkpoint."""
    cfg = copy.deepcopy(cfg)
    cfg.no_epoch_checkpoints, cfg.no_last_checkpoints, cfg.save_interval_updates = True, False, 0
    cfg.keep_interval_updates = cfg.keep_last_epochs = cfg.keep_best_checkpoints = -1
    return cfg


def remember_saves() -> None:
    """Notes the update of each of fairseq's saves, so that an interruption does not repeat one."""
    stock = checkpoint_utils.save_checkpoint

    @functools.wraps(stock)
    def save_checkpoint(cfg: Any, trainer: Any, *arguments: Any) -> Any:
        global _saved_at
        path = stock(cfg, trainer, *arguments)
        _saved_at = trainer.get_num_updates()
        return path

    checkpoint_utils.save_checkpoint = save_checkpoint
