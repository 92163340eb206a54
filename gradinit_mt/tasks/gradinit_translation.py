"""Translation whose first update is preceded by GradInit, under the stock fairseq trainer."""

import logging
import os
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Optional

import torch
import torch.distributed
from fairseq import utils
from fairseq.criterions import FairseqCriterion
from fairseq.data import data_utils
from fairseq.distributed import utils as distributed_utils
from fairseq.models import BaseFairseqModel
from fairseq.optim import FairseqOptimizer
from fairseq.tasks import register_task
from fairseq.tasks.translation import TranslationTask

from gradinit_mt.common.errors import differing
from gradinit_mt.common.progress import Progress
from gradinit_mt.core import GradInitConfig, GradInitError, State, find_blocks, learn_scales, scale_blocks
from gradinit_mt.core.signal import SignalLoss
from gradinit_mt.plugin.batches import OverlappingBatches
from gradinit_mt.plugin.facts import data_checksum, model_options
from gradinit_mt.plugin.half_precision import in_float32
from gradinit_mt.plugin.options import GradInitTranslationConfig, core_config, first_steps_of
from gradinit_mt.plugin.stacks import stacks_of
from gradinit_mt.record.record import TENSORS, Record, RecordError, block_facts, fingerprint

logger = logging.getLogger(__name__)

SAVE_EVERY = 20


