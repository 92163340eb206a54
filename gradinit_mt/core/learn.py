"""GradInit: one scale per block, learned so that the first optimizer step lowers the loss most.

Zhu et al., "GradInit: Learning to Initialize Neural Networks for Stable and Efficient Training", NeurIPS 2021,
algorithm 1. In the paper's letters: theta0 are the initial parameters, m the scales, theta = m * theta0, g the gradient
of the loss on S, eta the size of the look-ahead step, gamma the bound on ``||g||``, tau the learning rate of m.

Beyond the paper, the look-ahead can take several steps of the real optimizer, the objective after them can differ from
the loss that they descend, and m can move by gradient descent on its logarithm.
"""

import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gradinit_mt.core import hvp
from gradinit_mt.core.batches import parts_by_step
from gradinit_mt.core.config import GradInitConfig
from gradinit_mt.core.gradients import Gradients, LossFunction
from gradinit_mt.core.look_ahead import first_steps, holding
from gradinit_mt.core.scaled import ScaledModel
from gradinit_mt.core.state import CONSTRAINT, KINDS, OBJECTIVE, State
from gradinit_mt.core.updates import Scales


class GradInitError(RuntimeError):
    """What was asked of GradInit, or of the plugin, cannot be done. After ``learn_scales`` the model holds theta0.

    It is a RuntimeError because of fairseq, which saves a checkpoint before it passes on any other error in an update.
    """


def learn_scales(
    model: nn.Module,
    loss_fn: LossFunction,
    batches: Iterable[tuple[Sequence[Any], Sequence[Any]]],
    config: GradInitConfig,
    *,
    ahead_loss_fn: LossFunction | None = None,
    all_reduce: Callable[[Tensor], Any] | None = None,
    held: Sequence[tuple[nn.Module, str]] = (),
    state: State | None = None,
    on_iteration: Callable[[State], None] | None = None,
) -> State:
    """Learns the scales of ``model`` in place.

    Dropout must be off. The caller sets the model's mode: ``model.eval()`` for a Transformer, training mode with
    dropout of 0 for a model with batch statistics. ``.grad`` of the parameters is neither read nor written. Buffers
    such as running statistics, and the random generators of CPU and device, are restored.

    Args:
        model: holds theta0, on one device. Afterwards it holds m * theta0, or theta0 again if anything is raised.
        loss_fn: ``(model, part) -> (summed loss, size)``. The loss of the paper is the sum over all parts and ranks
            divided by the summed sizes (tokens, images).
        batches: one pair (S, S~) per iteration, each a sequence of parts whose gradients are accumulated. With
            ``state``, the pairs that follow its last iteration. If the look-ahead has several steps, each takes the
            next, equal share of the parts of S.
        config: the settings.
        ahead_loss_fn: the objective on S~ after the look-ahead; None for the loss itself.
        all_reduce: sums a tensor over data-parallel ranks in place. Every rank calls with its own share of each batch
            and learns the same scales.
        held: (module, attribute) uses of a tensor that keep their old value in the look-ahead step, as the
            reference code keeps the softmax tied to an embedding.
        state: the state of an interrupted run. It is kept up to date, even if anything is raised, so that learning
            resumes with pair number ``state.iteration``, counted from 0.
        on_iteration: called with the state after each iteration. It may communicate with the other ranks.

    Returns:
        ``state``, or a new one.

    Raises:
        GradInitError: a loss, a gradient norm or the derivative of a scale is not finite, or the batches end early.
        ValueError: a trainable parameter is in half precision, ``state`` has another number of blocks, S or S~
            has no part, the parts of S cannot be divided among the look-ahead steps, or a held tensor is not
            trainable.
    """
    scaled = ScaledModel(model)
    gradients = Gradients(model, scaled.parameters, config.precision, all_reduce)
    for module, name in held:
        if id(getattr(module, name)) not in gradients.places:
            raise ValueError(
                f"held: {type(module).__name__}.{name} is not a trainable tensor of the model; leave it out"
            )
    blocks = len(scaled.blocks)
    state = State.fresh(blocks) if state is None else state
    if len(state.scales) != blocks:
        raise ValueError(f"the state has {len(state.scales)} scales, expected {blocks}: pass the state of this model")
    learner = _Learner(scaled, gradients, loss_fn, ahead_loss_fn or loss_fn, config, held, state)
    with scaled.restoring():
        pairs = iter(batches)
        for done in range(state.iteration, config.iterations):
            pair = next(pairs, None)
            if pair is None:
                raise GradInitError(
                    f"the batches ended after iteration {done} of {config.iterations}; pass more, or a list, which is "
                    "used again from the start"
                )
            learner.iterate(*pair)
            if on_iteration is not None:
                on_iteration(state)
        scaled.load(learner.scales.m)
    return state


