"""GradInit: one scale per block, learned so that the first optimizer step lowers the loss most.

Zhu et al., "GradInit: Learning to Initialize Neural Networks for Stable and Efficient Training", NeurIPS 2021,
algorithm 1. In the paper's letters: theta0 are the initial parameters, m the scales, theta = m * theta0, g the gradient
of the loss on S, eta the size of the look-ahead step, gamma the bound on ``||g||``, tau the learning rate of m.

Beyond the paper, several steps of the real optimizer can be looked ahead, the objective after them can differ from the
loss that they descend, and m can move by gradient descent on its logarithm.
"""

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gradinit_mt.core import hvp
from gradinit_mt.core.batches import shares
from gradinit_mt.core.config import GradInitConfig
from gradinit_mt.core.gradients import Gradients, LossFunction
from gradinit_mt.core.look_ahead import first_steps, holding
from gradinit_mt.core.scaled import ScaledModel
from gradinit_mt.core.state import CONSTRAINT, KINDS, OBJECTIVE, State
from gradinit_mt.core.updates import Scales


class GradInitError(RuntimeError):
    """Learning the scales cannot continue; the model holds theta0 again."""


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
            ``state``, the pairs that follow its last iteration. If several steps are looked ahead, each takes the
            next, equal share of the parts of S.
        config: the settings.
        ahead_loss_fn: the objective on S~ after the look-ahead; None for the loss itself.
        all_reduce: sums a tensor over data-parallel ranks in place. Every rank calls with its own share of each batch
            and learns the same scales.
        held: (module, attribute) uses of a tensor that keep their old value in the look-ahead step, as the
            reference code keeps the softmax tied to an embedding.
        state: the state of an interrupted run. It is kept up to date, even if anything is raised, so that learning
            resumes with pair number ``state.iteration``, counted from 0.
        on_iteration: called with the state after each iteration, as soon as its outcome has been read from the
            device, when the next iteration is already under way. Not called once anything is raised, so that a
            callback may communicate with the other ranks.

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
    learner = _Learner(scaled, gradients, loss_fn, ahead_loss_fn or loss_fn, config, held, state, on_iteration)
    with learner.restoring():
        pairs = iter(batches)
        for done in range(state.iteration, config.iterations):
            pair = next(pairs, None)
            if pair is None:
                raise GradInitError(f"the batches ended after iteration {done} of {config.iterations}; pass more")
            learner.iterate(*pair)
        learner.settle()
        learner.report()
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
    on_iteration: Callable[[State], None] | None

    def __post_init__(self) -> None:
        self.parameters = self.scaled.parameters
        self.scales = Scales(self.config, self.scaled.blocks, self.state)
        # The history entry of the last iteration, and what is still on the device, [2 + 5 * blocks]: the objective
        # ahead, a sum that is finite if all derivatives are, m, moments.
        self.unread: tuple[dict, Tensor] | None = None
        self.reported = self.state.iteration
        self.last_read_at = time.perf_counter()

    @contextmanager
    def restoring(self) -> Iterator[None]:
        """As ``ScaledModel.restoring``; if anything is raised, theta0 is restored once the state is up to date.

        ``on_iteration`` is not called then: the error may be this rank's alone.
        """
        with self.scaled.restoring():
            try:
                yield
            except BaseException:
                with suppress(Exception):  # the first error is the one to report
                    self.settle()
                raise

    def iterate(self, s: Sequence[Any], s_tilde: Sequence[Any]) -> None:
        """One iteration: a constraint step if ``||g|| > gamma``, else an objective step (algorithm 1).

        If several steps are looked ahead, g is the gradient on the first one's share of S. The host waits for the
        device once, to choose the kind of step.
        """
        first, *later = shares(s, s_tilde, self.config.look_ahead)
        self.scaled.load(self.scales.m)
        g, loss = self.gradients.of(self.loss_fn, first)
        norm = hvp.norm(g, 1 if self.config.step == "adam" else 2)
        (loss_value, norm_value), outcome = self._read(torch.stack([loss, norm]).double())
        self._record(outcome)
        self.report()
        self._require_finite(norm_value, loss=loss_value, norm=norm_value)
        if norm_value > self.config.gamma:
            kind, ahead, h = CONSTRAINT, loss, self._constraint(g, norm, first)
        else:
            kind = OBJECTIVE
            h, ahead = self._objective(g, later, s_tilde)
        # the state is up to date: the outcome has just been recorded
        self.scales.update(h.double(), kind, norm.double(), self.state.steps[KINDS.index(kind)])
        results = [ahead.double()[None], h.sum()[None], self.scales.m, self.scales.moments.flatten()]
        self.unread = {"loss": loss_value, "norm": norm_value, "kind": kind, "ahead": None}, torch.cat(results)

    def settle(self) -> None:
        """Adds the last iteration to the state, if it is not there yet."""
        self._record(self._read(self.scales.m[:0])[1])

    def report(self) -> None:
        """Calls ``on_iteration`` if an iteration has been added to the state since the last call."""
        if self.on_iteration is not None and self.reported < self.state.iteration:
            self.reported = self.state.iteration
            self.on_iteration(self.state)

    def _read(self, values: Tensor) -> tuple[list[float], tuple[dict, Tensor] | None]:
        """The values, float64, and in the same transfer what is unread, whose results are then on the host."""
        unread, self.unread = self.unread, None
        if unread is None:
            return values.cpu().tolist(), None
        entry, results = unread
        everything = torch.cat([values, results]).cpu()
        return everything[: len(values)].tolist(), (entry, everything[len(values) :])

    def _record(self, outcome: tuple[dict, Tensor] | None) -> None:
        """Adds an iteration, whose results are on the host, to the state; nothing for None."""
        if outcome is None:
            return
        entry, results = outcome
        n, state = len(self.scaled.blocks), self.state
        (ahead, derivatives), (m, moments) = results[:2].tolist(), results[2:].split([n, 4 * n])
        self._require_finite(entry["norm"], look_ahead_loss=ahead, derivative_of_a_scale=derivatives)
        if entry["kind"] == OBJECTIVE:
            entry["ahead"] = ahead
        state.scales, state.moments = m.clone(), moments.view_as(state.moments).clone()
        state.steps[KINDS.index(entry["kind"])] += 1
        state.history.append(entry)
        state.trajectory.append(state.scales)
        before, self.last_read_at = self.last_read_at, time.perf_counter()
        state.seconds += self.last_read_at - before

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
        for name, value in values.items():
            if not math.isfinite(value):
                raise GradInitError(
                    f"iteration {self.state.iteration + 1}: the {name.replace('_', ' ')} is {value} (gradient norm "
                    f"{gradient_norm:g}), expected a finite number; the model holds its initial parameters again. "
                    f"{advice}"
                )
