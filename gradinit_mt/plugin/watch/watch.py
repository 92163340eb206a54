"""Watches over a run: takes a reading at every log interval, logs it, and stops a run that cannot recover.

A run with the watch computes the same as one without, bit for bit, until it is stopped.
"""

import logging
import math
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from fairseq.logging import metrics
from fairseq.models import BaseFairseqModel
from fairseq.optim import FairseqOptimizer
from fairseq.tasks.translation import TranslationTask
from fairseq.utils import resolve_max_positions
from torch import Tensor, nn

from gradinit_mt.core import GradInitError, Stack
from gradinit_mt.models.wrappers import unwrapped
from gradinit_mt.plugin.exiting import exit_with
from gradinit_mt.plugin.options import GradInitTranslationConfig
from gradinit_mt.plugin.ranks import from_first_rank
from gradinit_mt.plugin.stacks import stacks_of
from gradinit_mt.plugin.watch import measures, stopping
from gradinit_mt.plugin.watch.standstill import End, Reading, Standstill
from gradinit_mt.plugin.watch.stop_note import STATUS

logger = logging.getLogger(__name__)

PRIORITY = 3000  # in what is logged: after all that fairseq logs

# How fairseq's trainer reports that it cannot use a gradient, before it repeats the batch in search of the reason. On
# several GPUs it compares the norms first: those that are not finite count as inconsistent.
_NOT_FINITE = re.compile(
    r"gradients are Nan/Inf|(AMP: )?Minimum loss scale reached"
    r"|Fatal error: gradients are inconsistent between workers.*\nrank +\d+ = -?(nan|inf)\n",
    re.DOTALL,
)


def require_valid_watch(cfg: GradInitTranslationConfig) -> None:
    """Raises GradInitError if an option of the watch is out of its range, or does not go with another one."""
    for name in ("watch_updates", "watch_language_model_updates"):
        if getattr(cfg, name) < 0:
            raise GradInitError(
                f"--{name.replace('_', '-')} is {getattr(cfg, name)}, expected a number of updates, or 0 for never"
            )
    if cfg.watch_updates and cfg.ddp_backend == "fully_sharded":
        raise GradInitError("--watch-updates needs whole parameters on every rank: use another --ddp-backend, or 0")


class Watch:
    """One run's watch; the task calls its methods in every update.

    The costly part (the host waits for the device, 64 sentences pass through the model twice) runs only at the log
    interval. A resumed run counts from 0 again.
    """

    def __init__(self, cfg: GradInitTranslationConfig) -> None:
        self._cfg = cfg
        self._sums = _Sums()
        self._update = 0  # the one in progress, from 1
        self._rate = 0.0
        self._rate_before: float | None = None  # the learning rate at the last reading, at first of the first update
        self._norms: dict[str, Tensor] = {}
        self._judge: _Judge | None = None  # on the first rank
        self._stop: stopping.Stop | None = None

    def begin(self, update_num: int, optimizer: FairseqOptimizer) -> None:
        """Before a batch of the update after ``update_num``; does not return if the run must end here."""
        if self._stop is not None:
            self._end(self._stop)
        failure = sys.exc_info()[1]  # that the trainer is handling
        if isinstance(failure, FloatingPointError) and _NOT_FINITE.match(str(failure)):
            reading = Reading(self._update, 1, math.nan, math.nan)
            self._end(stopping.decision(End.NOT_FINITE, reading, 1, math.nan, self._cfg))
        self._update, self._rate = update_num + 1, optimizer.get_lr()
        if self._rate_before is None:
            self._rate_before = self._rate

    def gradients(self, model: nn.Module) -> None:
        """With the update's gradient, just before the optimizer's step."""
        if self._due():
            self._norms = measures.gradient_norms(unwrapped(model))

    def update_done(self, outputs: list[dict], model: nn.Module, criterion: Callable, task: TranslationTask) -> None:
        """After an update.

        Args:
            outputs: of the criterion, for logging, over all ranks.
            model: with or without its wrappers.
            criterion: computes losses at the precision of training.
            task: with its training set loaded, and its validation set if there is one.
        """
        self._sums.add(outputs)
        if not self._due():
            return
        loss, rising = self._sums.bits(), self._rate > (self._rate_before or 0.0)
        updates = self._sums.updates
        self._sums, self._rate_before = _Sums(), self._rate

        def judged() -> tuple[measures.Measured, stopping.Stop | None]:
            if self._judge is None:
                self._judge = _Judge.of(task, unwrapped(model))
            found = self._judge.measure(criterion)
            lowest = min((shares[-1] for shares in found.signals.values()), default=math.nan)
            return found, self._judge.decide(Reading(self._update, updates, loss, found.source_gain, lowest, rising))

        # the first rank's numbers, so that all take the same decision
        found, self._stop = from_first_rank(judged)
        self._log(found)

    def _due(self) -> bool:
        return self._update % self._cfg.log_interval == 0

    def _end(self, stop: stopping.Stop) -> None:
        from_first_rank(lambda: stopping.note(stop, self._cfg.save_dir))  # before any rank leaves
        exit_with(STATUS)

    def _log(self, found: measures.Measured) -> None:
        """Adds the reading to what fairseq logs, in its output and for TensorBoard, at this update."""
        norms = {stack: float(norm) for stack, norm in self._norms.items()}
        factor = _total_norm() / math.hypot(*norms.values()) if any(norms.values()) else 1.0
        numbers = {f"gnorm_{stack}": norm * factor for stack, norm in norms.items()}
        numbers["source_gain"] = found.source_gain
        for stack, shares in found.signals.items():
            numbers |= {f"signal_{stack}_{layer}": share for layer, share in enumerate(shares)}
        for name, number in numbers.items():
            metrics.log_scalar(name, float(f"{number:.4g}"), priority=PRIORITY)


