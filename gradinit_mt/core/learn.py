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
from gradinit_mt.core.look_ahead import ADAM_EPS, AdamSteps, MomentumSteps
from gradinit_mt.core.state import CONSTRAINT, KINDS, OBJECTIVE, Report, State

LossFunction = Callable[[nn.Module, Any], tuple[Tensor, float]]


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
        self.model, self.loss_fn, self.ahead_loss_fn, self.config = model, loss_fn, ahead_loss_fn, config
        self.all_reduce, self.held, self.on_iteration = all_reduce, held, on_iteration
        self.clock = _Clock()
        self.blocks: list[Block] = find_blocks(model)
        self.parameters = [block.parameter for block in self.blocks]
        self.places = {id(p): index for index, p in enumerate(self.parameters)}
        for module, name in held:
            if id(getattr(module, name)) not in self.places:
                raise ValueError(f"held: {name} of {type(module).__name__} is no trainable tensor of the model")
        self.theta0 = [p.detach().clone() for p in self.parameters]
        self.buffers = [(buffer, buffer.detach().clone()) for buffer in model.buffers()]
        self.state = State.fresh(len(self.blocks)) if state is None else state
        if len(self.state.scales) != len(self.blocks):
            raise ValueError(f"the state has {len(self.state.scales)} scales, the model {len(self.blocks)} blocks")
        self.device = self.parameters[0].device
        self.m = self.state.scales.to(self.device, copy=True)
        self.moments = self.state.moments.to(self.device, copy=True)
        bounds = [config.bounds(p.dim()) for p in self.parameters]
        self.bounds = torch.tensor(bounds, dtype=self.m.dtype, device=self.device).unbind(1)  # all lower, all upper
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
        scale_blocks(self.blocks, self.m)

    def iterate(self, first: Sequence[Any], second: Sequence[Any]) -> None:
        """One iteration: a constraint step if ``||g|| > gamma``, else an objective step (algorithm 1).

        Where several steps are looked ahead, g is the gradient on the first one's share of S.
        The host waits for the device once, to choose the kind of step.
        """
        self.load_scaled()
        first, *later = self._shares(first)
        g, loss = self._gradient(first)
        norm = hvp.norm(g, 1 if self.config.step == "adam" else 2)
        loss_value, norm_value = self._read(torch.stack([loss, norm]).double())
        self._require_finite(norm_value, loss=loss_value, norm=norm_value)
        if norm_value > self.config.gamma:
            kind, ahead = CONSTRAINT, loss
            h = self._constraint(g, norm, first)
        else:
            kind = OBJECTIVE
            h, ahead = self._objective(g, later, second)
        self._update(h.double(), kind, norm.double())
        results = torch.cat([ahead.double()[None], h.sum()[None], self.m, self.moments.flatten()])
        self.unread = _Outcome(kind, loss_value, norm_value, results)

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
        (ahead, derivatives), (m, moments) = results[:2].tolist(), results[2:].split([len(self.m), 4 * len(self.m)])
        self._require_finite(outcome.norm, look_ahead_loss=ahead, derivative_of_a_scale=derivatives)
        state = self.state
        state.scales, state.moments = m.clone(), moments.view_as(self.moments).clone()
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
        with _kept(self.held) as kept:
            if later:
                self._steps(g, later, kept)
            else:
                if self.config.step == "adam":
                    torch._foreach_sign_(g)
                self._step(g)
                g.clear()  # frees a tensor per parameter before the last gradient is computed
            ahead, loss = self._gradient(second, kept, self.ahead_loss_fn)
        return self._block_products(ahead), loss

    @torch.no_grad()
    def _step(self, direction: list[Tensor]) -> None:
        torch._foreach_add_(self.parameters, direction, alpha=-self.config.eta)

    def _steps(
        self,
        g: list[Tensor],
        later: Sequence[Sequence[Any]],
        kept: Sequence[tuple[nn.Parameter, nn.Parameter]],
    ) -> None:
        """Takes the steps of the real optimizer, the first one with gradient g."""
        config = self.config
        if config.step == "adam":
            steps = AdamSteps(config.step_betas, config.step_eps, config.step_eps_first)
        else:
            steps = MomentumSteps(config.step_momentum)
        self._step(steps.direction(g))
        g.clear()  # frees a tensor per parameter before the next gradient is computed
        for parts in later:
            self._step(steps.direction(self._gradient(parts, kept)[0]))

    def _constraint(self, g: list[Tensor], norm: Tensor, first: Sequence[Any]) -> Tensor:
        """h_i = d||g||/dm_i = < theta0_i , (H v)_i > with v = sign(g), or g / ||g|| for SGD: [blocks]."""
        if self.config.step == "adam":
            torch._foreach_sign_(g)
        else:
            torch._foreach_div_(g, norm)
        if self.config.route == "finite":
            return self._block_products(hvp.finite_difference(self.parameters, g, lambda: self._gradient(first)[0]))
        return self._block_products(self._exact_product(g, first))

    def _exact_product(self, v: list[Tensor], parts: Sequence[Any]) -> list[Tensor]:
        with hvp.twice_differentiable():
            return self._averaged(*self._summed(parts, lambda loss: hvp.exact(self.parameters, v, loss)))[0]

    def _gradient(
        self,
        parts: Sequence[Any],
        kept: Sequence[tuple[nn.Parameter, nn.Parameter]] = (),
        loss_fn: LossFunction | None = None,
    ) -> tuple[list[Tensor], Tensor]:
        """The gradient and the value of the loss, averaged over parts and ranks, at the present parameters."""
        inputs = [*self.parameters, *(copy for _, copy in kept)]
        sums, loss_sum, total = self._summed(
            parts, lambda loss: list(torch.autograd.grad(loss, inputs, materialize_grads=True)), loss_fn
        )
        sums, copies = sums[: len(self.parameters)], sums[len(self.parameters) :]
        for (original, _), grad in zip(kept, copies, strict=True):
            index = self.places[id(original)]
            sums[index] = sums[index] + grad
        return self._averaged(sums, loss_sum, total)

    def _summed(
        self,
        parts: Sequence[Any],
        derivatives: Callable[[Tensor], list[Tensor]],
        loss_fn: LossFunction | None = None,
    ) -> tuple[list[Tensor], Tensor, float]:
        """The sums over this rank's parts: of the derivatives of each loss, of the losses, of the sizes."""
        if not parts:
            iteration = self.state.iteration + 1 + (self.unread is not None)
            raise ValueError(f"iteration {iteration}: S and S~ need at least one part each")
        sums, loss_sum, total = None, None, 0.0
        for part in parts:
            with self._precision():
                loss, size = (loss_fn or self.loss_fn)(self.model, part)
            tensors = derivatives(loss)
            sums = tensors if sums is None else list(torch._foreach_add(sums, tensors))
            value = loss.detach().to(sums[0].dtype)  # autocast may have left it in half precision
            loss_sum = value if loss_sum is None else loss_sum + value
            total += size
        return sums, loss_sum, total

    @contextmanager
    def _precision(self) -> Iterator[None]:
        """Around one loss, with no low-precision copy of a parameter left over from another.

        PyTorch forgets such copies where the outermost autocast ends, and the parameters move in place.
        """
        torch.clear_autocast_cache()
        try:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.config.precision == "bfloat16"):
                yield
        finally:
            torch.clear_autocast_cache()

    def _averaged(self, sums: list[Tensor], loss_sum: Tensor, size: float) -> tuple[list[Tensor], Tensor]:
        """Sums over ranks, divided by the size over ranks. New tensors: autograd may hand out one tensor twice."""
        if self.all_reduce is None:
            return list(torch._foreach_div(sums, size)), loss_sum / size
        flat = torch.cat([*(t.reshape(-1) for t in sums), loss_sum.reshape(1), loss_sum.new_tensor([size])])
        self.all_reduce(flat)
        flat.div_(flat[-1].clone())
        pieces = flat[:-2].split([t.numel() for t in sums])
        # each in its own type, should the model mix two; a copy of the loss: a view would keep the whole gradient
        return [piece.view_as(t).to(t.dtype) for piece, t in zip(pieces, sums, strict=True)], flat[-2].clone()

    def _block_products(self, tensors: Sequence[Tensor]) -> Tensor:
        """< theta0_i , tensor_i > for every block: [blocks]."""
        return torch.stack([torch.dot(a.flatten(), b.flatten()) for a, b in zip(self.theta0, tensors, strict=True)])

    def _update(self, h: Tensor, kind: str, norm: Tensor) -> None:
        """One step of m along h, then the bounds."""
        config = self.config
        if config.update == "adam":
            self.m.sub_(config.tau * self._adam_direction(h, KINDS.index(kind)))
        else:
            # derivatives by log m: of the objective, or of log ||g||, which has its size
            by_log = h * self.m if kind == OBJECTIVE else h * self.m / norm
            self.m.mul_(torch.exp(-config.tau * by_log.clamp(-1, 1)))
        self.m.clamp_(*self.bounds)

    def _adam_direction(self, h: Tensor, kind: int) -> Tensor:
        """Of Adam on m, with the moments of this kind of step."""
        beta1, beta2 = self.config.betas
        steps = self.state.steps[kind] + 1  # the state is up to date: it has just been read
        first, second = self.moments[kind]
        first.mul_(beta1).add_(h, alpha=1 - beta1)
        second.mul_(beta2).addcmul_(h, h, value=1 - beta2)
        return first / (1 - beta1**steps) / ((second / (1 - beta2**steps)).sqrt() + ADAM_EPS)

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


@contextmanager
def _kept(held: Sequence[tuple[nn.Module, str]]) -> Iterator[list[tuple[nn.Parameter, nn.Parameter]]]:
    """Gives each held use a copy of its tensor; yields the pairs (tensor, copy) and puts the tensors back."""
    pairs = [(getattr(module, name), nn.Parameter(getattr(module, name).detach().clone())) for module, name in held]
    try:
        for (module, name), (_, copy) in zip(held, pairs, strict=True):
            setattr(module, name, copy)
        yield pairs
    finally:
        for (module, name), (original, _) in zip(held, pairs, strict=True):
            setattr(module, name, original)
