"""The task's options, and what they and the optimizer make of GradInit's settings."""

import math
from dataclasses import dataclass, field
from typing import Any, List, Optional

import torch
from fairseq.dataclass import ChoiceEnum
from fairseq.optim import FairseqOptimizer
from fairseq.tasks.translation import TranslationConfig
from omegaconf import II

from gradinit_mt.core import GradInitConfig, GradInitError
from gradinit_mt.core.forms import FORMS, TAU, settings_for
from gradinit_mt.core.look_ahead import step_settings
from gradinit_mt.plugin.half_precision import has_native_bfloat16

# Settings of the core that options of the same name give, or leave to the form.
_CORE_SETTINGS = (
    *("eta", "gamma", "look_ahead", "signal_weight", "iterations", "tau"),
    *("lower_bound", "upper_bound", "vector_lower_bound", "vector_upper_bound"),
)

# The first step of each optimizer class that fairseq's registry holds under adam, sgd and nag.
STEP_OF = {"Adam": "adam", "AdamW": "adam", "FusedAdamV1": "adam", "FusedAdamV2": "adam", "SGD": "sgd", "NAG": "sgd"}


def by_form(name: str) -> str:
    """The end of a help text: the default of a setting in each form."""
    return "default by form: " + ", ".join(f"{form} {getattr(FORMS[form], name):g}" for form in FORMS)


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
            "help": "optimizer to look ahead: adam (first step along the sign, L1 norm), sgd (L2 norm), auto: as "
            "training; nag as sgd, though its first step is 1 + momentum times as long. Weight decay and clipping are "
            "left out"
        },
    )
    gradinit_look_ahead: Optional[int] = field(
        default=None,
        metadata={
            "help": "optimizer steps looked ahead, at least 1; of several, each sees an equal share of the batch "
            f"({by_form('look_ahead')}; signal under Adam {FORMS['signal'].reach:g}/eta where that is less)"
        },
    )
    gradinit_eta_ratio: Optional[float] = field(
        default=None,
        metadata={
            "help": f"eta, the size of a look-ahead step, as a multiple of --lr; above 0 ({by_form('eta_ratio')})"
        },
    )
    gradinit_eta: Optional[float] = field(
        default=None,
        metadata={
            "help": "eta itself, for gradients per token; above 0 (default: --gradinit-eta-ratio times --lr, and under "
            "sgd with --sentence-avg times the mean target length)"
        },
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
            f"least 0 ({by_form('signal_weight')}; signal under Adam "
            f"{FORMS['signal'].signal_weight_per_eta:g} times eta where that is less)"
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
        default=None,
        metadata={
            "help": "learning rate of the scales, above 0 (default by --gradinit-update: "
            + ", ".join(f"{update} {tau:g}" for update, tau in TAU.items())
            + ")"
        },
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
        default=None,
        metadata={
            "help": f"largest scale of a matrix, at least 1 ({by_form('upper_bound')}; signal under Adam rising above "
            f"eta {FORMS['signal'].rise_from:g}, to twice that at {1.5 * FORMS['signal'].rise_from:g})"
        },
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


def first_steps_of(optimizer: FairseqOptimizer) -> dict[str, Any]:
    """The settings ``step`` and ``step_*`` of ``GradInitConfig`` as training's optimizer has them."""
    inner = type(optimizer.optimizer)
    step = STEP_OF.get(inner.__name__)
    settings = step_settings(optimizer.optimizer, step)
    if step == "adam":
        # fairseq's own Adam and Apex's older one; PyTorch's and Apex's newer one correct the bias first
        settings["step_eps_first"] = inner.__module__.startswith("fairseq.") and inner.__name__ != "FusedAdamV2"
    return settings


def core_config(
    cfg: GradInitTranslationConfig, steps: dict[str, Any], device: torch.device, gradient_tokens: float = 1.0
) -> GradInitConfig:
    """The task's options in the core's form: what is not given follows the form, the optimizer and the device.

    Raises:
        GradInitError: an option is out of its range, or the optimizer's first step is not known.
    """
    step = steps["step"] if cfg.gradinit_step == "auto" else str(cfg.gradinit_step)
    if step is None:
        raise GradInitError("GradInit knows the first step of adam, sgd and nag: give --gradinit-step adam or sgd")
    if cfg.gradinit_update_freq < 1:
        raise GradInitError(f"--gradinit-update-freq is {cfg.gradinit_update_freq}, expected at least 1")
    if cfg.gradinit_max_tokens is not None and cfg.gradinit_max_tokens < 1:
        raise GradInitError(f"--gradinit-max-tokens is {cfg.gradinit_max_tokens}, expected at least 1")
    ratio = cfg.gradinit_eta_ratio
    if ratio is not None and not (math.isfinite(ratio) and ratio > 0):
        raise GradInitError(f"--gradinit-eta-ratio is {ratio}, expected a finite number above 0")
    precision = str(cfg.gradinit_precision)
    if precision == "auto":
        native = cfg.gradinit_hvp != "finite" and has_native_bfloat16(device)
        precision = "bfloat16" if native else "full"
    if cfg.gradinit_eta is None and not (math.isfinite(cfg.lr[0]) and cfg.lr[0] > 0):
        raise GradInitError(f"--lr is {cfg.lr[0]}: give --gradinit-eta, or an --lr above 0")
    given = {name: getattr(cfg, f"gradinit_{name}") for name in _CORE_SETTINGS}
    try:
        return settings_for(
            steps,
            cfg.lr[0],
            str(cfg.gradinit_form),
            ratio,
            gradient_tokens,
            **given | {"update": None if cfg.gradinit_update is None else str(cfg.gradinit_update)},
            step=step,
            betas=(cfg.gradinit_beta1, cfg.gradinit_beta2),
            hvp=str(cfg.gradinit_hvp),
            precision=precision,
        )
    except ValueError as error:
        raise GradInitError(str(error)) from error
