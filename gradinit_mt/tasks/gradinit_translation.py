"""fairseq's translation task, with GradInit before the first update and the stock trainer."""

import logging
import os
from argparse import Namespace
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Optional

import torch
from fairseq import utils
from fairseq.criterions import FairseqCriterion
from fairseq.data import Dictionary, data_utils
from fairseq.models import BaseFairseqModel
from fairseq.optim import FairseqOptimizer
from fairseq.sequence_generator import SequenceGenerator
from fairseq.tasks import register_task
from fairseq.tasks.translation import TranslationTask
from omegaconf import DictConfig
from torch import nn

from gradinit_mt.common.progress import progress
from gradinit_mt.core import GradInitConfig, GradInitError, State, find_blocks, learn_scales, scale_blocks
from gradinit_mt.core.blocks import block_facts
from gradinit_mt.core.gradients import LossFunction
from gradinit_mt.core.signal import SignalLoss
from gradinit_mt.initializers import INITIALIZERS, Start
from gradinit_mt.models.wrappers import unwrapped
from gradinit_mt.plugin.batches import OverlappingBatches
from gradinit_mt.plugin.compiling import compile_layers
from gradinit_mt.plugin.facts import data_checksum, model_options
from gradinit_mt.plugin.half_precision import in_float32
from gradinit_mt.plugin.options import GradInitTranslationConfig, core_config, first_steps_of
from gradinit_mt.plugin.precision import in_working_precision, working_precision
from gradinit_mt.plugin.ranks import from_first_rank, rank_and_world_size, sum_over_ranks
from gradinit_mt.plugin.stacks import stacks_of
from gradinit_mt.record import reuse
from gradinit_mt.record.record import SUMMARY, Record, fingerprint

logger = logging.getLogger(__name__)

SAVE_EVERY = 20  # iterations


