"""NovoGrad, against its formula."""

import pytest
import torch
from optimizing import build, give_gradients, make_parameters

BETAS, EPS, RATE = (0.9, 0.7), 1e-2, 0.05


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_ten_updates_are_those_of_the_formula(decay):
    parameters = make_parameters()
    options = {"adam_betas": str(BETAS), "adam_eps": EPS, "weight_decay": decay, "lr": [RATE]}
    optimizer = build("novograd", options, parameters)
    expected = [p.detach().clone() for p in parameters]
    momenta, moments = [0.0] * 3, [None] * 3
    for update in range(10):
        give_gradients(parameters, update)
        for number, p in enumerate(parameters):
            g, w = p.grad.clone(), expected[number]
            square = (g**2).sum().item()
            v = moments[number]
            moments[number] = square if v is None else BETAS[1] * v + (1 - BETAS[1]) * square
            momenta[number] = BETAS[0] * momenta[number] + g / (moments[number] ** 0.5 + EPS) + decay * w
            expected[number] = w - RATE * momenta[number]
        optimizer.step()
    for p, w in zip(parameters, expected, strict=True):
        assert torch.allclose(p, w, rtol=1e-5, atol=1e-6)


def test_a_step_does_not_depend_on_the_size_of_a_tensors_gradients():
    ours, larger = make_parameters(), make_parameters()
    optimizers = [build("novograd", {"adam_eps": 1e-12, "lr": [RATE]}, each) for each in (ours, larger)]
    for update in range(4):
        for parameters, factor, optimizer in zip((ours, larger), (1, 1000), optimizers, strict=True):
            give_gradients(parameters, update)
            parameters[0].grad *= factor
            optimizer.step()
    assert torch.allclose(ours[0], larger[0], rtol=1e-4, atol=1e-6)


def test_tensors_without_a_gradient_stay():
    parameters = make_parameters()
    before = [p.detach().clone() for p in parameters]
    optimizer = build("novograd", {"lr": [RATE]}, parameters)
    optimizer.step()
    give_gradients(parameters, 1)
    parameters[1].grad = None
    optimizer.step()
    assert [torch.equal(p, old) for p, old in zip(parameters, before, strict=True)] == [False, True, False]
    assert not optimizer.supports_flat_params, "the norm is that of each tensor"
