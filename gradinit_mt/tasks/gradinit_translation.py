"""fairseq's translation task, with initialization before the first update and the stock trainer."""

from argparse import Namespace
from collections.abc import Callable
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from fairseq.criterions import FairseqCriterion
from fairseq.data import Dictionary, FairseqDataset
from fairseq.data.iterators import EpochBatchIterator
from fairseq.models import BaseFairseqModel
from fairseq.optim import FairseqOptimizer
from fairseq.sequence_generator import SequenceGenerator
from fairseq.tasks import register_task
from fairseq.tasks.translation import TranslationTask
from omegaconf import DictConfig
from torch import Tensor, nn

from gradinit_mt.core import GradInitError
from gradinit_mt.models.narrow_search import narrowed
from gradinit_mt.models.wrappers import unwrapped
from gradinit_mt.plugin.capturing import CapturedSteps, captured_steps, is_inspected, require_capturable
from gradinit_mt.plugin.compiling import compile_layers, require_compilable
from gradinit_mt.plugin.facts import model_options
from gradinit_mt.plugin.initialize import initialize, restored_from
from gradinit_mt.plugin.options import GradInitTranslationConfig, core_config
from gradinit_mt.plugin.precision import in_working_precision
from gradinit_mt.plugin.refusals import require_trainable, require_whole_parameters
from gradinit_mt.plugin.watch.watch import Watch, require_valid_watch


@register_task("gradinit_translation", dataclass=GradInitTranslationConfig)
class GradInitTranslationTask(TranslationTask):
    """fairseq's translation task with another initialization, GradInit, or both before the first update.

    They run in ``train_step`` of update 0: only there are model, criterion, optimizer and devices all known while
    no parameter has moved. A resumed run never sees update 0 again.
    """

    cfg: GradInitTranslationConfig

    def __init__(self, cfg: GradInitTranslationConfig, src_dict: Dictionary, tgt_dict: Dictionary) -> None:
        super().__init__(cfg, src_dict, tgt_dict)
        self._initializes = not cfg.no_gradinit or cfg.initializer is not None
        self._is_prepared = False  # for training
        self._captured: CapturedSteps | None = None
        require_capturable(cfg)
        require_valid_watch(cfg)
        self._watch = Watch(cfg) if cfg.watch_updates else None
        self._after_update: Callable[[list[dict]], None] | None = None  # once training has begun
        if not cfg.no_gradinit:
            core_config(cfg, {"step": "adam"}, torch.device("cpu"))  # reports a bad option before anything is loaded
        elif cfg.gradinit_from is not None:
            raise GradInitError("--gradinit-from and --no-gradinit exclude each other: drop one of them")
        if self._initializes and restored_from(cfg) is None:
            require_whole_parameters(cfg)

    def build_model(self, cfg: DictConfig | Namespace, from_checkpoint: bool = False) -> BaseFairseqModel:
        """As in fairseq; keeps the model's options for the record. A model to train is refused where that must fail."""
        if not from_checkpoint:
            require_trainable(self.cfg)
        self._model_cfg = cfg
        return super().build_model(cfg, from_checkpoint)

    def get_batch_iterator(
        self, dataset: FairseqDataset, *args: Any, epoch: int = 1, **options: Any
    ) -> EpochBatchIterator:
        """As in fairseq, but batches that serve all epochs are those of a run that starts in the first one.

        fairseq draws them with a seed that contains ``epoch``, so a run resumed in a later epoch would see others.
        """
        once = not (options.get("disable_iterator_cache") or options.get("update_epoch_batch_itr"))
        if not once or not self.can_reuse_epoch_itr(dataset):
            return super().get_batch_iterator(dataset, *args, epoch=epoch, **options)
        is_new = dataset not in self.dataset_to_epoch_iter
        iterator = super().get_batch_iterator(dataset, *args, epoch=1, **options)
        if is_new:
            iterator.epoch = max(epoch, 1)
        return iterator

    def train_step(
        self,
        sample: dict,
        model: BaseFairseqModel,
        criterion: FairseqCriterion,
        optimizer: FairseqOptimizer,
        update_num: int,
        **kwargs: Any,
    ) -> tuple:
        """As in fairseq, but after initialization if this is the run's first call at update 0."""
        if not self._is_prepared:
            self._prepare(model, criterion, optimizer, update_num)
            self._is_prepared = True
        losses = self._at_precision(criterion)
        if self._watch is not None:
            self._watch.begin(update_num, optimizer)
            self._after_update = partial(self._watch.update_done, model=model, criterion=losses, task=self)
        if self._captured is not None and not is_inspected(model):
            model.train()
            model.set_num_updates(update_num)
            return self._captured.step(sample, model, losses, optimizer)
        return super().train_step(sample, model, losses, optimizer, update_num, **kwargs)

    def optimizer_step(self, optimizer: FairseqOptimizer, model: BaseFairseqModel, update_num: int) -> None:
        """As in fairseq; the watch sees the gradients first."""
        if self._watch is not None:
            self._watch.gradients(model)
        super().optimizer_step(optimizer, model, update_num)

    def reduce_metrics(self, logging_outputs: list[dict], criterion: FairseqCriterion) -> None:
        """As in fairseq; after a training update, the watch adds what it sees at the log interval."""
        super().reduce_metrics(logging_outputs, criterion)
        if self._after_update is not None and criterion.training:
            self._after_update(logging_outputs)

    def valid_step(self, sample: dict, model: BaseFairseqModel, criterion: FairseqCriterion) -> tuple:
        """As in fairseq, at the precision asked for."""
        return super().valid_step(sample, model, self._at_precision(criterion))

    def inference_step(
        self,
        generator: SequenceGenerator,
        models: list[BaseFairseqModel],
        sample: dict,
        prefix_tokens: Tensor | None = None,
        constraints: Tensor | None = None,
    ) -> list:
        """As in fairseq, at the precision asked for; plain beam search looks only at the best tokens."""
        plain = prefix_tokens is None and constraints is None
        with (
            in_working_precision(self.cfg, models[0], "translation"),
            narrowed(generator) if plain else nullcontext(),
        ):
            return super().inference_step(generator, models, sample, prefix_tokens, constraints)

    def _prepare(
        self, model: BaseFairseqModel, criterion: FairseqCriterion, optimizer: FairseqOptimizer, update_num: int
    ) -> None:
        # what training would refuse is refused before initialization, which may take long
        if self.cfg.compile_layers:
            require_compilable(model)
        require_capturable(self.cfg, model, criterion)
        if update_num == 0 and self._initializes:
            initialize(self, model_options(self._model_cfg), unwrapped(model), criterion, optimizer)
        if self.cfg.compile_layers:
            compile_layers(model)
        self._captured = captured_steps(self.cfg, model, criterion)

    def _at_precision(self, criterion: FairseqCriterion) -> Callable[[nn.Module, dict], tuple]:
        """The criterion, whose losses alone are computed at the precision asked for: backward follows their types."""

        def losses(model: nn.Module, sample: dict) -> tuple:
            with in_working_precision(self.cfg, model, "training"):
                return criterion(model, sample)

        return losses
