"""What a resumed run needs beyond fairseq's checkpoint to continue bit for bit, and to log the same losses."""

import functools
import logging
import sys
from pathlib import Path
from typing import Any

from fairseq import checkpoint_utils
from fairseq.logging import metrics
from fairseq.logging.meters import MetersDict

from gradinit_mt.plugin import interruption
from gradinit_mt.plugin.checkpoints import newest, resume_state, untrusted
from gradinit_mt.plugin.exiting import exit_with
from gradinit_mt.plugin.ranks import from_first_rank
from gradinit_mt.plugin.watch import stop_note

logger = logging.getLogger(__name__)

INNER = "train_inner"  # fairseq's name of the averages that it logs within an epoch


def resume_exactly() -> None:
    """Lets fairseq resume from the newest whole checkpoint, also between two epochs as if it had not stopped.

    Between epochs fairseq drops the averages of the epoch, as it should, and with them those that it logs every
    ``--log-interval`` updates, which span the end of an epoch. It also omits the step of the schedule that follows the
    validation at the end of an epoch.
    """
    load = checkpoint_utils.load_checkpoint

    @functools.wraps(load)
    def load_checkpoint(cfg: Any, trainer: Any, **options: Any) -> tuple:
        training = sys._getframe(1).f_globals  # of fairseq-train, which calls this
        interruption.listen()
        interruption.save_between_updates(training)
        resume_state.note_early_stopping(trainer, training)
        from_first_rank(lambda: stop_note.remove(Path(cfg.save_dir)))
        _mend(cfg)
        with untrusted.resuming(trainer.cfg):
            extra_state, epoch_itr = load(cfg, trainer, **options)
        if extra_state and trainer.get_num_updates() and not cfg.reset_meters:
            _restore(trainer, extra_state)
        at_start = epoch_itr.epoch > 1 and epoch_itr.iterations_in_epoch == 0
        if at_start and extra_state.get("val_loss") is not None and not cfg.reset_lr_scheduler:
            trainer.lr_step(epoch_itr.epoch - 1, extra_state["val_loss"])
        return extra_state, epoch_itr

    checkpoint_utils.load_checkpoint = load_checkpoint


def _restore(trainer: Any, extra_state: dict) -> None:
    """Restores what fairseq leaves out, and ends the process if the run had come to its end."""
    if INNER in extra_state.get("metrics", {}):
        metrics._aggregators[INNER] = MetersDict()
        metrics._aggregators[INNER].load_state_dict(extra_state["metrics"][INNER])
    resume_state.restore(trainer, extra_state)
    if option := ended_by(trainer):
        logger.info("this run is complete by its %s: a larger one continues it", option)
        exit_with(0)


def ended_by(trainer: Any) -> str | None:
    """The option that has already ended this run, if any; fairseq would make at least one more update."""
    ends = {
        "--max-update": 0 < trainer.cfg.optimization.max_update <= trainer.get_num_updates(),
        "--patience": 0 < trainer.cfg.checkpoint.patience <= resume_state.early_stopping(trainer).get("num_runs", 0),
    }
    return next(filter(ends.get, ends), None)


def _mend(cfg: Any) -> None:
    """On the first rank; does nothing where no checkpoint of this run would be loaded."""
    save_dir = Path(cfg.save_dir)

    def has_saved() -> bool:
        # a kill within the first save leaves other checkpoints than the last one
        return (save_dir / newest.LAST).exists() or (not cfg.no_last_checkpoints and newest.has_saved(save_dir))

    if cfg.restore_file == newest.LAST and from_first_rank(has_saved):
        for message in from_first_rank(lambda: newest.mend(save_dir)):
            logger.warning(message)