def _total_norm() -> float:
    """The norm of the whole gradient as the trainer has just logged it: before clipping, at the loss's own scale."""
    meters = [meters["gnorm"] for meters in metrics.get_active_aggregators() if "gnorm" in meters]
    return float(meters[0].val) if meters else math.nan


@dataclass
class _Sums:
    """The training loss since the last reading, on the device until it is read."""

    loss: Any = 0.0
    tokens: Any = 0.0
    updates: int = 0

    def add(self, outputs: list[dict]) -> None:
        """Adds one update."""
        for output in outputs:
            self.loss = self.loss + output.get("nll_loss", output.get("loss", math.nan))
            self.tokens = self.tokens + output.get("ntokens", math.nan)
        self.updates += 1

    def bits(self) -> float:
        """The mean loss in bits per token; the host waits for the device."""
        return float(self.loss) / max(1.0, float(self.tokens)) / math.log(2)


@dataclass
class _Judge:
    """The rule that ends runs, with the model and the sentences on which it takes readings."""

    cfg: GradInitTranslationConfig
    model: BaseFairseqModel
    sample: dict | None
    stacks: dict[str, Stack]
    rule: Standstill

    @classmethod
    def of(cls, task: TranslationTask, model: BaseFairseqModel) -> "_Judge":
        cfg: GradInitTranslationConfig = task.cfg
        train = task.dataset(cfg.train_subset)
        held_out = task.datasets.get(cfg.valid_subset.partition(",")[0])
        longest = min(resolve_max_positions(task.max_positions(), model.max_positions()))
        device = next(model.parameters()).device
        datasets = [dataset for dataset in (held_out, train) if dataset is not None]
        found = (measures.fixed_batch(dataset, longest, cfg.max_tokens, device) for dataset in datasets)
        sample = next((batch for batch in found if batch is not None), None)
        if sample is None:
            logger.warning("watch: no two sentences fit a batch, so only losses that are not finite will end this run")
        rule = Standstill(measures.word_entropy(train), cfg.watch_updates, cfg.watch_language_model_updates)
        logger.info("watch: word frequencies are at %.2f bits per target token", rule.entropy)
        # hooks would make torch.compile compile the layers again
        return cls(cfg, model, sample, {} if cfg.compile_layers else _stacks(model), rule)

    def measure(self, criterion: Callable) -> measures.Measured:
        """How much the model uses its source, and its signals."""
        return measures.measured(self.model, criterion, self.sample, self.stacks)

    def decide(self, reading: Reading) -> stopping.Stop | None:
        """Takes the run's next reading."""
        end = self.rule.end(reading)
        if end is None:
            return None
        return stopping.decision(end, reading, self.rule.standing_for(end, reading), self.rule.entropy, self.cfg)


def _stacks(model: BaseFairseqModel) -> dict[str, Stack]:
    try:
        return dict(zip(("encoder", "decoder"), stacks_of(model), strict=True))
    except GradInitError:  # a model without layers has no signal to lose
        return {}
