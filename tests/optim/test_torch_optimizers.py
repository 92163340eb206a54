"""PyTorch's optimizers in fairseq's frame."""

import argparse
import copy

import pytest
import torch
from fairseq import utils
from fairseq.optim import OPTIMIZER_REGISTRY, build_optimizer
from omegaconf import OmegaConf
from torch import nn

from gradinit_mt import optim  # noqa: F401 - registers the optimizers

ADAM = {"adam_betas": "(0.8, 0.95)", "adam_eps": 1e-6, "weight_decay": 0.1, "lr": [0.01]}
KINDS = {
    "torch_adam": (ADAM, torch.optim.Adam, {"betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}),
    "torch_adamw": (ADAM, torch.optim.AdamW, {"betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}),
    "torch_sgd": (
        {"momentum": 0.9, "weight_decay": 0.1, "lr": [0.01]},
        torch.optim.SGD,
        {"momentum": 0.9, "weight_decay": 0.1},
    ),
}


def make_parameters():
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(shape)) for shape in ((4, 3), (5,), (2, 2, 2))]


def build(name, options, parameters):
    return build_optimizer(OmegaConf.create({"_name": name, **options}), parameters)


def give_gradients(parameters, seed):
    generator = torch.Generator().manual_seed(seed)
    for p in parameters:
        p.grad = torch.randn(p.shape, generator=generator)


@pytest.mark.parametrize("name", KINDS)
def test_updates_are_those_of_pytorch_at_the_same_settings(name):
    options, kind, settings = KINDS[name]
    ours, theirs = make_parameters(), make_parameters()
    optimizer = build(name, options, ours)
    reference = kind(theirs, lr=0.01, fused=False, foreach=False, **settings)
    for update in range(5):
        for parameters in (ours, theirs):
            give_gradients(parameters, update)
        if update == 3:
            optimizer.set_lr(0.003)
            reference.param_groups[0]["lr"] = 0.003
        optimizer.step()
        reference.step()
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", KINDS)
def test_a_restored_state_continues_bit_for_bit(name):
    options, *_ = KINDS[name]
    parameters = make_parameters()
    optimizer = build(name, options, parameters)
    give_gradients(parameters, 1)
    optimizer.step()
    copies = [nn.Parameter(p.detach().clone()) for p in parameters]
    restored = build(name, options, copies)
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()), {"lr": 0.01})
    for ps, o in ((parameters, optimizer), (copies, restored)):
        give_gradients(ps, 2)
        o.step()
    assert all(torch.equal(a, b) for a, b in zip(parameters, copies, strict=True))


@pytest.mark.parametrize("limit", [0.0, 0.5, 100.0])
@pytest.mark.parametrize("aggregate", [None, lambda norm: 2 * norm])
def test_clipping_is_that_of_fairseq(limit, aggregate):
    ours, theirs = make_parameters(), make_parameters()
    optimizer = build("torch_sgd", KINDS["torch_sgd"][0], ours)
    for parameters in (ours, theirs):
        give_gradients(parameters, 1)
        parameters[1].grad = None
    norm = optimizer.clip_grad_norm(limit, aggregate)
    assert norm.item() == pytest.approx(utils.clip_grad_norm_(theirs, limit, aggregate).item(), rel=1e-6)
    for mine, other in zip(ours, theirs, strict=True):
        assert mine.grad is other.grad is None or torch.allclose(mine.grad, other.grad, rtol=1e-5)


def test_options_are_parsed_from_a_command_line():
    parser = argparse.ArgumentParser()
    OPTIMIZER_REGISTRY["torch_adamw"].add_args(parser)
    given = parser.parse_args(["--adam-betas", "(0.9, 0.98)", "--adam-eps", "1e-9", "--weight-decay", "0.01"])
    assert (given.adam_betas, given.adam_eps, given.weight_decay) == ("(0.9, 0.98)", 1e-9, 0.01)
