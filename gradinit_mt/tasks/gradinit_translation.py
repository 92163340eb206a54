"""Translation whose first update is preceded by GradInit, under the stock fairseq trainer."""

import hashlib
import logging
import math
import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, List, Optional

import numpy as np
import torch
import torch.distributed
from fairseq import utils
from fairseq.criterions import FairseqCriterion
from fairseq.data import data_utils
from fairseq.dataclass import ChoiceEnum
from fairseq.distributed import utils as distributed_utils
from fairseq.models import BaseFairseqModel
from fairseq.optim import FairseqOptimizer
from fairseq.tasks import register_task
from fairseq.tasks.translation import TranslationConfig, TranslationTask
from omegaconf import II

from ..core import GradInitConfig, GradInitError, State, default_gamma, find_blocks, learn_scales, scale_blocks
from ..progress import Progress
from ..records import TENSORS, Record, RecordError, block_facts, fingerprint
from .forms import FORMS, by_form
from .half_precision import has_native_bfloat16, in_float32
from .overlapping_batches import OverlappingBatches
from .signal import SignalLoss

logger = logging.getLogger(__name__)

# The first step of each optimizer class that fairseq's registry holds under adam, sgd and nag.
STEP_OF = {"Adam": "adam", "AdamW": "adam", "FusedAdamV1": "adam", "FusedAdamV2": "adam", "SGD": "sgd", "NAG": "sgd"}
SAVE_EVERY = 20


