"""The task's options, and the settings of GradInit that follow from them and from the optimizer."""

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, List, Optional

import torch
from fairseq.dataclass import ChoiceEnum
from fairseq.optim import FairseqOptimizer
from fairseq.tasks.translation import TranslationConfig
from omegaconf import II

from gradinit_mt.common.fields import option
from gradinit_mt.core import GradInitConfig, GradInitError
from gradinit_mt.core.forms import DEFAULT_FORM, FORMS, TAU, settings_for
from gradinit_mt.core.look_ahead import step_settings
from gradinit_mt.core.precision import has_native_bfloat16
from gradinit_mt.initializers import INITIALIZERS
from gradinit_mt.optim.gi_adam import GIAdam

# Settings of the core with an option of the same name. An option that is not given leaves the setting to the form.
_CORE_SETTINGS = (
    *("eta", "gamma", "look_ahead", "signal_weight", "iterations", "tau"),
    *("lower_bound", "upper_bound", "embedding_upper_bound", "vector_lower_bound", "vector_upper_bound"),
)

# How the optimizer classes that fairseq calls adam, sgd and nag, and GI-Adam, take their first step.
_STEP_OF = {"Adam": "adam", "AdamW": "adam", "FusedAdamV1": "adam", "FusedAdamV2": "adam", "GIAdam": "adam"}
_STEP_OF |= {"SGD": "sgd", "NAG": "sgd"}

_SIGNAL = FORMS["signal"]

Step = StrEnum("Step", ["auto", "adam", "sgd"])
Update = StrEnum("Update", ["adam", "descent"])
Product = StrEnum("Product", ["auto", "finite", "exact"])
Precision = StrEnum("Precision", ["auto", "full", "bfloat16"])
InitializerName = StrEnum("InitializerName", list(INITIALIZERS))  # type: ignore[misc] # the registry has the names
WorkingPrecision = StrEnum("WorkingPrecision", ["auto", "float32", "bfloat16"])
CaptureSteps = StrEnum("CaptureSteps", ["off", "auto", "on"])


def _by_form(name: str) -> str:
    """The end of a help text: the default of a setting in each form."""
    values = {form: getattr(settings, name) for form, settings in FORMS.items()}
    shown = {form: value if isinstance(value, str) else f"{value:g}" for form, value in values.items()}
    return "default by form: " + ", ".join(f"{form} {value}" for form, value in shown.items())


