"""The first steps of the optimizers, against PyTorch's own and against their formulas written again."""

import math

import pytest
import torch

from gradinit_mt.core import GradInitConfig
from gradinit_mt.core.forms import settings_for
from gradinit_mt.core.look_ahead import AdamSteps, MomentumSteps, first_steps, known_step
from gradinit_mt.optim.gi_adam import GIAdam

BETAS, RATE = (0.8, 0.95), 0.01


def gradients(steps: int = 6) -> list[torch.Tensor]:
    """Entries from 1e-9 to 1, so that an epsilon of 1e-4 decides most steps."""
    generator = torch.Generator().manual_seed(1)
    sizes = torch.logspace(-9, 0, 40, dtype=torch.float64)
    return [sizes * torch.randn(40, generator=generator, dtype=torch.float64) for _ in range(steps)]


@pytest.mark.parametrize("eps", [1e-8, 1e-4])
def test_adam_is_pytorchs(eps):
    parameter = torch.nn.Parameter(torch.zeros(40, dtype=torch.float64))
    optimizer = torch.optim.Adam([parameter], lr=RATE, betas=BETAS, eps=eps)
    ours, steps = torch.zeros(40, dtype=torch.float64), AdamSteps(BETAS, eps)
    for g in gradients():
        parameter.grad = g.clone()
        optimizer.step()
        ours -= RATE * steps.direction([g.clone()])[0]
        assert torch.allclose(ours, parameter.detach(), rtol=1e-12, atol=0)


def test_an_epsilon_before_the_correction_weighs_more_in_the_first_steps():
    steps, first, second = AdamSteps(BETAS, 1e-4, eps_first=True), 0.0, 0.0
    for t, g in enumerate(gradients(), start=1):
        first, second = BETAS[0] * first + (1 - BETAS[0]) * g, BETAS[1] * second + (1 - BETAS[1]) * g**2
        rate = math.sqrt(1 - BETAS[1] ** t) / (1 - BETAS[0] ** t)
        (direction,) = steps.direction([g.clone()])
        assert torch.allclose(direction, rate * first / (second.sqrt() + 1e-4), rtol=1e-12, atol=0)


def test_gi_adam_begins_with_the_first_gradients_square():
    parameter = torch.nn.Parameter(torch.zeros(40, dtype=torch.float64))
    optimizer = GIAdam([parameter], lr=RATE, betas=BETAS, eps=1e-4, weight_decay=0)
    ours, steps = torch.zeros(40, dtype=torch.float64), AdamSteps(BETAS, 1e-4, from_gradient=True)
    for g in gradients():
        parameter.grad = g.clone()
        optimizer.step()
        ours -= RATE * steps.direction([g.clone()])[0]
        assert torch.allclose(ours, parameter.detach(), rtol=1e-12, atol=0)


def test_a_single_step_of_gi_adam_is_shorter_than_one_of_adam():
    settings = {"step": "adam", "eta": 0.1, "gamma": 1.0, "step_betas": (0.9, 0.98)}
    g = torch.tensor([0.5, -2.0])
    (adam,) = first_steps(GradInitConfig(**settings))([g.clone()])
    (shorter,) = first_steps(GradInitConfig(**settings, step_from_gradient=True))([g.clone()])
    assert torch.equal(adam, g.sign())
    assert torch.allclose(shorter, 0.02**0.5 * g.sign())


def test_a_subclass_does_not_count_as_its_base():
    """Even if it is one of Adam's, its first steps may be others."""
    parameters = [torch.nn.Parameter(torch.zeros(1))]
    kinds = {torch.optim.Adam: "adam", torch.optim.AdamW: "adam", torch.optim.SGD: "sgd", GIAdam: "GIAdam"}
    assert {kind: known_step(kind(parameters, lr=0.1)) for kind in kinds} == kinds
    with pytest.raises(ValueError, match="not those of GIAdam: choose the steps to look ahead"):
        settings_for({"step": "GIAdam"}, 0.1)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"update": "momentum"}, "update is 'momentum', expected adam or descent"),
        ({"eta": 0.0}, "eta is 0.0, expected a finite number above 0$"),
        ({"eta_ratio": 0.0}, r"eta is 0.0, expected a finite number above 0; it follows the learning rate \(0.1\)"),
    ],
)
def test_settings_that_are_refused_are_named(given, message):
    with pytest.raises(ValueError, match=message):
        settings_for({"step": "adam"}, 0.1, **given)


def test_momentum_is_pytorchs():
    parameter = torch.nn.Parameter(torch.zeros(40, dtype=torch.float64))
    optimizer = torch.optim.SGD([parameter], lr=RATE, momentum=0.7)
    ours, steps = torch.zeros(40, dtype=torch.float64), MomentumSteps(0.7)
    for g in gradients():
        parameter.grad = g.clone()
        optimizer.step()
        ours -= RATE * steps.direction([g.clone()])[0]
        assert torch.allclose(ours, parameter.detach(), rtol=1e-12, atol=0)
