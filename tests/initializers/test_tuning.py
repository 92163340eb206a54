"""What the learned initializers have in common: data-parallel ranks, errors, and what is left as it was."""

import itertools

import pytest
import torch
from tiny import batches, learn, loss_fn, network, on_two_ranks, tensors

from gradinit_mt.core import GradInitError

NAMES = ("nio", "metainit")


@pytest.fixture(scope="module")
def ranks():
    """What each of two ranks learns, by algorithm and rank."""
    return on_two_ranks(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_two_ranks_learn_what_one_process_learns(name, ranks):
    assert ranks[name, 0] == ranks[name, 1]
    model = network()
    theta0 = tensors(model)
    learn(name, model, batches())
    for key, value in tensors(model).items():
        torch.testing.assert_close(torch.tensor(ranks[name, 0][key], dtype=torch.float64), value)
        assert torch.equal(value, theta0[key]) or value.dim() > 1 or name == "nio"
    assert any(not torch.equal(value, theta0[key]) for key, value in tensors(model).items())


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("fault", ["not finite", "too few"])
def test_an_error_leaves_the_model_as_it_was(name, fault):
    model = network()
    theta0 = tensors(model)
    model.register_buffer("count", torch.zeros(()))
    calls = itertools.count()

    def failing(module, part):
        model.count += 1
        loss, size = loss_fn(module, part)
        return loss * (float("nan") if fault == "not finite" and next(calls) > 8 else 1.0), size

    given = itertools.islice(batches(), 3)
    with pytest.raises(GradInitError, match=r"is nan, expected a finite number|batches ended after iteration 3 of 6"):
        learn(name, model, given, loss=failing)
    assert all(torch.equal(value, theta0[key]) for key, value in tensors(model).items())
    assert model.count == 0
