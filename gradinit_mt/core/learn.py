"""GradInit: one scale per block, learned so that the first optimizer step lowers the loss most.

Zhu et al., "GradInit: Learning to Initialize Neural Networks for Stable and Efficient Training", NeurIPS 2021,
algorithm 1. In the paper's letters: theta0 are the initial parameters, m the scales, theta = m * theta0, g the gradient
of the loss on S, eta the size of the step looked ahead, gamma the bound on ``||g||``, tau the learning rate of m.

Beyond the paper: several steps of the real optimizer can be looked ahead, what is to be low after them can be another
loss than the one they go down, and m can move by gradient descent on its logarithm.
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
from gradinit_mt.core.blocks import Block, find_blocks, scale_blocks
from gradinit_mt.core.config import GradInitConfig
from gradinit_mt.core.gradients import Gradients, Kept, LossFunction
from gradinit_mt.core.look_ahead import AdamSteps, MomentumSteps, holding
from gradinit_mt.core.state import CONSTRAINT, KINDS, OBJECTIVE, Report, State
from gradinit_mt.core.updates import Scales


class GradInitError(RuntimeError):
    """Learning the scales cannot go on; the model holds theta0 again."""


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
) -> Report:
    """Learns the scales of ``model`` in place.

    Dropout must be off; the caller sets the model's mode (``model.eval()`` for a Transformer, training mode with
    dropout of 0 where there are batch statistics). ``.grad`` of the parameters is neither read nor written. Buffers
    such as running statistics get their first values back, and so do the random generators of CPU and device.

    Args:
        model: holds theta0; left with m * theta0, or with theta0 again if anything is raised. On one device.
        loss_fn: ``(model, part) -> (summed loss, size)``; the loss of the paper is the sum over all parts and ranks
            divided by the summed sizes (tokens, images).
        batches: one pair (S, S~) per iteration, each a sequence of parts whose gradients are accumulated; with
            ``state``, the pairs that follow its last iteration. Where several steps are looked ahead, each takes the
            next, equal share of the parts of S.
        config: the settings.
        ahead_loss_fn: what is to be low on S~ after the look-ahead, if not the loss itself.
        all_reduce: sums a tensor over data-parallel ranks in place. Every rank must call with its own share of each
            batch and then learns the same scales.
        held: (module, attribute) uses of a tensor that keep their old value in the look-ahead step, as the
            reference code keeps the softmax tied to an embedding.
        state: where an interrupted run stopped; kept up to date, also when anything is raised, so that the pair to
            go on with is number ``state.iteration``, counted from 0.
        on_iteration: called with the state after each iteration, once its outcome is read from the device: that is
            while the next iteration is under way.

    Raises:
        GradInitError: a loss, a gradient norm or the derivative of a scale is not finite, or the batches end early.
        ValueError: a trainable parameter is in half precision, ``state`` has another number of blocks, S or S~
            has no part, the parts of S cannot be shared out over the steps looked ahead, or a held tensor is not
            trainable.
    """
    learner = _Learner(model, loss_fn, config, ahead_loss_fn or loss_fn, all_reduce, held, state, on_iteration)
    with learner.undisturbed(), learner.restoring():
        pairs = iter(batches)
        for done in range(learner.state.iteration, config.iterations):
            pair = next(pairs, None)
            if pair is None:
                raise GradInitError(f"the batches ended after iteration {done} of {config.iterations}; pass more")
            learner.iterate(*pair)
        learner.settle()
        learner.load_scaled()
    blocks = learner.blocks
    return Report(config, [b.name for b in blocks], [b.learnable for b in blocks], learner.state)


@dataclass(frozen=True)
class _Outcome:
    """An iteration whose last results are still on the device: m and its moments, the derivatives, the loss ahead."""

    kind: str
    loss: float
    norm: float
    results: Tensor  # [2 + 5 * blocks]: loss ahead, a sum that is finite if all derivatives are, m, moments


class _Learner:
    def __init__(
        self,
        model: nn.Module,
        loss_fn: LossFunction,
        config: GradInitConfig,
        ahead_loss_fn: LossFunction,
        all_reduce: Callable[[Tensor], Any] | None,
        held: Sequence[tuple[nn.Module, str]],
        state: State | None,
        on_iteration: Callable[[State], None] | None,
    ) -> None:
        self.loss_fn, self.ahead_loss_fn, self.config = loss_fn, ahead_loss_fn, config
        self.held, self.on_iteration = held, on_iteration
        self.clock = _Clock()
        self.blocks: list[Block] = find_blocks(model)
        self.parameters = [block.parameter for block in self.blocks]
        self.gradients = Gradients(model, self.parameters, config.precision, all_reduce)
        for module, name in held:
            if id(getattr(module, name)) not in self.gradients.places:
                raise ValueError(f"held: {name} of {type(module).__name__} is no trainable tensor of the model")
        self.theta0 = [p.detach().clone() for p in self.parameters]
        self.buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
        self.state = State.fresh(len(self.blocks)) if state is None else state
        if len(self.state.scales) != len(self.blocks):
            raise ValueError(f"the state has {len(self.state.scales)} scales, the model {len(self.blocks)} blocks")
        self.device = self.parameters[0].device
        self.scales = Scales(config, self.parameters, self.state)
        self.unread: _Outcome | None = None

    @contextmanager
    def undisturbed(self) -> Iterator[None]:
        """Without an autocast of the caller's, and with the random stream left where it was.

        Derivatives would be computed under that autocast too; a model with LayerDrop draws even in evaluation mode.
        """
        devices = [self.device] if self.device.type == "cuda" else []
        with torch.autocast(self.device.type, enabled=False), torch.random.fork_rng(devices):
            yield

    @contextmanager
    def restoring(self) -> Iterator[None]:
        """Puts theta0 back if anything is raised, once the last iteration is in the state; buffers in every case."""
        try:
            yield
        except BaseException:
            try:
                with suppress(Exception):  # the first error is the one to tell
                    self.settle()
            finally:  # an interrupt may come while the last iteration is read
                with torch.no_grad():
                    torch._foreach_copy_(self.parameters, self.theta0)
            raise
        finally:
            with torch.no_grad():
                for buffer, value in self.buffers:
                    buffer.copy_(value)

    @torch.no_grad()
    def load_scaled(self) -> None:
        """theta = m * theta0, exactly: a scale of 1 gives theta0 bit for bit."""
        torch._foreach_copy_(self.parameters, self.theta0)
        scale_blocks(self.blocks, self.scales.m)

    def iterate(self, first: Sequence[Any], second: Sequence[Any]) -> None:
        """One iteration: a constraint step if ``||g|| > gamma``, else an objective step (algorithm 1).

        Where several steps are looked ahead, g is the gradient on the first one's share of S.
        The host waits for the device once, to choose the kind of step.
        """
        self.load_scaled()
        first, *later = self._shares(first)
        g, loss = self._gradient(self.loss_fn, first)
        norm = hvp.norm(g, 1 if self.config.step == "adam" else 2)
        loss_value, norm_value = self._read(torch.stack([loss, norm]).double())
        self._require_finite(norm_value, loss=loss_value, norm=norm_value)
        if norm_value > self.config.gamma:
            kind, ahead = CONSTRAINT, loss
            h = self._constraint(g, norm, first)
        else:
            kind = OBJECTIVE
            h, ahead = self._objective(g, later, second)
        # the state is up to date: it has just been read
        self.scales.update(h.double(), kind, norm.double(), self.state.steps[KINDS.index(kind)])
        results = [ahead.double()[None], h.sum()[None], self.scales.m, self.scales.moments.flatten()]
        self.unread = _Outcome(kind, loss_value, norm_value, torch.cat(results))

    def _gradient(self, loss_fn: LossFunction, parts: Sequence[Any], kept: Kept = ()) -> tuple[list[Tensor], Tensor]:
        if not parts:
            iteration = self.state.iteration + 1 + (self.unread is not None)
            raise ValueError(f"iteration {iteration}: S and S~ need at least one part each")
        return self.gradients.of(loss_fn, parts, kept)

    def settle(self) -> None:
        """Reads the outcome of the last iteration, if it is not read yet."""
        outcome, self.unread = self.unread, None
        if outcome is not None:
            self._record(outcome, outcome.results.cpu())

    def _read(self, values: Tensor) -> list[float]:
        """The values, and with them, in the same transfer, the outcome of the iteration before."""
        outcome, self.unread = self.unread, None
        if outcome is None:
            return values.cpu().tolist()
        everything = torch.cat([values, outcome.results]).cpu()
        self._record(outcome, everything[len(values) :])
        return everything[: len(values)].tolist()

    def _record(self, outcome: _Outcome, results: Tensor) -> None:
        """Takes an iteration, whose results are on the host now, into the state."""
        blocks = len(self.blocks)
        (ahead, derivatives), (m, moments) = results[:2].tolist(), results[2:].split([blocks, 4 * blocks])
        self._require_finite(outcome.norm, look_ahead_loss=ahead, derivative_of_a_scale=derivatives)
        state = self.state
        state.scales, state.moments = m.clone(), moments.view_as(state.moments).clone()
        objective = outcome.kind == OBJECTIVE
        state.steps[KINDS.index(outcome.kind)] += 1
        state.history.append(
            {"loss": outcome.loss, "norm": outcome.norm, "kind": outcome.kind, "ahead": ahead if objective else None}
        )
        state.trajectory.append(state.scales)
        state.seconds += self.clock.lap()
        if self.on_iteration is not None:
            self.on_iteration(state)

    def _shares(self, parts: Sequence[Any]) -> list[Sequence[Any]]:
        """The parts of S for each step looked ahead."""
        steps = self.config.look_ahead
        if len(parts) % steps:
            raise ValueError(f"S has {len(parts)} parts, expected a multiple of the {steps} steps looked ahead")
        size = len(parts) // steps
        return [parts[k * size : (k + 1) * size] for k in range(steps)]

    def _objective(
        self, g: list[Tensor], later: Sequence[Sequence[Any]], second: Sequence[Any]
    ) -> tuple[Tensor, Tensor]:
        """h_i = < theta0_i , dL(S~; theta')/dtheta_i > at theta', behind the steps looked ahead, held constant.

        Args:
            g: gradient of the first step; is used up.
            later: the parts of the other steps.
            second: S~.

        Returns:
            h, [blocks], and the loss (``ahead_loss_fn``) on S~ at theta'.
        """
        with holding(self.held) as kept:
            if later:
                self._steps(g, later, kept)
            else:
                if self.config.step == "adam":
                    torch._foreach_sign_(g)
                self._step(g)
                g.clear()  # frees a tensor per parameter before the last gradient is computed
            ahead, loss = self._gradient(self.ahead_loss_fn, second, kept)
        return self._block_products(ahead), loss

    @torch.no_grad()
    def _step(self, direction: list[Tensor]) -> None:
        torch._foreach_add_(self.parameters, direction, alpha=-self.config.eta)

    def _steps(self, g: list[Tensor], later: Sequence[Sequence[Any]], kept: Kept) -> None:
        """Takes the steps of the real optimizer, the first one with gradient g."""
        config = self.config
        if config.step == "adam":
            steps = AdamSteps(config.step_betas, config.step_eps, config.step_eps_first)
        else:
            steps = MomentumSteps(config.step_momentum)
        self._step(steps.direction(g))
        g.clear()  # frees a tensor per parameter before the next gradient is computed
        for parts in later:
            self._step(steps.direction(self._gradient(self.loss_fn, parts, kept)[0]))

    def _constraint(self, g: list[Tensor], norm: Tensor, first: Sequence[Any]) -> Tensor:
        """h_i = d||g||/dm_i = < theta0_i , (H v)_i > with v = sign(g), or g / ||g|| for SGD: [blocks]."""
        if self.config.step == "adam":
            torch._foreach_sign_(g)
        else:
            torch._foreach_div_(g, norm)
        if self.config.route == "exact":
            return self._block_products(self.gradients.times_hessian(self.loss_fn, first, g))
        return self._block_products(
            hvp.finite_difference(self.parameters, g, lambda: self._gradient(self.loss_fn, first)[0])
        )

    def _block_products(self, tensors: Sequence[Tensor]) -> Tensor:
        """< theta0_i , tensor_i > for every block: [blocks]."""
        return torch.stack([torch.dot(a.flatten(), b.flatten()) for a, b in zip(self.theta0, tensors, strict=True)])

    def _require_finite(self, gradient_norm: float, **values: float) -> None:
        for name, value in values.items():
            if not math.isfinite(value):
                raise GradInitError(
                    f"iteration {self.state.iteration + 1}: the {name.replace('_', ' ')} is {value} (gradient norm "
                    f"{gradient_norm:g}); the model holds its first parameters again. Use a smaller tau (now "
                    f"{self.config.tau:g}) or eta (now {self.config.eta:g})"
                )


class _Clock:
    def __init__(self) -> None:
        self.last = time.perf_counter()

    def lap(self) -> float:
        """Seconds since the last lap."""
        before, self.last = self.last, time.perf_counter()
        return self.last - before