@register_task("gradinit_translation", dataclass=GradInitTranslationConfig)
class GradInitTranslationTask(TranslationTask):
    """fairseq's translation task with GradInit before the first update.

    ``train_step`` of update 0 is the one place where model, criterion, optimizer and devices are all known and no
    parameter has moved; a resumed run never sees update 0 again.
    """

    cfg: GradInitTranslationConfig

    def __init__(self, cfg: GradInitTranslationConfig, src_dict, tgt_dict) -> None:
        super().__init__(cfg, src_dict, tgt_dict)
        self._awaits_initialization = not cfg.no_gradinit
        if cfg.no_gradinit and cfg.gradinit_from is not None:
            raise GradInitError("--gradinit-from and --no-gradinit exclude each other: drop one of them")
        if not cfg.no_gradinit:
            # a bad option is reported before anything is loaded
            core_config(cfg, {"step": "adam"}, torch.device("cpu"))

    def build_model(self, cfg, from_checkpoint=False):
        """As in fairseq; the model's options are kept for the record."""
        self._model_cfg = cfg
        return super().build_model(cfg, from_checkpoint)

    def train_step(self, sample, model, criterion, optimizer, update_num, ignore_grad=False, **kwargs):
        """As in fairseq, after GradInit if this is the run's first call at update 0."""
        if update_num == 0 and self._awaits_initialization:
            self._initialize(model, criterion, optimizer)
            self._awaits_initialization = False
        return super().train_step(sample, model, criterion, optimizer, update_num, ignore_grad, **kwargs)

    def _initialize(self, model, criterion: FairseqCriterion, optimizer: FairseqOptimizer) -> None:
        restored = _from_first_rank(self._restored_from)
        if restored is not None:
            logger.warning("GradInit: skipped, the parameters come from the checkpoint %s", restored)
            return
        if self.cfg.ddp_backend == "fully_sharded":
            raise GradInitError("GradInit needs whole parameters on every rank: use another --ddp-backend")
        if self.cfg.gradinit_from is None and self._recomputes_activations():
            raise GradInitError(
                "GradInit takes derivatives that --checkpoint-activations and --offload-activations cannot give: learn "
                "the scales in a run without them (--max-update 1, with a smaller --gradinit-max-tokens if memory is "
                "short), then train with --gradinit-from its save dir"
            )
        module = model
        while not isinstance(module, BaseFairseqModel):
            module = module.module  # inside fairseq's data-parallel wrappers
        module.eval()  # dropout off; the trainer sets training mode again
        try:
            with in_float32(module, optimizer) as learned:
                if self.cfg.gradinit_from is not None:
                    self._take_given_scales(learned)
                    return
                device = next(learned.parameters()).device
                # of the first rank, so that ranks with unlike devices compute alike
                steps, tokens = first_steps_of(optimizer), self._gradient_tokens(criterion)
                config = _from_first_rank(lambda: core_config(self.cfg, steps, device, tokens))
                self._learn(learned, criterion, config)
        except torch.OutOfMemoryError as error:
            # The trainer would take it for a passing shortage and go on uninitialized.
            raise GradInitError(
                "GradInit does not fit the device's memory: use a smaller --gradinit-max-tokens "
                f"(now {self._max_tokens()}) with a larger --gradinit-update-freq"
            ) from error

    def _recomputes_activations(self) -> bool:
        options = model_options(self._model_cfg)
        return any(options.get(name) for name in ("checkpoint_activations", "offload_activations"))

    def _gradient_tokens(self, criterion: FairseqCriterion) -> float:
        """See ``core.forms.settings_for``."""
        if not getattr(criterion, "sentence_avg", False):
            return 1.0
        return float(self.dataset(self.cfg.train_subset).tgt_sizes.mean())

    def _take_given_scales(self, model: BaseFairseqModel) -> None:
        record = _from_first_rank(lambda: _given_record(self.cfg.gradinit_from, model))
        _from_first_rank(lambda: _continued(record, self.cfg.save_dir))
        scale_blocks(find_blocks(model), record.state.scales)
        if _rank_and_world_size()[0] == 0:
            record.save(self.cfg.save_dir)
        logger.info("GradInit: %d scales taken from %s", len(record.blocks), self.cfg.gradinit_from)

    def _restored_from(self) -> Optional[str]:
        """The checkpoint that this run started from, if any; the order is fairseq's own."""
        path = os.path.join(self.cfg.save_dir, "checkpoint_last.pt")
        if self.cfg.restore_file != "checkpoint_last.pt":
            path = self.cfg.restore_file
        elif not os.path.exists(path):
            path = self.cfg.continue_once or self.cfg.finetune_from_model or path
        return path if os.path.exists(path) else None

    def _learn(self, model: BaseFairseqModel, criterion: FairseqCriterion, config: GradInitConfig) -> None:
        rank, world_size = _rank_and_world_size()
        record = _from_first_rank(
            lambda: _continued(self._fresh_record(model, criterion, config, world_size), self.cfg.save_dir)
        )
        started_at = record.state.iteration
        if not record.complete:
            shown = {name: value for name, value in record.settings.items() if name != "model"}
            logger.info("GradInit: %s", ", ".join(f"{name} {value}" for name, value in shown.items()))

        over_sentences = getattr(criterion, "sentence_avg", False)

        def loss_fn(module: BaseFairseqModel, sample: dict):
            loss, sample_size, _ = criterion(module, sample)
            return loss, sample["ntokens"] if over_sentences else sample_size  # per token either way

        ahead_loss_fn = None
        if config.signal_weight:
            ahead_loss_fn = SignalLoss(stacks_of(model)).added_to(loss_fn, config.signal_weight)

        def all_reduce(tensor: torch.Tensor) -> None:
            distributed_utils.all_reduce(tensor, group=distributed_utils.get_data_parallel_group())

        with Progress("GradInit", config.iterations, started_at, shown=rank == 0) as progress:

            def on_iteration(state: State) -> None:
                entry = state.history[-1]
                progress.advance(f"loss {entry['loss']:.3f} norm {entry['norm']:.4g} {entry['kind']}")
                if rank == 0 and (state.iteration % SAVE_EVERY == 0 or state.iteration == config.iterations):
                    record.save(self.cfg.save_dir)

            learn_scales(
                model,
                loss_fn,
                self._batches(model, config.look_ahead).pairs(started_at),
                config,
                ahead_loss_fn=ahead_loss_fn,
                all_reduce=all_reduce if world_size > 1 else None,
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
            option = "max-tokens" if self.cfg.gradinit_max_tokens is None else "gradinit-max-tokens"
            raise GradInitError(f"no training sentence fits a batch of {self._max_tokens()} tokens: raise --{option}")
        batches = dataset.batch_by_size(indices, max_tokens=self._max_tokens(), max_sentences=self.cfg.batch_size)
        device = next(model.parameters()).device
        parts = self.cfg.gradinit_update_freq
        return OverlappingBatches(dataset, batches, self.cfg.seed, parts, *_rank_and_world_size(), device, steps)

    def _max_tokens(self) -> Optional[int]:
        return self.cfg.max_tokens if self.cfg.gradinit_max_tokens is None else self.cfg.gradinit_max_tokens

    def _fresh_record(self, model, criterion, config: GradInitConfig, world_size: int) -> Record:
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
            "world_size": world_size,
            "hold_softmax": self.cfg.gradinit_hold_softmax,
            "seed": self.cfg.seed,
        }
        blocks = block_facts(model)
        return Record(settings, blocks, fingerprint(model), State.fresh(len(blocks)))

    def _log_outcome(self, record: Record, reused: bool) -> None:
        state = record.state
        scales = sorted(s for s, b in zip(state.scales.tolist(), record.blocks, strict=True) if b["learnable"])
        logger.info(
            "GradInit: %s in %.1f s, %d objective and %d constraint steps; "
            "scales from %.3g over %.3g (median) to %.3g; see %s",
            "found complete, learned" if reused else f"{state.iteration} iterations",
            state.seconds,
            *state.steps,
            scales[0],
            scales[len(scales) // 2],
            scales[-1],
            os.path.join(self.cfg.save_dir, "gradinit.json"),
        )


def _softmax(model: BaseFairseqModel) -> tuple[torch.nn.Module, str]:
    projection = getattr(getattr(model, "decoder", None), "output_projection", None)
    if not isinstance(getattr(projection, "weight", None), torch.nn.Parameter):
        raise GradInitError(
            f"--gradinit-hold-softmax: {type(model).__name__} has no decoder.output_projection.weight; drop the option"
        )
    return projection, "weight"


def _continued(fresh: Record, save_dir: str) -> Record:
    """The record that the save dir holds, if it is of this very run; else ``fresh``.

    Raises:
        GradInitError: the save dir holds the record of another run, or one that cannot be read.
    """
    path = os.path.join(save_dir, TENSORS)
    if not os.path.exists(path):
        return fresh
    try:
        found = Record.load(save_dir)
    except RecordError as error:
        raise GradInitError(f"{error}; remove it, or use another --save-dir") from error
    changes = differing(_flat(found.settings), _flat(fresh.settings))
    if "model" not in found.settings:
        changes = ["it was learned by an earlier version"]
    if found.theta0 != fresh.theta0 or found.blocks != fresh.blocks:
        changes.append("other initial parameters")
    if changes:
        raise GradInitError(
            f"{path} belongs to another run ({'; '.join(changes)}): use another --save-dir, or remove it"
        )
    return found


def _flat(settings: dict) -> dict:
    """The settings with those of the model among them, so that a difference is named by itself."""
    model = {f"model.{name}": value for name, value in settings.get("model", {}).items()}
    return {**model, **{name: value for name, value in settings.items() if name != "model"}}


def _given_record(path: str, model: BaseFairseqModel) -> Record:
    """The record at ``path`` as that of this run: with its origin, and with the fingerprint of ``model``.

    Raises:
        GradInitError: there is none, it is not complete, or it is that of another model.
    """
    try:
        record = Record.load(path)
        record.require_blocks_of(model)
    except RecordError as error:
        raise GradInitError(f"--gradinit-from {path}: {error}") from error
    if not record.complete:
        raise GradInitError(
            f"--gradinit-from {path}: it holds {record.state.iteration} of {record.settings['iterations']} iterations; "
            "let the run that learns it go on first"
        )
    origin = os.path.realpath(path).removesuffix(f"/{TENSORS}")  # the same however it is spelled
    return replace(record, settings=record.settings | {"from": origin}, theta0=fingerprint(model))


def _rank_and_world_size() -> tuple[int, int]:
    if not torch.distributed.is_initialized():
        return 0, 1
    return distributed_utils.get_data_parallel_rank(), distributed_utils.get_data_parallel_world_size()


def _from_first_rank(load: Callable[[], Any]) -> Any:
    """What ``load()`` returns or raises on the first rank, on every rank, so that all decide alike."""
    rank, world_size = _rank_and_world_size()
    if world_size == 1:
        return load()
    holder = [None]
    if rank == 0:
        try:
            holder = [load()]
        except GradInitError as error:
            holder = [error]
    torch.distributed.broadcast_object_list(holder, src=0)
    if isinstance(holder[0], GradInitError):
        raise holder[0]
    return holder[0]
