"""NIO: scales that align the gradients of sub-batches, under a bound on their norm.

Yang et al., "Towards Theoretically Inspired Neural Initialization Optimization", NeurIPS 2022 (arXiv 2210.05956). For
the gradients g_1, ..., g_D of the losses on D sub-batches, each iteration computes

    cosine = mean of cos(g_i, g_j) over i != j        and        norm = mean of ||g_i||.

If the norm is above gamma, the scales take a step of Adam that lowers it, else one that raises the cosine.

From the configuration of the authors' code (HarborYuan/GradCosine): 100 iterations at a rate of 3e-3, sub-batches that
overlap by 0.2, scales of at least 0.01, derivatives clipped to 1, gamma 10. That is for ResNet-50 on ImageNet. 100
steps of 3e-3 change a scale by about 0.3 at most, so that none reaches 0.01.

Left open for translation, and chosen here:

- Two sub-batches, the code's default. The configuration has four, and adds the norm to the objective.
- They come from a random half of a training batch, and each has three fifths of it, so that one fifth is in both. An
  iteration then costs as much as two to three gradients on the whole batch.
- Every trainable tensor counts in the gradients and has a scale, embeddings included. Tensors of zeros stay zero.
- Adam keeps separate moments for the two kinds of step, as in this package's GradInit. In the code they share the
  second moment.
- Derivatives are exact, in full precision.

On 6+6 layers of width 128 (Multi30k, seed 1) the norm stays near 4, below gamma, so that no step lowers it. The cosine
is 0.91 at first, because all batches first ask for the frequencies of the words, and 0.95 in the end.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import torch
from torch import Tensor, nn

from gradinit_mt.core.gradients import Gradients, LossFunction
from gradinit_mt.core.scaled import ScaledModel
from gradinit_mt.core.state import CONSTRAINT, KINDS, OBJECTIVE
from gradinit_mt.initializers.registry import Start, register
from gradinit_mt.initializers.tuning import Found, parts_of, shown, tune

USED = Fraction(1, 2)  # of a batch's sentences
SHARE = Fraction(3, 5)  # of those, in each of two sub-batches, which then overlap by 0.2


@dataclass(frozen=True)
class NIOConfig:
    """Settings of one run.

    Attributes:
        gamma: bound on the mean L2 norm of the gradients, per target token; above 0.
        iterations: steps taken by the scales.
        rate: learning rate of the scales.
        betas: decay rates of Adam on the scales.
        lower_bound: smallest scale.
        clip: largest derivative by a scale, in absolute value.
    """

    gamma: float = 10.0
    iterations: int = 100
    rate: float = 3e-3
    betas: tuple[float, float] = (0.9, 0.999)
    lower_bound: float = 0.01
    clip: float = 1.0


def learn_nio(
    model: nn.Module,
    loss_fn: LossFunction,
    batches: Iterable[Sequence[Any]],
    config: NIOConfig,
    *,
    all_reduce: Callable[[Tensor], Any] | None = None,
    on_iteration: Callable[[Found], None] | None = None,
) -> list[Found]:
    """Learns the scales of ``model`` in place.

    Args:
        model: holds theta0, with dropout off; afterwards m * theta0, or theta0 again if anything is raised.
        loss_fn: ``(model, sub-batch) -> (summed loss, size)``.
        batches: this rank's share of each sub-batch, two or more, for every iteration.
        config: the settings.
        all_reduce: sums a tensor over data-parallel ranks in place. All ranks learn the same scales.
        on_iteration: called after each iteration with what it found.

    Returns:
        What each iteration found: ``cosine`` and ``norm``.

    Raises:
        GradInitError: see ``tune``.
        ValueError: see ``find_blocks``.
    """
    scaled = ScaledModel(model)
    gradients = Gradients(model, scaled.parameters, "full", all_reduce)
    return tune(scaled, _Tuner(scaled, gradients, loss_fn, config), batches, on_iteration)


@register("nio", about="scales that align the gradients of sub-batches (Yang et al., 2022)", takes_derivatives=True)
def nio(start: Start) -> None:
    """Learns the scales on two overlapping sub-batches of a random half of each batch.

    Raises:
        GradInitError, ValueError: see ``learn_nio``.
    """
    config = NIOConfig()
    with shown("NIO", config.iterations) as on_iteration:
        learn_nio(
            start.model,
            start.loss_fn,
            parts_of(start, "nio", _two_sub_batches),
            config,
            all_reduce=start.all_reduce,
            on_iteration=on_iteration,
        )


def _two_sub_batches(order: list[int]) -> list[list[int]]:
    """The positions of each sub-batch, given the sentences' positions in random order."""
    used = order[: math.ceil(len(order) * USED)]
    size = math.ceil(len(used) * SHARE)
    return [used[:size], used[-size:]]


