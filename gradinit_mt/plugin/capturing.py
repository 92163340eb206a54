"""Training steps captured once per shape of batch and then replayed, so that a GPU does not wait for Python.

A captured step (a CUDA graph) launches the kernels of loss and gradient at once, on tensors that stay where they are.
Batches are padded to a few shapes. The first batch of a shape is computed in the usual way, the second is captured.
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from fairseq.criterions import FairseqCriterion
from fairseq.models import BaseFairseqModel
from fairseq.optim import FairseqOptimizer
from torch import Tensor, nn

from gradinit_mt.core import GradInitError
from gradinit_mt.criterions.label_smoothed import ProjectedLabelSmoothedCrossEntropy
from gradinit_mt.models.post_ln_transformer import PostLNTransformer
from gradinit_mt.models.wrappers import unwrapped
from gradinit_mt.plugin.fixed_shapes import FixedBatch, Shape, fixed_shape
from gradinit_mt.plugin.options import GradInitTranslationConfig

logger = logging.getLogger(__name__)


def require_capturable(
    cfg: GradInitTranslationConfig, model: nn.Module | None = None, criterion: FairseqCriterion | None = None
) -> None:
    """Raises GradInitError if an option, or a given model or criterion, rules out ``--capture-steps on``."""
    if cfg.capture_steps != "on":
        return
    reason = _reason_in_options(cfg) or (_reason_in(unwrapped(model), criterion) if model is not None else None)
    if reason:
        raise GradInitError(f"--capture-steps on {reason}")


def captured_steps(
    cfg: GradInitTranslationConfig, model: BaseFairseqModel, criterion: FairseqCriterion
) -> "CapturedSteps | None":
    """The steps that ``--capture-steps`` asks for; None where they are impossible or not asked for.

    With ``on``, a CPU computes them at the same shapes, without capturing.
    """
    if cfg.capture_steps == "off":
        return None
    model = unwrapped(model)
    reason = _reason_in_options(cfg) or _reason_in(model, criterion)
    if reason or (cfg.capture_steps == "auto" and next(model.parameters()).device.type != "cuda"):
        return None
    return CapturedSteps(model, criterion, cfg.left_pad_source)


def _reason_in_options(cfg: GradInitTranslationConfig) -> str | None:
    modes = [f"--{name}" for name in ("fp16", "bf16", "amp") if getattr(cfg, name)]
    if modes:
        return f"does not work with {modes[0]}: use --precision bfloat16 instead"
    if cfg.left_pad_target:
        return "needs targets padded on the right: drop --left-pad-target"
    if cfg.distributed_world_size > 1:
        return f"is for a single process, not for {cfg.distributed_world_size}: use auto or off"
    return None


def _reason_in(model: BaseFairseqModel, criterion: FairseqCriterion) -> str | None:
    if not isinstance(model, PostLNTransformer):
        return f"is for post_ln_transformer models, not {type(model).__name__}"
    if not isinstance(criterion, ProjectedLabelSmoothedCrossEntropy) or criterion.report_accuracy:
        needed = "projected_label_smoothed_cross_entropy without --report-accuracy"
        return f"needs --criterion {needed}, not {type(criterion).__name__}"
    return None


def is_inspected(model: nn.Module) -> bool:
    """Whether the model's forward pass has hooks, such as those of fairseq's search for a nan, that must be called."""
    return bool(unwrapped(model)._forward_hooks)


class CapturedSteps:
    """Loss and gradient of training batches."""

    def __init__(self, model: PostLNTransformer, criterion: FairseqCriterion, left_pad_source: bool) -> None:
        self._gradients = {p: torch.zeros_like(p) for p in model.parameters() if p.requires_grad}
        self._device = next(model.parameters()).device
        self._pool = torch.cuda.graph_pool_handle() if self._device.type == "cuda" else None
        if self._pool is not None:
            logger.info("training steps are captured, once for each shape of batch")
        self._sentence_avg = criterion.sentence_avg
        self._padding, self._end = criterion.padding_idx, model.encoder.dictionary.eos()
        self._left_pad_source = left_pad_source
        self._steps: dict[Shape, _Step] = {}

    def step(
        self, sample: dict, model: nn.Module, losses: Callable[[nn.Module, dict], tuple], optimizer: FairseqOptimizer
    ) -> tuple:
        """Adds the gradient of a batch to ``.grad``; returns what fairseq's ``train_step`` does.

        Args:
            sample: as fairseq's translation datasets collate it, on the model's device.
            model: in training mode.
            losses: the criterion.
            optimizer: computes the derivatives.
        """
        self._place_gradients()
        shape = fixed_shape(sample)
        if shape not in self._steps:
            self._steps[shape] = self._new_step(shape, model, losses, optimizer)
        step = self._steps[shape]
        step.batch.fill(sample)
        outputs = {name: value.clone() for name, value in step.run(self._pool).items() if isinstance(value, Tensor)}
        sentences, tokens = len(sample["target"]), sample["ntokens"]
        size = sentences if self._sentence_avg else tokens
        counts = {"ntokens": tokens, "nsentences": sentences, "sample_size": size}
        return outputs["loss"], size, outputs | counts

    def _new_step(self, shape: Shape, model: nn.Module, losses: Callable, optimizer: FairseqOptimizer) -> "_Step":
        batch = FixedBatch(shape, self._padding, self._end, self._left_pad_source, self._device)

        def work() -> dict[str, Any]:
            loss, _, outputs = losses(model, batch.sample)
            optimizer.backward(loss)
            return outputs

        return _Step(batch, work)

    def _place_gradients(self) -> None:
        """Starts a new sum where fairseq has removed the last one."""
        new = {p: gradient for p, gradient in self._gradients.items() if p.grad is None}
        if new:
            torch._foreach_zero_(list(new.values()))
        for p, gradient in new.items():
            p.grad = gradient


@dataclass
class _Step:
    """Loss and gradient at one shape."""

    batch: FixedBatch
    work: Callable[[], dict[str, Any]]
    calls: int = 0

    def run(self, pool: Any) -> dict[str, Any]:
        """The criterion's logging outputs for what the batch holds; valid until another step runs.

        Args:
            pool: memory that the captured steps share; None where nothing is captured.
        """
        self.calls += 1
        if self.calls == 2 and pool is not None:
            self.work = _captured(self.work, pool)
        return self.work()


def _captured(work: Callable[[], dict[str, Any]], pool: Any) -> Callable[[], dict[str, Any]]:
    graph = torch.cuda.CUDAGraph()
    # other threads may allocate memory meanwhile: one puts the next batches into pinned memory
    with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
        outputs = work()

    def replay() -> dict[str, Any]:
        graph.replay()
        return outputs

    return replay
