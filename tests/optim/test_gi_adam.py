"""GI-Adam, against its formula."""

import pytest
import torch
from optimizing import build, give_gradients, make_parameters
from torch import nn

from gradinit_mt.optim.gi_adam import GIAdam

BETAS, EPS, RATE, DECAY = (0.8, 0.95), 1e-3, 0.01, 0.1
OPTIONS = {"adam_betas": str(BETAS), "adam_eps": EPS, "weight_decay": DECAY, "lr": [RATE]}


class Twin:
    """One tensor, with plain operations."""

    def __init__(self, w):
        self.w, self.m, self.v, self.t = w.detach().clone(), 0.0, None, 0

    def step(self, g):
        self.v = g**2 if self.v is None else self.v
        self.t += 1
        self.m = BETAS[0] * self.m + (1 - BETAS[0]) * g
        self.v = BETAS[1] * self.v + (1 - BETAS[1]) * g**2
        m, v = self.m / (1 - BETAS[0] ** self.t), self.v / (1 - BETAS[1] ** self.t)
        self.w = (1 - RATE * DECAY) * self.w - RATE * m / (v.sqrt() + EPS)


def test_ten_updates_are_those_of_the_formula():
    parameters = make_parameters()
    optimizer, twins = build("gi_adam", OPTIONS, parameters), [Twin(p) for p in parameters]
    for update in range(10):
        give_gradients(parameters, update)
        if update < 3:
            parameters[1].grad = None  # it starts later than the others
        for p, twin in zip(parameters, twins, strict=True):
            if p.grad is not None:
                twin.step(p.grad.clone())
        optimizer.step()
    for p, twin in zip(parameters, twins, strict=True):
        assert torch.allclose(p, twin.w, rtol=1e-5, atol=1e-7)


def test_the_first_step_is_the_sign_shortened_by_the_bias_correction():
    parameter = nn.Parameter(torch.zeros(50))
    optimizer = GIAdam([parameter], lr=1.0, betas=(0.9, 0.98), eps=0.0, weight_decay=0.0)
    give_gradients([parameter], 1)
    optimizer.step()
    assert torch.allclose(parameter, -((1 - 0.98) ** 0.5) * parameter.grad.sign(), rtol=1e-4)


@pytest.mark.parametrize("settings", [{"foreach": True}, {"foreach": False}, {"fused": True}])
def test_every_implementation_of_pytorch_serves(settings):
    ours, plain = make_parameters(), make_parameters()
    optimizers = [GIAdam(ours, lr=0.1, **settings), GIAdam(plain, lr=0.1, foreach=False)]
    for update in range(3):
        for parameters, optimizer in zip((ours, plain), optimizers, strict=True):
            give_gradients(parameters, update)
            optimizer.step()
    assert all(torch.allclose(a, b, rtol=1e-5, atol=1e-6) for a, b in zip(ours, plain, strict=True))


def test_a_closure_may_give_the_gradients():
    parameters = make_parameters()
    optimizer = GIAdam(parameters, lr=0.1)

    def closure():
        give_gradients(parameters, 1)
        return 7.0

    before = parameters[0].detach().clone()
    assert optimizer.step(closure) == 7.0
    assert ((parameters[0] - before).abs() < 0.1 * 0.05).all(), "sqrt(1 - 0.999) of 0.1, and weight decay"


def test_a_first_gradient_that_overflows_is_skipped():
    """As in mixed precision, where PyTorch's scaler calls a fused optimizer even then."""
    parameter, plain = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(3))
    optimizers = GIAdam([parameter], lr=0.1, fused=True), GIAdam([plain], lr=0.1, fused=True)
    scaler = torch.amp.GradScaler("cpu", init_scale=4.0)
    for slope in (torch.inf, 2.0, 3.0):
        optimizers[0].zero_grad()
        scaler.scale(slope * parameter.sum()).backward()
        scaler.unscale_(optimizers[0])
        scaler.step(optimizers[0])
        scaler.update()
        if slope < torch.inf:
            plain.grad = torch.full((3,), slope)
            optimizers[1].step()
    assert torch.equal(parameter, plain)
