"""Linear decay to the end of training, with optional warmup."""

import logging
import math
from dataclasses import dataclass
from typing import List, Optional

from fairseq.dataclass import FairseqDataclass
from fairseq.optim import FairseqOptimizer
from fairseq.optim.lr_scheduler import FairseqLRScheduler, register_lr_scheduler
from omegaconf import II

from gradinit_mt.common.fields import option

logger = logging.getLogger(__name__)


@dataclass
class LinearScheduleConfig(FairseqDataclass):
    """Options of ``--lr-scheduler linear``."""

    lr_min: float = option("the learning rate never falls below this; from 0 to --lr", default=0.0)
    warmup_updates: int = option(
        "updates of linear warmup, for baselines; at least 0 and fewer than --total-num-update", default=0
    )
    total_num_update: Optional[int] = option(
        "update at which the decay ends, above 0; with --lr-min 0 at least --max-update (default: --max-update)"
    )
    max_update: int = II("optimization.max_update")
    lr: List[float] = II("optimization.lr")


def lr_at(update: int, lr: float, total: int, lr_min: float = 0.0, warmup: int = 0) -> float:
    """The learning rate of one update.

    Without warmup it is ``max(lr_min, lr * (1 - t/T))``. With W updates of warmup it is ``lr * (t + 1)/W`` for t < W:
    no update is spent at rate 0. It then falls linearly from ``lr`` at W to 0 at T, but never below ``lr_min``.

    Args:
        update: t, the number of updates done, at least 0. After T the rate stays at ``lr_min``.
        lr: the peak.
        total: T.
        lr_min: the floor of the decay.
        warmup: W, fewer than ``total``.
    """
    if update < warmup:
        return lr * (update + 1) / warmup
    return max(lr_min, lr * (1 - (update - warmup) / (total - warmup)))


@register_lr_scheduler("linear", dataclass=LinearScheduleConfig)
class LinearSchedule(FairseqLRScheduler):
    """``lr_at`` as a fairseq schedule.

    Raises:
        ValueError: an option is out of its range.
    """

    def __init__(self, cfg: LinearScheduleConfig, optimizer: FairseqOptimizer) -> None:
        super().__init__(cfg, optimizer)
        if len(cfg.lr) != 1:
            raise ValueError(f"--lr-scheduler linear takes one --lr, got {list(cfg.lr)}")
        lr, warmup = cfg.lr[0], cfg.warmup_updates
        self.total = total = cfg.max_update if cfg.total_num_update is None else cfg.total_num_update
        if not 0 < lr < math.inf:
            raise ValueError(f"--lr is {lr}, expected a finite number above 0")
        if total <= 0:
            raise ValueError(f"--lr-scheduler linear ends at update {total}: give --max-update or --total-num-update")
        if not 0 <= warmup < total:
            raise ValueError(
                f"--warmup-updates is {warmup}, expected at least 0 and fewer than the {total} updates of "
                "--total-num-update or --max-update"
            )
        if not 0 <= cfg.lr_min <= lr:
            raise ValueError(f"--lr-min is {cfg.lr_min}, expected 0 to --lr ({lr})")
        if cfg.max_update > total and cfg.lr_min == 0:
            raise ValueError(
                f"--max-update is {cfg.max_update}, expected at most the {total} of --total-num-update, after which "
                "the learning rate is 0: lower --max-update, raise --total-num-update, or give an --lr-min above 0"
            )

    def step_update(self, num_updates: int) -> float:
        """Sets and returns the learning rate of the update after ``num_updates``."""
        cfg = self.cfg
        if num_updates == self.total and cfg.lr_min == 0 and cfg.max_update == 0:  # it ends by epochs
            logger.warning("the learning rate is 0 from update %d on: raise --total-num-update", num_updates)
        self.optimizer.set_lr(lr_at(num_updates, cfg.lr[0], self.total, cfg.lr_min, cfg.warmup_updates))
        return self.optimizer.get_lr()
