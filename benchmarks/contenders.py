"""The training runs that ``speed.py`` compares: stock, this package, and each of its optimizations alone."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass
from types import ModuleType
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
from fairseq.models import MODEL_DATACLASS_REGISTRY
from measuring import STOCK

import gradinit_mt
from gradinit_mt.criterions import label_smoothed, projected_cross_entropy
from gradinit_mt.models import attention, dropout, encoder_decoder, layers
from gradinit_mt.optim import torch_optimizers
from gradinit_mt.plugin import precision
from gradinit_mt.training.presets import COUNTERPARTS, PRESETS

gradinit_mt.register_with_fairseq()

ADDED, REMOVED, NOT_CAPTURED = "stock + ", "ours - ", ", not captured"


@dataclass(frozen=True)
class Contender:
    """A training run: its choices, as options of fairseq-train after the preset's, and a change of this package."""

    options: list[str]
    change: Callable[[], AbstractContextManager] = nullcontext


@dataclass(frozen=True)
class Optimization:
    """What makes this package faster.

    Attributes:
        code: the modules and functions that it consists of.
        removed: turns it off in this package.
        added: options that turn it on in stock fairseq; None if it does not exist there without others.
    """

    code: Sequence[ModuleType | Callable]
    removed: Contender
    added: list[str] | None = None


@contextmanager
def replaced(replacements: dict[str, Callable], *modules: ModuleType) -> Iterator[None]:
    """Other functions under some names, in the modules that have these names."""
    assert all(any(hasattr(module, name) for module in modules) for name in replacements)
    with ExitStack() as stack:
        for module in modules:
            for name in replacements.keys() & vars(module).keys():
                stack.enter_context(mock.patch.object(module, name, replacements[name]))
        yield


def torch_dropout() -> AbstractContextManager:
    """PyTorch's dropout instead of this package's."""

    def add_dropout(residual: torch.Tensor, x: torch.Tensor, p: float) -> torch.Tensor:
        return residual + F.dropout(x, p)

    return replaced({"dropout": F.dropout, "add_dropout": add_dropout}, attention, layers, encoder_decoder)


def separate_projections() -> AbstractContextManager:
    """One product per projection in attention."""

    def linear(x: torch.Tensor, *parts: torch.nn.Linear, decoding: Any = None) -> torch.Tensor:
        return torch.cat([F.linear(x, part.weight, part.bias) for part in parts], -1)

    return replaced({"linear": linear}, attention)


def fused_attention() -> AbstractContextManager:
    """PyTorch's fused attention, which stock fairseq uses, instead of separate products on a CPU."""

    def attend(q: Any, k: Any, v: Any, bias: Any, scale: float, p: float) -> tuple[torch.Tensor, None]:
        return F.scaled_dot_product_attention(q, k, v, bias, p), None

    return replaced({"_unfused_attention": attend}, attention)


def sizes(preset: str) -> list[str]:
    """The options that give fairseq's own Transformer the sizes of the preset's model."""
    given = PRESETS[preset].options
    defaults = MODEL_DATACLASS_REGISTRY[given["arch"]]()
    found = []
    for name in ("embed-dim", "ffn-embed-dim", "layers", "attention-heads"):
        value = given.get(f"encoder-{name}", getattr(defaults, f"encoder_{name.replace('-', '_')}"))
        found += [f"--encoder-{name}", str(value), f"--decoder-{name}", str(value)]
    return found


def optimizations(preset: str) -> dict[str, Optimization]:
    """All of them by name."""
    ours = ["--no-gradinit", "--precision", "bfloat16"]
    model = [attention, layers, encoder_decoder, dropout]
    loss, update = COUNTERPARTS
    return {
        "dropout": Optimization([dropout], Contender(ours, torch_dropout)),
        "merged projections": Optimization([attention.linear], Contender(ours, separate_projections)),
        "attention as products": Optimization([attention._unfused_attention], Contender(ours, fused_attention)),
        "whole model": Optimization(
            model,
            Contender([*ours, "--arch", "transformer", *sizes(preset)]),
            ["--arch", PRESETS[preset].options["arch"]],
        ),
        "loss with projection": Optimization(
            [label_smoothed, projected_cross_entropy],
            Contender([*ours, "--criterion", COUNTERPARTS[loss]]),
            ["--criterion", loss],
        ),
        "fused optimizer": Optimization(
            [torch_optimizers], Contender([*ours, "--optimizer", COUNTERPARTS[update]]), ["--optimizer", update]
        ),
        "bfloat16": Optimization(
            [precision],
            Contender(["--no-gradinit", "--precision", "float32"]),
            ["--task", "gradinit_translation", *ours],
        ),
    }


def contenders(preset: str, device: torch.device, each: bool, also: list[str]) -> dict[str, Contender]:
    """All of them by name, stock first."""
    stock = ["--task", "translation", "--arch", "transformer", *sizes(preset)]
    stock += ["--criterion", "label_smoothed_cross_entropy", "--optimizer", "adam"]
    found = {STOCK: Contender(stock)}
    if device.type == "cuda":
        found |= {f"stock --{kind}": Contender([*stock, f"--{kind}"]) for kind in ("fp16", "amp")}
    for kind in ("float32", "bfloat16"):
        found[f"ours, {kind}"] = Contender(["--no-gradinit", "--precision", kind])
        if device.type == "cuda":  # where the launcher turns it on
            off = ["--no-gradinit", "--precision", kind, "--capture-steps", "off"]
            found[f"ours, {kind}{NOT_CAPTURED}"] = Contender(off)
    for options in also:
        found[f"ours {options}"] = Contender(["--no-gradinit", "--precision", "bfloat16", *options.split()])
    for name, optimization in optimizations(preset).items() if each else ():
        if optimization.added is not None:
            found[ADDED + name] = Contender([*stock, *optimization.added])
        found[REMOVED + name] = optimization.removed
    return found
