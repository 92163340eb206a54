"""Dropout: its probability, its mean, its derivative, and that a seed fixes it."""

import pytest
import torch

from gradinit_mt.models.dropout import LEVELS, add_dropout, dropout

TYPES = [torch.bfloat16, torch.float16, torch.float32, torch.float64]


@pytest.mark.parametrize("kind", TYPES)
@pytest.mark.parametrize("p", [0.1, 0.3, 0.5])
def test_elements_are_dropped_at_the_given_rate_and_the_rest_keeps_the_mean(kind, p):
    torch.manual_seed(1)
    number = 400_003  # not a multiple of the four that share a draw
    y = dropout(torch.ones(number, dtype=kind), p)
    dropped = (y == 0).double().mean().item()
    assert abs(dropped - p) < 4 * (p * (1 - p) / number) ** 0.5
    assert y.unique().tolist() == pytest.approx([0, 1 / (1 - p)], rel=5e-3)


def test_the_four_elements_of_a_draw_are_independent():
    torch.manual_seed(1)
    kept = (dropout(torch.ones(1_000_000), 0.5) > 0).view(-1, 4).long()
    patterns = (kept * torch.tensor([8, 4, 2, 1])).sum(1).bincount(minlength=16).double()
    expected = 250_000 / 16
    assert ((patterns - expected) ** 2 / expected).sum() < 37.7  # chi-squared, 15 degrees of freedom, p = 0.001


@pytest.mark.parametrize("levels", [1, 7])
def test_the_smallest_probabilities_are_met_exactly(levels, monkeypatch):
    """Of every level once, as many elements are dropped as the probability says."""
    every = torch.arange(-LEVELS // 2, LEVELS // 2, dtype=torch.int16)
    monkeypatch.setattr(torch.Tensor, "random_", lambda draws, *_: draws.copy_(every.view(torch.int64)))
    y = dropout(torch.ones(LEVELS, dtype=torch.float64), levels / LEVELS)
    assert int((y == 0).sum()) == levels
    assert y.mean().item() == pytest.approx(1, abs=1e-12)


def test_a_seed_fixes_the_mask():
    x = torch.randn(1000)
    found = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        found.append(dropout(x, 0.2))
    assert torch.equal(found[0], found[1])
    assert not torch.equal(found[0], found[2])


@pytest.mark.parametrize("kind", TYPES)
def test_the_derivative_passes_where_the_value_passed(kind):
    x, residual = (torch.randn(50, 60).to(kind).t().requires_grad_() for _ in range(2))  # not contiguous
    torch.manual_seed(5)
    alone = dropout(x, 0.4)
    torch.manual_seed(5)
    added = add_dropout(residual, x, 0.4)
    tolerance = max(16 * torch.finfo(kind).eps, 1e-4)
    assert torch.allclose(added, residual + alone, rtol=0, atol=tolerance)
    slope = torch.randn(60, 50).to(kind)
    added.backward(slope)
    assert torch.equal(residual.grad, slope)
    scale = torch.where(alone == 0, 0, 1 / 0.6)
    assert torch.allclose(x.grad.double(), scale * slope.double(), rtol=0, atol=tolerance)


def test_a_second_derivative_is_refused_where_it_would_lack_the_mask():
    x = torch.randn(100, requires_grad=True)
    (slope,) = torch.autograd.grad(dropout(x**2, 0.5).square().sum(), x, create_graph=True)
    with pytest.raises(RuntimeError, match="once_differentiable"):
        slope.sum().backward()


def test_an_infinite_value_can_be_dropped():
    torch.manual_seed(1)
    y = dropout(torch.full((1000,), torch.inf), 0.5)
    assert set(y.tolist()) == {0.0, torch.inf}


def test_without_a_probability_nothing_is_drawn():
    before = torch.get_rng_state()
    x = torch.randn(10, generator=torch.Generator().manual_seed(1))
    assert torch.equal(dropout(x, 0.0), x)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("p", [1.0, 1 - 1e-7])
def test_with_a_probability_of_one_nothing_is_kept(p):
    torch.manual_seed(1)
    ones = torch.ones(1000, requires_grad=True)
    added = add_dropout(torch.ones(1000), ones, p)
    added.sum().backward()
    assert torch.equal(dropout(ones, p), torch.zeros(1000))
    assert torch.equal(added, torch.ones(1000))
    assert torch.equal(ones.grad, torch.zeros(1000))