@dataclass
class GradInitTranslationConfig(TranslationConfig):
    """Options of the task: those of fairseq's translation task, and GradInit's."""

    precision: WorkingPrecision = option(
        "arithmetic of training, validation and translation: float32, bfloat16 (by autocast: parameters, gradients and "
        "optimizer stay in float32) or auto, which is bfloat16 for post_ln_transformer models on a device that "
        "multiplies it natively, except with --fp16, --bf16 or --amp",
        default=WorkingPrecision.auto,
    )
    compile_layers: bool = option(
        "compile the layers of a post_ln_transformer model with torch.compile after GradInit: for GPUs, together with "
        "--required-seq-len-multiple, which limits the number of different lengths",
        default=False,
    )
    capture_steps: CaptureSteps = option(
        "on, for one GPU: capture the computation of loss and gradient once for each of a few shapes, to which batches "
        "are padded, and replay it, so that the GPU does not wait for Python; with a post_ln_transformer model and "
        "projected_label_smoothed_cross_entropy. auto: on where that is possible",
        default=CaptureSteps.off,
    )
    initializer: Optional[InitializerName] = option(
        "initialize the model in another way than its own, before GradInit if that runs: "
        + "; ".join(f"{name}: {rule.about}" for name, rule in INITIALIZERS.items())
    )
    no_gradinit: bool = option(
        "train without GradInit, from the model's own initialization or that of --initializer (the baseline)",
        default=False,
    )
    gradinit_form: ChoiceEnum(list(FORMS)) = option(  # type: ignore[valid-type] # one home for the names of the forms
        "; ".join(f"{name}: {form.about}" for name, form in FORMS.items()), default=DEFAULT_FORM
    )
    gradinit_iterations: Optional[int] = option(
        f"number of updates of the scales, at least 1 ({_by_form('iterations')})"
    )
    gradinit_step: Step = option(
        "optimizer of the look-ahead: adam (first step along the gradient's sign, L1 norm), sgd (L2 norm) or auto (the "
        "optimizer of training). nag counts as sgd, although its first step is 1 + momentum times as long. Weight "
        "decay and clipping are ignored",
        default=Step.auto,
    )
    gradinit_look_ahead: Optional[int] = option(
        "optimizer steps of the look-ahead, at least 1; if there are several, each sees an equal share of the batch "
        f"({_by_form('look_ahead')}; branches and signal with Adam: {_SIGNAL.reach:g}/eta if that is lower)"
    )
    gradinit_eta_ratio: Optional[float] = option(
        f"eta, the size of a look-ahead step, as a multiple of --lr; above 0 ({_by_form('eta_ratio')})"
    )
    gradinit_eta: Optional[float] = option(
        "eta itself, for gradients per token; above 0 (default: --gradinit-eta-ratio times --lr; with sgd and "
        "--sentence-avg also times the mean target length)"
    )
    gradinit_gamma: Optional[float] = option(
        "upper bound on the gradient norm, above 0; inf for none (default by form: branches and signal inf, paper the "
        "bound at which a step of eta promises a drop of 1 nat: 1/eta for adam, sqrt(1/eta) for sgd)"
    )
    gradinit_signal_weight: Optional[float] = option(
        "weight of the signal lost in the layers, added to the loss after the look-ahead; at least 0 "
        f"({_by_form('signal_weight')}; branches and signal with Adam: {_SIGNAL.signal_weight_per_eta:g} times eta if "
        "lower)"
    )
    gradinit_update: Optional[Update] = option(
        "how the scales move: adam (Adam on the scale, as published) or descent (gradient descent on its logarithm) "
        f"({_by_form('update')})"
    )
    gradinit_tau: Optional[float] = option(
        "learning rate of the scales, above 0 (default by --gradinit-update: "
        + ", ".join(f"{update} {tau:g}" for update, tau in TAU.items())
        + ")"
    )
    gradinit_beta1: float = option(
        "decay of the scales' first moment with --gradinit-update adam, in [0, 1)", default=GradInitConfig.betas[0]
    )
    gradinit_beta2: float = option(
        "decay of the scales' second moment with --gradinit-update adam, in [0, 1)", default=GradInitConfig.betas[1]
    )
    gradinit_lower_bound: Optional[float] = option(f"smallest scale of a matrix, in (0, 1] ({_by_form('lower_bound')})")
    gradinit_upper_bound: Optional[float] = option(
        f"largest scale of a matrix, at least 1 ({_by_form('upper_bound')}; branches and signal with Adam: rises "
        f"from eta {_SIGNAL.rise_from:g}, to twice the value at {1.5 * _SIGNAL.rise_from:g})"
    )
    gradinit_embedding_upper_bound: Optional[float] = option(
        "largest scale of an embedding, if lower than that of a matrix; at least --gradinit-lower-bound. Below 1, an "
        "embedding starts there (default: that of a matrix; branches with Adam and no --initializer: where its root "
        f"mean square is {FORMS['branches'].embedding_steps:g} steps of eta, but at least --gradinit-lower-bound)"
    )
    gradinit_vector_lower_bound: Optional[float] = option(
        f"smallest scale of a vector (LayerNorm weight or bias), in (0, 1] ({_by_form('vector_lower_bound')})"
    )
    gradinit_vector_upper_bound: Optional[float] = option(
        f"largest scale of a vector (LayerNorm weight or bias), at least 1 ({_by_form('vector_upper_bound')})"
    )
    gradinit_hvp: Product = option(
        "Hessian-vector product of the constraint: finite (differences of gradients: less memory, full precision "
        "only), exact (double backward) or auto (the faster one: exact in bfloat16, finite otherwise)",
        default=Product(GradInitConfig.hvp),
    )
    gradinit_precision: Precision = option(
        "precision of GradInit's losses: full, bfloat16 (autocast) or auto (bfloat16 where the device computes it "
        "natively, except with --precision float32). Parameters, gradients and scales always have full precision",
        default=Precision.auto,
    )
    gradinit_from: Optional[str] = option(
        "take the scales of this record (a save dir or its gradinit.safetensors) instead of learning them; names and "
        "shapes must match this model"
    )
    gradinit_max_tokens: Optional[int] = option(
        "tokens per batch of GradInit, and of an initializer that reads batches, on each GPU; at least 1 (default: "
        "--max-tokens)"
    )
    gradinit_update_freq: int = option("batches accumulated for each update of the scales, at least 1", default=1)
    gradinit_hold_softmax: bool = option(
        "keep the output projection unchanged in the look-ahead step, as the reference code does", default=False
    )
    watch_updates: int = option(
        "watch over training: stop a run that for this many updates has learned only word frequencies (its loss stays "
        "at their level, its layers' states are alike, no output depends on the source); at least 1, or 0 for no "
        "watch. A watched run also stops when its loss is not finite. The source gain, the signal of the layers and "
        "the gradient norm of each stack are logged at every --log-interval. Updates in which the learning rate rises "
        "do not count",
        default=0,
    )
    watch_language_model_updates: int = option(
        "with --watch-updates: stop a run that for this many updates has been only a language model (its loss is "
        "lower, but no output depends on the source); at least 1, or 0 for never",
        default=2000,
    )

    # Options of other components that GradInit, the watch or a refusal needs to know.
    seed: int = II("common.seed")
    log_interval: int = II("common.log_interval")
    valid_subset: str = II("dataset.valid_subset")
    lr: List[float] = II("optimization.lr")
    max_tokens: Optional[int] = II("dataset.max_tokens")
    batch_size: Optional[int] = II("dataset.batch_size")
    fp16: bool = II("common.fp16")
    bf16: bool = II("common.bf16")
    amp: bool = II("common.amp")
    memory_efficient_fp16: bool = II("common.memory_efficient_fp16")
    fp16_no_flatten_grads: bool = II("common.fp16_no_flatten_grads")
    cpu: bool = II("common.cpu")
    tpu: bool = II("common.tpu")
    model_parallel_size: int = II("common.model_parallel_size")
    use_bmuf: bool = II("optimization.use_bmuf")
    save_dir: str = II("checkpoint.save_dir")
    restore_file: str = II("checkpoint.restore_file")
    checkpoint_suffix: str = II("checkpoint.checkpoint_suffix")
    finetune_from_model: Optional[str] = II("checkpoint.finetune_from_model")
    continue_once: Optional[str] = II("checkpoint.continue_once")
    ddp_backend: str = II("distributed_training.ddp_backend")
    pipeline_model_parallel: bool = II("distributed_training.pipeline_model_parallel")
    distributed_world_size: int = II("distributed_training.distributed_world_size")


