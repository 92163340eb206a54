"""What the learned initializers have in common: data-parallel ranks, errors, and what is left as it was."""

import itertools

import pytest
import torch
from tiny import batches, learn, loss_fn, network, on_two_ranks, tensors

from gradinit_mt.core import GradInitError

NAMES = ("nio", "metainit")


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    """By algorithm, what each of two ranks learns."""
    return on_two_ranks(NAMES, tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("name", NAMES)
def test_two_ranks_learn_what_one_process_learns(name, ranks):
    first, second = ranks[name]
    model = network()
    before = tensors(model)
    learn(name, model, batches())
    for key, value in tensors(model).items():
        assert torch.equal(first[key], second[key])
        torch.testing.assert_close(first[key], value)
    assert not torch.equal(model.embedding.weight, before["embedding.weight"])


def test_a_derivative_by_a_scale_that_is_not_finite_is_an_error_though_every_value_is():
    """The added term is 0, and so is its gradient, whose derivative is not defined."""
    model = network()
    theta0 = tensors(model)

    def rough(module, part):
        loss, size = loss_fn(module, part)
        weight = module.embedding.weight
        return loss + (weight - weight.detach()).abs().pow(1.5).sum(), size

    with pytest.raises(GradInitError, match="iteration 1: the sum of the scales is nan, expected a finite number"):
        learn("nio", model, batches(), loss=rough)
    assert all(torch.equal(value, theta0[key]) for key, value in tensors(model).items())


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
