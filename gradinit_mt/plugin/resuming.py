"""What a resumed run needs beyond fairseq's checkpoint to continue bit for bit, and to log the same losses."""

import functools
from typing import Any

from fairseq import checkpoint_utils
from fairseq.logging import metrics
from fairseq.logging.meters import MetersDict

INNER = "train_inner"  # fairseq's name of the averages that it logs within an epoch


def continue_across_epochs() -> None:
    """Lets a run that resumes at the start of an epoch do so as if it had not stopped at the end of the one before.

    There fairseq drops the averages of the epoch, as it should, and with them those that it logs every
    ``--log-interval`` updates, which span the end of an epoch. It also omits the step of the schedule that follows the
    validation at the end of an epoch.
    """
    load = checkpoint_utils.load_checkpoint

    @functools.wraps(load)
    def load_checkpoint(cfg: Any, trainer: Any, **options: Any) -> tuple:
        extra_state, epoch_itr = load(cfg, trainer, **options)
        saved = extra_state or {}
        if INNER in saved.get("metrics", {}) and not cfg.reset_meters:
            metrics._aggregators[INNER] = MetersDict()
            metrics._aggregators[INNER].load_state_dict(saved["metrics"][INNER])
        at_start = epoch_itr.epoch > 1 and epoch_itr.iterations_in_epoch == 0
        if at_start and saved.get("val_loss") is not None and not cfg.reset_lr_scheduler:
            trainer.lr_step(epoch_itr.epoch - 1, saved["val_loss"])
        return extra_state, epoch_itr

    checkpoint_utils.load_checkpoint = load_checkpoint