@register_task("gradinit_translation", dataclass=GradInitTranslationConfig)
class GradInitTranslationTask(TranslationTask):
    """fairseq's translation task with GradInit before the first update.

    GradInit runs in ``train_step`` of update 0: only there are model, criterion, optimizer and devices all known while
    no parameter has moved. A resumed run never sees update 0 again.
    """

    cfg: GradInitTranslationConfig

    def __init__(self, cfg: GradInitTranslationConfig, src_dict: Dictionary, tgt_dict: Dictionary) -> None:
        super().__init__(cfg, src_dict, tgt_dict)
        self._awaits_initialization = not cfg.no_gradinit or cfg.initializer is not None
        self._compiled = False
        if not cfg.no_gradinit:
            core_config(cfg, {"step": "adam"}, torch.device("cpu"))  # reports a bad option before anything is loaded
        elif cfg.gradinit_from is not None:
            raise GradInitError("--gradinit-from and --no-gradinit exclude each other: drop one of them")

    def build_model(self, cfg: DictConfig | Namespace, from_checkpoint: bool = False) -> BaseFairseqModel:
        """As in fairseq; keeps the model's options for the record."""
        self._model_cfg = cfg
        return super().build_model(cfg, from_checkpoint)

    def train_step(
        self,
        sample: dict,
        model: BaseFairseqModel,
        criterion: FairseqCriterion,
        optimizer: FairseqOptimizer,
        update_num: int,
        **kwargs: Any,
    ) -> tuple:
        """As in fairseq, but after GradInit if this is the run's first call at update 0."""
        if update_num == 0 and self._awaits_initialization:
            self._initialize(model, criterion, optimizer)
            self._awaits_initialization = False
        if self.cfg.compile_layers and not self._compiled:
            compile_layers(model)
            self._compiled = True
        return super().train_step(sample, model, self._at_precision(criterion), optimizer, update_num, **kwargs)

    def valid_step(self, sample: dict, model: BaseFairseqModel, criterion: FairseqCriterion) -> tuple:
        """As in fairseq, at the precision asked for."""
        return super().valid_step(sample, model, self._at_precision(criterion))

    def inference_step(
        self, generator: SequenceGenerator, models: list[BaseFairseqModel], sample: dict, *args: Any, **kwargs: Any
    ) -> list:
        """As in fairseq, at the precision asked for."""
        with in_working_precision(self.cfg, models[0], "translation"):
            return super().inference_step(generator, models, sample, *args, **kwargs)

    def _at_precision(self, criterion: FairseqCriterion) -> Callable[[nn.Module, dict], tuple]:
        """The criterion, whose losses alone are computed at the precision asked for: backward follows their types."""

        def losses(model: nn.Module, sample: dict) -> tuple:
            with in_working_precision(self.cfg, model, "training"):
                return criterion(model, sample)

        return losses

    def _initialize(self, model: BaseFairseqModel, criterion: FairseqCriterion, optimizer: FairseqOptimizer) -> None:
        restored = from_first_rank(self._restored_from)
        if restored is not None:
            name = "--initializer" if self.cfg.no_gradinit else "GradInit"
            logger.warning("%s: skipped, the parameters come from the checkpoint %s", name, restored)
            return
        self._require_derivatives()
        model = unwrapped(model)
        model.eval()  # turns dropout off; the trainer sets training mode again
        try:
            with in_float32(model, optimizer) as learned:
                if self.cfg.initializer is not None:
                    self._start_from(str(self.cfg.initializer), learned, criterion)
                if self.cfg.no_gradinit:
                    pass
                elif self.cfg.gradinit_from is None:
                    self._learn(learned, criterion, optimizer)
                else:
                    self._take_scales(self.cfg.gradinit_from, learned)
        except torch.OutOfMemoryError as error:
            # the trainer would take it for a temporary shortage and continue without initialization
            raise GradInitError(
                "GradInit does not fit into the device's memory: use a smaller --gradinit-max-tokens "
                f"(now {self._max_tokens()}) with a larger --gradinit-update-freq"
            ) from error

    def _restored_from(self) -> Optional[str]:
        """The checkpoint that this run started from, if any; searched in fairseq's order."""
        path = os.path.join(self.cfg.save_dir, "checkpoint_last.pt")
        if self.cfg.restore_file != "checkpoint_last.pt":
            path = self.cfg.restore_file
        elif not os.path.exists(path):
            path = self.cfg.continue_once or self.cfg.finetune_from_model or path
        return path if os.path.exists(path) else None

    def _require_derivatives(self) -> None:
        if self.cfg.ddp_backend == "fully_sharded":
            raise GradInitError("GradInit needs whole parameters on every rank: use another --ddp-backend")
        rule = INITIALIZERS.get(str(self.cfg.initializer))
        learns = not (self.cfg.no_gradinit or self.cfg.gradinit_from)
        taken = learns or (rule is not None and rule.takes_derivatives)
        options = model_options(self._model_cfg) if taken else {}
        if options.get("checkpoint_activations") or options.get("offload_activations"):
            raise GradInitError(
                "GradInit takes derivatives that --checkpoint-activations and --offload-activations cannot give: learn "
                "the scales in a run without them (--max-update 1, with a smaller --gradinit-max-tokens if memory is "
                "short), then train with --gradinit-from its save dir"
            )

    def _start_from(self, name: str, model: BaseFairseqModel, criterion: FairseqCriterion) -> None:
        """Gives the model the parameters of ``--initializer``."""
        sums = sum_over_ranks if rank_and_world_size()[1] > 1 else None
        source = cache(lambda: self._batches(model, 1))  # the sentences are put into batches once one is asked for

        def batches() -> Iterator[dict]:
            yield from source().whole()

        def divide(sample: dict, choose: Callable[[int], Sequence[Sequence[int]]]) -> list[dict]:
            return source().divide(sample, choose)

        INITIALIZERS[name].initialize(Start(model, self.cfg.seed, _token_loss(criterion), batches(), divide, sums))
        logger.info("initializer: %s", name)

    def _take_scales(self, path: str, model: BaseFairseqModel) -> None:
        record = from_first_rank(lambda: reuse.given(path, model))
        from_first_rank(lambda: reuse.continued(record, self.cfg.save_dir))
        scale_blocks(find_blocks(model), record.state.scales)
        if rank_and_world_size()[0] == 0:
            record.save(Path(self.cfg.save_dir))
        logger.info("GradInit: %d scales taken from %s", len(record.blocks), path)

    def _learn(self, model: BaseFairseqModel, criterion: FairseqCriterion, optimizer: FairseqOptimizer) -> None:
        rank, world_size = rank_and_world_size()
        device = next(model.parameters()).device
        over_sentences = getattr(criterion, "sentence_avg", False)
        tokens = float(self.dataset(self.cfg.train_subset).tgt_sizes.mean()) if over_sentences else 1.0
        # the first rank's settings, so that ranks with different devices compute the same
        config = from_first_rank(lambda: core_config(self.cfg, first_steps_of(optimizer), device, tokens))
        record = from_first_rank(
            lambda: reuse.continued(self._fresh_record(model, criterion, config), self.cfg.save_dir)
        )
        started_at = record.state.iteration
        if not record.complete:
            shown = [f"{name} {value}" for name, value in record.settings.items() if name != "model"]
            logger.info("GradInit: %s", ", ".join(shown))

        loss_fn = _token_loss(criterion)
        weight = config.signal_weight
        ahead_loss_fn = SignalLoss(stacks_of(model)).added_to(loss_fn, weight) if weight else None
        with progress("GradInit", config.iterations, started_at, shown=rank == 0) as advance:

            def on_iteration(state: State) -> None:
                entry = state.history[-1]
                advance(f"loss {entry['loss']:.3f} norm {entry['norm']:.4g} {entry['kind']}")
                if rank == 0 and (state.iteration % SAVE_EVERY == 0 or state.iteration == config.iterations):
                    record.save(Path(self.cfg.save_dir))

            learn_scales(
                model,
                loss_fn,
                self._batches(model, config.look_ahead).pairs(started_at),
                config,
                ahead_loss_fn=ahead_loss_fn,
                all_reduce=sum_over_ranks if world_size > 1 else None,
                held=[_softmax(model)] if self.cfg.gradinit_hold_softmax else (),
                state=record.state,
                on_iteration=on_iteration,
            )
        self._log_outcome(record, reused=started_at == config.iterations)

    def _batches(self, model: BaseFairseqModel, steps: int) -> OverlappingBatches:
        dataset = self.dataset(self.cfg.train_subset)
        with data_utils.numpy_seed(self.cfg.seed):
            indices = dataset.ordered_indices()
        longest = utils.resolve_max_positions(self.max_positions(), model.max_positions(), self._max_tokens())
        indices = self.filter_indices_by_size(indices, dataset, longest, ignore_invalid_inputs=True)
        if len(indices) == 0:
            option = "gradinit-max-tokens" if self.cfg.gradinit_max_tokens else "max-tokens"
            raise GradInitError(f"no training sentence fits a batch of {self._max_tokens()} tokens: raise --{option}")
        batches = dataset.batch_by_size(indices, max_tokens=self._max_tokens(), max_sentences=self.cfg.batch_size)
        device = next(model.parameters()).device
        parts = self.cfg.gradinit_update_freq
        return OverlappingBatches(dataset, batches, self.cfg.seed, parts, *rank_and_world_size(), device, steps)

    def _max_tokens(self) -> Optional[int]:
        return self.cfg.gradinit_max_tokens or self.cfg.max_tokens

    def _fresh_record(self, model: BaseFairseqModel, criterion: FairseqCriterion, config: GradInitConfig) -> Record:
        settings = {
            **config.as_dict(),
            "criterion": type(criterion).__name__,
            "label_smoothing": getattr(criterion, "eps", None),
            "sentence_avg": getattr(criterion, "sentence_avg", None),
            "data": data_checksum(self.dataset(self.cfg.train_subset)),
            "model": model_options(self._model_cfg),
            "max_tokens": self._max_tokens(),
            "batch_size": self.cfg.batch_size,
            "update_freq": self.cfg.gradinit_update_freq,
            "world_size": rank_and_world_size()[1],
            "training_precision": working_precision(self.cfg, model),
            "hold_softmax": self.cfg.gradinit_hold_softmax,
            "seed": self.cfg.seed,
        }
        if self.cfg.initializer is not None:  # a record without one says nothing of it
            settings["initializer"] = str(self.cfg.initializer)
        blocks = block_facts(model)
        return Record(settings, blocks, fingerprint(model), State.fresh(len(blocks)))

    def _log_outcome(self, record: Record, reused: bool) -> None:
        state = record.state
        objective, constraint = state.steps
        scales = sorted(s for s, b in zip(state.scales.tolist(), record.blocks, strict=True) if b["learnable"])
        done = "found complete, learned" if reused else f"{state.iteration} iterations"
        logger.info(
            f"GradInit: {done} in {state.seconds:.1f} s, {objective} objective and {constraint} constraint steps; "
            f"scales from {scales[0]:.3g} to {scales[-1]:.3g}, median {scales[len(scales) // 2]:.3g}; "
            f"see {os.path.join(self.cfg.save_dir, SUMMARY)}"
        )


def _token_loss(criterion: FairseqCriterion) -> LossFunction:
    """The summed loss and the number of tokens, also where the criterion counts sentences."""
    over_sentences = getattr(criterion, "sentence_avg", False)

    def loss_fn(module: nn.Module, sample: dict) -> tuple[torch.Tensor, float]:
        loss, sample_size, _ = criterion(module, sample)
        return loss, sample["ntokens"] if over_sentences else sample_size

    return loss_fn


def _softmax(model: BaseFairseqModel) -> tuple[nn.Module, str]:
    projection = getattr(getattr(model, "decoder", None), "output_projection", None)
    if not isinstance(projection, nn.Module) or not isinstance(getattr(projection, "weight", None), nn.Parameter):
        raise GradInitError(
            f"--gradinit-hold-softmax: {type(model).__name__} has no decoder.output_projection.weight; drop the option"
        )
    return projection, "weight"