def first_steps_of(optimizer: FairseqOptimizer) -> dict[str, Any]:
    """The settings ``step`` and ``step_*`` of ``GradInitConfig`` as training's optimizer has them."""
    inner = type(optimizer.optimizer)
    step = _STEP_OF.get(inner.__name__, inner.__name__)
    settings = step_settings(optimizer.optimizer, step)
    if step == "adam":
        # fairseq's own Adam and Apex's older one; those of PyTorch and newer Apex correct the bias first
        settings["step_eps_first"] = inner.__module__.startswith("fairseq.") and inner.__name__ != "FusedAdamV2"
        settings["step_from_gradient"] = inner is GIAdam
    return settings


def core_config(
    cfg: GradInitTranslationConfig,
    steps: dict[str, Any],
    device: torch.device,
    gradient_tokens: float = 1.0,
    embedding_rms: float = 0.0,
) -> GradInitConfig:
    """The core's settings: what the options leave open follows the form, the optimizer, the device and the model.

    See ``settings_for`` for ``gradient_tokens`` and ``embedding_rms``.

    Raises:
        GradInitError: an option is out of its range, or the optimizer's first step is not known.
    """
    step = steps["step"] if cfg.gradinit_step == "auto" else str(cfg.gradinit_step)
    if step not in ("adam", "sgd"):
        raise GradInitError(
            f"GradInit knows the first steps of adam, gi_adam, sgd and nag, not those of {step}: give --gradinit-step "
            "adam or sgd"
        )
    for name in ("update-freq", "max-tokens"):
        count = getattr(cfg, f"gradinit_{name.replace('-', '_')}")
        if count is not None and count < 1:
            raise GradInitError(f"--gradinit-{name} is {count}, expected at least 1")
    ratio, lr = cfg.gradinit_eta_ratio, cfg.lr[0]
    if ratio is not None and not 0 < ratio < math.inf:
        raise GradInitError(f"--gradinit-eta-ratio is {ratio}, expected a finite number above 0")
    if cfg.gradinit_eta is None and not 0 < lr < math.inf:
        raise GradInitError(f"--lr is {lr}, expected a finite number above 0: change it, or give --gradinit-eta")
    precision = str(cfg.gradinit_precision)
    if precision == "auto":
        wanted = cfg.precision != "float32" and cfg.gradinit_hvp != "finite"
        native = wanted and has_native_bfloat16(device)
        precision = "bfloat16" if native else "full"
    given = {name: getattr(cfg, f"gradinit_{name}") for name in _CORE_SETTINGS}
    given |= {"step": step, "betas": (cfg.gradinit_beta1, cfg.gradinit_beta2), "precision": precision}
    given |= {"update": cfg.gradinit_update and str(cfg.gradinit_update), "hvp": str(cfg.gradinit_hvp)}
    try:
        return settings_for(steps, lr, str(cfg.gradinit_form), ratio, gradient_tokens, embedding_rms, **given)
    except ValueError as error:
        raise GradInitError(str(error)) from error