@dataclass
class _Learner:
    scaled: ScaledModel
    gradients: Gradients
    loss_fn: LossFunction
    ahead_loss_fn: LossFunction
    config: GradInitConfig
    held: Sequence[tuple[nn.Module, str]]
    state: State

    def __post_init__(self) -> None:
        self.parameters = self.scaled.parameters
        self.scales = Scales(self.config, self.scaled.blocks, self.state)
        self.recorded_at = time.perf_counter()

    def iterate(self, s: Sequence[Any], s_tilde: Sequence[Any]) -> None:
        """One iteration: a constraint step if ``||g|| > gamma``, else an objective step (algorithm 1).

        If the look-ahead has several steps, g is the gradient on the first one's share of S.
        """
        first, *later = parts_by_step(s, s_tilde, self.config.look_ahead)
        self.scaled.load(self.scales.m)
        g, loss = self.gradients.of(self.loss_fn, first)
        norm = hvp.norm(g, 1 if self.config.step == "adam" else 2)
        loss_value, norm_value = torch.stack([loss, norm]).tolist()
        self._require_finite(norm_value, loss=loss_value, norm=norm_value)
        if norm_value > self.config.gamma:
            kind, ahead, h = CONSTRAINT, loss, self._constraint(g, norm, first)
        else:
            kind = OBJECTIVE
            h, ahead = self._objective(g, later, s_tilde)
        ahead_value, derivatives = torch.stack([ahead, h.sum()]).tolist()  # the sum is finite if all of them are
        self._require_finite(norm_value, look_ahead_loss=ahead_value, derivative_of_a_scale=derivatives)
        self.scales.update(h.double(), kind, norm.double(), self.state.steps[KINDS.index(kind)])
        self._record(kind, loss_value, norm_value, ahead_value if kind == OBJECTIVE else None)

    def _record(self, kind: str, loss: float, norm: float, ahead: float | None) -> None:
        """Adds the iteration just done to the state."""
        state = self.state
        state.scales = self.scales.m.to("cpu", copy=True)
        state.moments = self.scales.moments.to("cpu", copy=True)
        state.steps[KINDS.index(kind)] += 1
        state.history.append({"loss": loss, "norm": norm, "kind": kind, "ahead": ahead})
        state.trajectory.append(state.scales)
        before, self.recorded_at = self.recorded_at, time.perf_counter()
        state.seconds += self.recorded_at - before

    def _objective(
        self, g: list[Tensor], later: Sequence[Sequence[Any]], s_tilde: Sequence[Any]
    ) -> tuple[Tensor, Tensor]:
        """h_i = < theta0_i , dL(S~; theta')/dtheta_i > at theta', after the look-ahead steps, held constant.

        Args:
            g: gradient of the first step; overwritten and emptied.
            later: the parts of the other steps.
            s_tilde: S~.

        Returns:
            h, [blocks], and the loss (``ahead_loss_fn``) on S~ at theta'.
        """
        with holding(self.held) as kept:
            direction = first_steps(self.config)
            self._step(direction(g))
            g.clear()  # frees a tensor per parameter before the next gradient is computed
            for parts in later:
                self._step(direction(self.gradients.of(self.loss_fn, parts, kept)[0]))
            del direction  # frees the optimizer's moments before the last gradient is computed
            ahead, loss = self.gradients.of(self.ahead_loss_fn, s_tilde, kept)
        return self.scaled.derivatives_by_scale(ahead), loss

    @torch.no_grad()
    def _step(self, direction: list[Tensor]) -> None:
        torch._foreach_add_(self.parameters, direction, alpha=-self.config.eta)

    def _constraint(self, g: list[Tensor], norm: Tensor, first: Sequence[Any]) -> Tensor:
        """h_i = d||g||/dm_i = < theta0_i , (H v)_i > with v = sign(g), or g / ||g|| for SGD: [blocks]."""
        if self.config.step == "adam":
            torch._foreach_sign_(g)
        else:
            torch._foreach_div_(g, norm)
        if self.config.route == "exact":
            return self.scaled.derivatives_by_scale(self.gradients.times_hessian(self.loss_fn, first, g))
        return self.scaled.derivatives_by_scale(
            hvp.finite_difference(self.parameters, g, lambda: self.gradients.of(self.loss_fn, first)[0])
        )

    def _require_finite(self, gradient_norm: float, **values: float) -> None:
        advice = f"Use a smaller tau (now {self.config.tau:g}) or eta (now {self.config.eta:g})"
        if not self.state.iteration:
            advice = f"No scale has moved yet: check the loss, the initial parameters and eta (now {self.config.eta:g})"
        if self.config.look_ahead > 1 and not math.isfinite(values.get("loss", 0.0)):
            advice += (
                ". A step of the look-ahead may see a single example of a batch: if a mean over it can be one over no "
                "target, use larger batches, or return the summed loss and the number of targets"
            )
        for name, value in values.items():
            if not math.isfinite(value):
                raise GradInitError(
                    f"iteration {self.state.iteration + 1}: the {name.replace('_', ' ')} is {value} (gradient norm "
                    f"{gradient_norm:g}), expected a finite number; the model holds its initial parameters again. "
                    f"{advice}"
                )
