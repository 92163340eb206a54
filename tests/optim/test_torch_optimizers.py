"""PyTorch's optimizers in fairseq's frame."""

import argparse
import copy

import pytest
import torch
from fairseq import utils
from fairseq.optim import OPTIMIZER_REGISTRY
from optimizing import build, give_gradients, make_parameters
from torch import nn

ADAM = {"adam_betas": "(0.8, 0.95)", "adam_eps": 1e-6, "weight_decay": 0.1, "lr": [0.01]}
KINDS = {
    "torch_adam": (ADAM, torch.optim.Adam, {"betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}),
    "torch_adamw": (ADAM, torch.optim.AdamW, {"betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1}),
    "torch_radam": (
        ADAM,
        torch.optim.RAdam,
        {"betas": (0.8, 0.95), "eps": 1e-6, "weight_decay": 0.1, "decoupled_weight_decay": True},
    ),
    "torch_sgd": (
        {"momentum": 0.9, "weight_decay": 0.1, "lr": [0.01]},
        torch.optim.SGD,
        {"momentum": 0.9, "weight_decay": 0.1},
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_updates_are_those_of_pytorch_at_the_same_settings(name):
    options, kind, settings = KINDS[name]
    ours, theirs = make_parameters(), make_parameters()
    optimizer = build(name, options, ours)
    reference = kind(theirs, lr=0.01, foreach=False, **settings)
    for update in range(10):  # RAdam divides by its second moment from the sixth on
        for parameters in (ours, theirs):
            give_gradients(parameters, update)
        if update == 3:
            optimizer.set_lr(0.003)
            reference.param_groups[0]["lr"] = 0.003
        optimizer.step()
        reference.step()
    for mine, other in zip(ours, theirs, strict=True):
        assert torch.allclose(mine, other, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("name", [*KINDS, "gi_adam", "novograd"])
@pytest.mark.parametrize("before", [1, 7])
def test_a_restored_state_continues_bit_for_bit(name, before):
    options = KINDS[name][0] if name in KINDS else ADAM
    parameters = make_parameters()
    optimizer = build(name, options, parameters)
    for update in range(before):
        give_gradients(parameters, update)
        optimizer.step()
    copies = [nn.Parameter(p.detach().clone()) for p in parameters]
    restored = build(name, options, copies)
    restored.load_state_dict(copy.deepcopy(optimizer.state_dict()), restored.optimizer_config)
    for update in range(before, before + 3):
        for ps, o in ((parameters, optimizer), (copies, restored)):
            give_gradients(ps, update)
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


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("torch_adam", {"adam_betas": "(0.9, 1.0)"}, r"--adam-betas is \(0.9, 1.0\), expected two numbers in \[0, 1\)"),
        ("torch_adamw", {"adam_betas": "(0.9,)"}, "expected two numbers"),
        ("gi_adam", {"adam_betas": "high"}, "--adam-betas is high, expected two numbers"),
        ("torch_radam", {"adam_eps": 0.0}, "--adam-eps is 0.0, expected a finite number above 0"),
        ("novograd", {"weight_decay": -0.1}, "--weight-decay is -0.1, expected a finite number, at least 0"),
        ("torch_sgd", {"momentum": 1.0}, r"--momentum is 1.0, expected a number in \[0, 1\)"),
    ],
)
def test_an_option_out_of_its_range_is_refused(name, change, message):
    options = KINDS["torch_sgd"][0] if name == "torch_sgd" else ADAM
    with pytest.raises(ValueError, match=message):
        build(name, options | change, make_parameters())