class _Tuner:
    def __init__(self, scaled: ScaledModel, gradients: Gradients, loss_fn: LossFunction, config: NIOConfig) -> None:
        self.scaled, self.gradients, self.loss_fn, self.config = scaled, gradients, loss_fn, config
        self.iterations = config.iterations
        self.m = torch.ones(len(scaled.blocks), dtype=torch.float64)
        self.optimizers = {kind: torch.optim.Adam([self.m], config.rate, config.betas) for kind in KINDS}

    def scales(self) -> Tensor:
        return self.m

    def iterate(self, parts: Sequence[Any]) -> Found:
        g = [self.gradients.of(self.loss_fn, [part])[0] for part in parts]
        products = gram(g).requires_grad_()
        cosine, norm = mean_cosine(products), mean_norm(products)
        kind = CONSTRAINT if norm.item() > self.config.gamma else OBJECTIVE
        (slopes,) = torch.autograd.grad(-cosine if kind == OBJECTIVE else norm, products)
        self._move(self._by_scales(parts, g, slopes + slopes.T), kind)
        return {"cosine": cosine.item(), "norm": norm.item()}

    def _by_scales(self, parts: Sequence[Any], g: Sequence[list[Tensor]], slopes: Tensor) -> Tensor:
        """Derivatives by the scales, [blocks], of a function whose derivative by g_i is the sum of slopes_ij g_j."""
        total = torch.zeros(len(self.m), dtype=torch.float64, device=self.gradients.device)
        for part, weights in zip(parts, slopes, strict=True):
            v = [sum(w.to(t) * t for w, t in zip(weights, same, strict=True)) for same in zip(*g, strict=True)]
            total += self.scaled.derivatives_by_scale(self.gradients.times_hessian(self.loss_fn, [part], v))
        return total

    @torch.no_grad()
    def _move(self, h: Tensor, kind: str) -> None:
        """One step of Adam along the derivatives by the scales."""
        self.m.grad = h.to(self.m).clamp(-self.config.clip, self.config.clip)
        self.optimizers[kind].step()
        self.m.clamp_(min=self.config.lower_bound)


@torch.no_grad()
def gram(vectors: Sequence[Sequence[Tensor]]) -> Tensor:
    """The inner products of vectors, each a list of tensors: [vectors, vectors], float64."""
    flat = [torch.cat([t.flatten() for t in vector]) for vector in vectors]
    return torch.stack([torch.stack([torch.dot(a, b) for b in flat]) for a in flat]).double()


def mean_cosine(products: Tensor) -> Tensor:
    """GradCosine of vectors with these inner products, [vectors, vectors]."""
    norms = products.diagonal().sqrt()
    count = len(products)
    cosines = products / torch.outer(norms, norms)
    return (cosines.sum() - cosines.diagonal().sum()) / (count * (count - 1))


def mean_norm(products: Tensor) -> Tensor:
    """The mean length of vectors with these inner products, [vectors, vectors]."""
    return products.diagonal().sqrt().mean()
