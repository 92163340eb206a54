"""MetaInit against a plain twin, in exact cases, and on a tiny Transformer."""

import itertools
import statistics
from functools import partial

import pytest
import torch
from tiny import batches, flat_gradient, initialize, learned, loss_fn, network, scaled_loss, tensors
from torch import nn

from gradinit_mt.core.gradients import Gradients
from gradinit_mt.core.scaled import ScaledModel
from gradinit_mt.initializers.metainit import MetaInitConfig, learn_metainit, quotient_by_scales

EPS = 1e-5


def quotient_slowly(model, part):
    """GQ by the formula of the paper, and its derivatives by scales that are leaves of the graph, by name."""
    theta0 = tensors(model)
    scales = {name: torch.ones((), dtype=torch.float64, requires_grad=True) for name in theta0}
    loss, theta = scaled_loss(model, theta0, scales, part)
    g = flat_gradient(loss, theta)
    product = flat_gradient(g.square().sum() / 2, theta)
    sign = torch.where(g >= 0, 1.0, -1.0).to(g)
    quotient = ((g - product) / (g + EPS * sign) - 1).abs().mean()
    return quotient.item(), dict(zip(scales, torch.autograd.grad(quotient, list(scales.values())), strict=True))


@pytest.mark.parametrize("seed", range(3))
def test_quotient_and_derivatives_are_those_of_a_plain_twin(seed):
    """In one part, and in two whose gradients are added."""
    model = network(seed)
    (whole,) = next(batches(seed, parts=1))
    expected, derivatives = quotient_slowly(model, whole)
    scaled = ScaledModel(model)
    gradients = Gradients(model, scaled.parameters, "full", None)
    for parts in ([whole], [tuple(t[:1] for t in whole), tuple(t[1:] for t in whole)]):
        quotient, h = quotient_by_scales(scaled, gradients, loss_fn, parts, EPS)
        assert quotient.item() == pytest.approx(expected, rel=1e-6)
        named = dict(zip((block.name for block in scaled.blocks), h.tolist(), strict=True))
        assert named == pytest.approx({name: float(value) for name, value in derivatives.items()}, rel=1e-5, abs=1e-5)


class Sum(nn.Module):
    """A loss that is a power of every weight, each with its own factor."""

    def __init__(self, power: int) -> None:
        super().__init__()
        self.power = power
        self.matrix = nn.Parameter(torch.tensor([[1.0, -2.0], [0.5, 3.0]], dtype=torch.float64))
        self.vector = nn.Parameter(torch.tensor([1.0, -1.0], dtype=torch.float64))
        self.factors = torch.tensor([0.5, 1.0, 2.0, 4.0, 8.0, 16.0], dtype=torch.float64)

    def loss(self, _):
        weights = torch.cat([self.matrix.flatten(), self.vector])
        return (self.factors * weights**self.power).sum() / self.power, 1


def test_the_quotient_of_a_quadratic_is_its_mean_curvature():
    """g = f w and H g = f^2 w, with the factors f on the diagonal of H."""
    model = Sum(2)
    history = learn_metainit(model, Sum.loss, itertools.repeat([0]), MetaInitConfig(iterations=1, eps=1e-12))
    assert history[0]["quotient"] == pytest.approx(model.factors.mean().item())


def test_the_norm_of_a_matrix_takes_steps_of_momentum_and_a_vector_keeps_its_own():
    """With w^4 / 4 the quotient is the mean of 3 f w^2, which falls with the norm, so that all signs are equal."""
    model = Sum(4)
    before = tensors(model)
    history = learn_metainit(model, Sum.loss, itertools.repeat([0]), MetaInitConfig(iterations=3, eps=1e-12))
    weights = torch.cat([t.flatten() for t in before.values()])
    assert history[0]["quotient"] == pytest.approx(3 * (model.factors * weights**2).mean().item())
    norm = before["matrix"].norm()
    scale = (norm - 0.1 - 0.19 - 0.271) / norm
    torch.testing.assert_close(model.matrix.detach(), scale * before["matrix"])
    assert torch.equal(model.vector, before["vector"])


def test_a_norm_does_not_cross_zero():
    model = Sum(4)
    before = tensors(model)
    learn_metainit(model, Sum.loss, itertools.repeat([0]), MetaInitConfig(iterations=20, eps=1e-12))
    torch.testing.assert_close(model.matrix.detach(), 0.01 * before["matrix"])


def test_the_quotient_of_a_transformer_falls():
    model = network(1)
    theta0 = tensors(model)
    part = next(batches(1, parts=1))
    config = MetaInitConfig(iterations=50, rate=0.05)
    values = [found["quotient"] for found in learn_metainit(model, loss_fn, itertools.repeat(part), config)]
    assert statistics.median(values[-10:]) < statistics.median(values[:10]) / 2
    scales = learned(model, theta0)
    assert all((scales[name] != 1.0) == (theta0[name].dim() > 1) for name in scales)


def test_the_initializer_has_the_papers_rate_momentum_and_epsilon_in_100_iterations(monkeypatch):
    used = []
    monkeypatch.setattr("gradinit_mt.initializers.metainit.learn_metainit", lambda *given, **_: used.append(given[-1]))
    initialize("metainit", network(), seed=1)
    assert [vars(config) for config in used] == [
        {"iterations": 100, "rate": 0.1, "momentum": 0.9, "eps": 1e-5, "lower_bound": 0.01}
    ]


def test_the_initializer_uses_a_quarter_of_each_batch(monkeypatch):
    monkeypatch.setattr("gradinit_mt.initializers.metainit.MetaInitConfig", partial(MetaInitConfig, iterations=3))
    models = [network() for _ in range(2)]
    chosen = [initialize("metainit", model, seed=1) for model in models]
    assert chosen[0] == chosen[1]
    assert [len(set(part)) for (part,) in chosen[0]] == [5, 5, 5]
    assert all(torch.equal(a, b) for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True))