@dataclass
class GradInitTranslationConfig(TranslationConfig):
    """Options of the task: those of fairseq's translation, and GradInit's."""

    no_gradinit: bool = field(
        default=False, metadata={"help": "train from the model's own initialization (the baseline)"}
    )
    gradinit_form: ChoiceEnum(list(FORMS)) = field(
        default="signal", metadata={"help": "; ".join(f"{name}: {form.about}" for name, form in FORMS.items())}
    )
    gradinit_iterations: Optional[int] = field(
        default=None, metadata={"help": f"steps taken by the scales, at least 1 ({by_form('iterations')})"}
    )
    gradinit_step: ChoiceEnum(["auto", "adam", "sgd"]) = field(
        default="auto",
        metadata={
            "help": "first optimizer step to look ahead: adam (sign, L1 norm), sgd (L2 norm), auto: as training (nag's "
            "is 1 + momentum times that of sgd)"
        },
    )
    gradinit_look_ahead: Optional[int] = field(
        default=None,
        metadata={
            "help": "optimizer steps looked ahead, at least 1; of several, each sees an equal share of the batch "
            f"({by_form('look_ahead')}; signal under Adam fewer above an eta of 1e-3, {FORMS['signal'].reach:g}/eta)"
        },
    )
    gradinit_eta_ratio: Optional[float] = field(
        default=None,
        metadata={
            "help": f"eta, the size of a look-ahead step, as a multiple of --lr; above 0 ({by_form('eta_ratio')})"
        },
    )
    gradinit_eta: Optional[float] = field(
        default=None, metadata={"help": "eta itself, above 0 (default: --gradinit-eta-ratio times --lr)"}
    )
    gradinit_gamma: Optional[float] = field(
        default=None,
        metadata={
            "help": "bound on the gradient norm, above 0; inf for none (default by form: signal inf, paper the one at "
            "which a step of eta promises a drop of 1 nat: 1/eta for adam, sqrt(1/eta) for sgd)"
        },
    )
    gradinit_signal_weight: Optional[float] = field(
        default=None,
        metadata={
            "help": "weight, beside the loss after the look-ahead, of the signal that the layers have lost by then, at "
            f"least 0 ({by_form('signal_weight')}; signal under Adam less below an eta of 2e-3, "
            f"{FORMS['signal'].signal_weight_per_eta:g} eta)"
        },
    )
    gradinit_update: Optional[ChoiceEnum(["adam", "descent"])] = field(
        default=None,
        metadata={
            "help": "how a scale moves: adam (on the scale, as published) or descent (gradient descent on its "
            "logarithm) (default by form: signal descent, paper adam)"
        },
    )
    gradinit_tau: Optional[float] = field(
        default=None, metadata={"help": f"learning rate of the scales, above 0 ({by_form('tau')})"}
    )
    gradinit_beta1: float = field(
        default=GradInitConfig.betas[0],
        metadata={"help": "decay of the scales' first moment under --gradinit-update adam, in [0, 1)"},
    )
    gradinit_beta2: float = field(
        default=GradInitConfig.betas[1],
        metadata={"help": "decay of the scales' second moment under --gradinit-update adam, in [0, 1)"},
    )
    gradinit_lower_bound: Optional[float] = field(
        default=None, metadata={"help": f"smallest scale of a matrix, in (0, 1] ({by_form('lower_bound')})"}
    )
    gradinit_upper_bound: Optional[float] = field(
        default=None, metadata={"help": f"largest scale of a matrix, at least 1 ({by_form('upper_bound')})"}
    )
    gradinit_vector_lower_bound: Optional[float] = field(
        default=None,
        metadata={
            "help": "smallest scale of a tensor of one dimension (LayerNorm weight or bias), in (0, 1] "
            f"({by_form('vector_lower_bound')})"
        },
    )
    gradinit_vector_upper_bound: Optional[float] = field(
        default=None, metadata={"help": f"largest scale of one, at least 1 ({by_form('vector_upper_bound')})"}
    )
    gradinit_hvp: ChoiceEnum(["auto", "finite", "exact"]) = field(
        default=GradInitConfig.hvp,
        metadata={
            "help": "Hessian-vector product of the constraint: finite differences (at full precision only, less "
            "memory), exact double backward, or auto, the faster one: exact in bfloat16, else finite"
        },
    )
    gradinit_precision: ChoiceEnum(["auto", "full", "bfloat16"]) = field(
        default="auto",
        metadata={
            "help": "GradInit's losses under bfloat16 autocast, or in full (parameters, gradients and scales always "
            "are); auto: bfloat16 where the device computes it natively"
        },
    )
    gradinit_from: Optional[str] = field(
        default=None,
        metadata={
            "help": "take the scales of this record (a save dir or its gradinit.safetensors) instead of learning any; "
            "names and shapes must be those of this model"
        },
    )
    gradinit_max_tokens: Optional[int] = field(
        default=None, metadata={"help": "tokens in a batch of GradInit, per GPU, at least 1 (default: --max-tokens)"}
    )
    gradinit_update_freq: int = field(
        default=1, metadata={"help": "batches accumulated for each step of GradInit, at least 1"}
    )
    gradinit_hold_softmax: bool = field(
        default=False,
        metadata={"help": "keep the output projection's old value in the look-ahead step, as the reference code does"},
    )

    # Options of other parts that GradInit needs to know.
    seed: int = II("common.seed")
    lr: List[float] = II("optimization.lr")
    max_tokens: Optional[int] = II("dataset.max_tokens")
    batch_size: Optional[int] = II("dataset.batch_size")
    save_dir: str = II("checkpoint.save_dir")
    restore_file: str = II("checkpoint.restore_file")
    finetune_from_model: Optional[str] = II("checkpoint.finetune_from_model")
    continue_once: Optional[str] = II("checkpoint.continue_once")
    ddp_backend: str = II("distributed_training.ddp_backend")


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
            signal_weight(cfg, core_config(cfg, FirstSteps("adam"), torch.device("cpu")))

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
                config = _from_first_rank(lambda: core_config(self.cfg, first_steps_of(optimizer), device))
                self._learn(learned, criterion, config)
        except torch.OutOfMemoryError as error:
            # The trainer would take it for a passing shortage and go on uninitialized.
            raise GradInitError(
                "GradInit does not fit the device's memory: use a smaller --gradinit-max-tokens "
                f"(now {self._max_tokens()}) with a larger --gradinit-update-freq"
            ) from error

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
        fresh = self._fresh_record(model, criterion, config, world_size)
        record = _from_first_rank(lambda: _continued(fresh, self.cfg.save_dir))
        started_at = record.state.iteration
        if not record.complete:
            logger.info("GradInit: %s", ", ".join(f"{key} {value}" for key, value in record.settings.items()))

        def loss_fn(module: BaseFairseqModel, sample: dict):
            loss, sample_size, _ = criterion(module, sample)
            return loss, sample_size

        weight = signal_weight(self.cfg, config)
        ahead_loss_fn = SignalLoss(model).added_to(loss_fn, weight) if weight else None

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
                held=[(model.decoder.output_projection, "weight")] if self.cfg.gradinit_hold_softmax else (),
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
            raise GradInitError(f"no training sentence fits a batch of {self._max_tokens()} tokens: raise --max-tokens")
        batches = dataset.batch_by_size(indices, max_tokens=self._max_tokens(), max_sentences=self.cfg.batch_size)
        device = next(model.parameters()).device
        parts = self.cfg.gradinit_update_freq
        return OverlappingBatches(dataset, batches, self.cfg.seed, parts, *_rank_and_world_size(), device, steps)

    def _max_tokens(self) -> Optional[int]:
        return self.cfg.max_tokens if self.cfg.gradinit_max_tokens is None else self.cfg.gradinit_max_tokens

    def _fresh_record(self, model, criterion, config: GradInitConfig, world_size: int) -> Record:
        settings = {
            **config.as_dict(),
            "signal_weight": signal_weight(self.cfg, config),
            "criterion": type(criterion).__name__,
            "label_smoothing": getattr(criterion, "eps", None),
            "sentence_avg": getattr(criterion, "sentence_avg", None),
            "data": hashlib.sha256(np.ascontiguousarray(self.dataset(self.cfg.train_subset).sizes)).hexdigest()[:16],
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


@dataclass(frozen=True)
class FirstSteps:
    """What the look-ahead needs to know of the optimizer; ``step`` is None where its first step is not known."""

    step: Optional[str]
    betas: tuple[float, float] = GradInitConfig.step_betas
    momentum: float = GradInitConfig.step_momentum


def first_steps_of(optimizer: FairseqOptimizer) -> FirstSteps:
    """``adam`` with its betas or ``sgd`` with its momentum."""
    settings = optimizer.optimizer.param_groups[0]
    step = STEP_OF.get(type(optimizer.optimizer).__name__)
    if step == "adam":
        return FirstSteps(step, betas=tuple(settings["betas"]))
    return FirstSteps(step, momentum=settings.get("momentum", GradInitConfig.step_momentum))


def signal_weight(cfg: GradInitTranslationConfig, config: GradInitConfig) -> float:
    """The weight of the signal lost, for the look-ahead of ``config``.

    Raises:
        GradInitError: it is negative or not finite.
    """
    weight = cfg.gradinit_signal_weight
    if weight is None:
        return FORMS[str(cfg.gradinit_form)].weight_of_signal(config.step, config.eta)
    if not (math.isfinite(weight) and weight >= 0):
        raise GradInitError(f"--gradinit-signal-weight is {weight}, expected a finite number, at least 0")
    return weight


def core_config(cfg: GradInitTranslationConfig, steps: FirstSteps, device: torch.device) -> GradInitConfig:
    """The task's options in the core's form: what is not given follows the form, the optimizer and the device.

    Raises:
        GradInitError: an option is out of its range, or the optimizer's first step is not known.
    """
    step = steps.step if cfg.gradinit_step == "auto" else str(cfg.gradinit_step)
    if step is None:
        raise GradInitError("GradInit knows the first step of adam, sgd and nag: give --gradinit-step adam or sgd")
    if cfg.gradinit_update_freq < 1:
        raise GradInitError(f"--gradinit-update-freq is {cfg.gradinit_update_freq}, expected at least 1")
    if cfg.gradinit_max_tokens is not None and cfg.gradinit_max_tokens < 1:
        raise GradInitError(f"--gradinit-max-tokens is {cfg.gradinit_max_tokens}, expected at least 1")
    ratio = _given(cfg, "eta_ratio")
    if not (math.isfinite(ratio) and ratio > 0):
        raise GradInitError(f"--gradinit-eta-ratio is {ratio}, expected a finite number above 0")
    precision = str(cfg.gradinit_precision)
    if precision == "auto":
        native = cfg.gradinit_hvp != "finite" and has_native_bfloat16(device)
        precision = "bfloat16" if native else "full"
    eta = ratio * cfg.lr[0] if cfg.gradinit_eta is None else cfg.gradinit_eta
    if not (math.isfinite(eta) and eta > 0):
        raise GradInitError(f"eta is {eta}, expected above 0: give --gradinit-eta, or an --lr above 0")
    form = FORMS[str(cfg.gradinit_form)]
    look_ahead = form.steps_ahead(step, eta) if cfg.gradinit_look_ahead is None else cfg.gradinit_look_ahead
    try:
        return GradInitConfig(
            step=step,
            eta=eta,
            gamma=default_gamma(step, eta, form.promised_drop) if cfg.gradinit_gamma is None else cfg.gradinit_gamma,
            look_ahead=look_ahead,
            step_betas=steps.betas,
            step_momentum=steps.momentum,
            iterations=_given(cfg, "iterations"),
            update=str(_given(cfg, "update")),
            tau=_given(cfg, "tau"),
            betas=(cfg.gradinit_beta1, cfg.gradinit_beta2),
            lower_bound=_given(cfg, "lower_bound"),
            upper_bound=_given(cfg, "upper_bound"),
            vector_lower_bound=_given(cfg, "vector_lower_bound"),
            vector_upper_bound=_given(cfg, "vector_upper_bound"),
            hvp=str(cfg.gradinit_hvp),
            precision=precision,
        )
    except ValueError as error:
        raise GradInitError(str(error)) from error


def _given(cfg: GradInitTranslationConfig, name: str) -> Any:
    """The option, or the form's default for it."""
    value = getattr(cfg, f"gradinit_{name}")
    return getattr(FORMS[str(cfg.gradinit_form)], name) if value is None else value


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
    differing = [
        f"{key} {found.settings.get(key)} there, {fresh.settings.get(key)} here"
        for key in {**found.settings, **fresh.settings}
        if found.settings.get(key) != fresh.settings.get(key)
    ]
    if found.theta0 != fresh.theta0 or found.blocks != fresh.blocks:
        differing.append("other initial parameters")
    if differing:
        raise GradInitError(
            f"{path} belongs to another run ({'; '.join(differing)}): use another --save-dir, or remove it"
        )
    return found


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
    return replace(record, settings=record.settings | {"from": str(path)}, theta0=fingerprint(model))


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
