"""The routes of the constraint's Hessian-vector product, against exact double backward in full precision."""

from functools import partial

import pytest
import torch
from networks import RealSizeTransformer, convolution_case, token_loss, transformer_case

from gradinit_mt.core import GradInitConfig, learn_scales
from gradinit_mt.core.precision import has_native_bfloat16


def constraint_derivatives(network, pair, step, **settings):
    """h of one constraint step, read from the first Adam moment; the network stays unchanged."""
    config = GradInitConfig(step=step, eta=0.05, gamma=1e-9, iterations=1, tau=1e-300, **settings)
    return learn_scales(network, token_loss, [pair], config).moments[1, 0]


def relative_error(h, exact):
    return (torch.linalg.vector_norm(h - exact) / torch.linalg.vector_norm(exact)).item()


@pytest.mark.parametrize("case", [convolution_case, partial(transformer_case, activation="gelu")])
@pytest.mark.parametrize("step", ["adam", "sgd"])
def test_finite_differences_of_small_smooth_networks_are_within_one_percent(case, step):
    for seed in range(5):
        network, pairs = case(seed, torch.float32)
        pair = next(pairs)
        exact, finite = (constraint_derivatives(network, pair, step, hvp=hvp) for hvp in ("exact", "finite"))
        assert relative_error(finite, exact) <= 0.01


@pytest.fixture(scope="module", params=["gelu", "relu"])
def real_size(request):
    """A network at its initialization, a pair with 320 tokens, and the exact derivatives by kind of step."""
    torch.manual_seed(0)
    network = RealSizeTransformer(request.param)
    tokens = torch.randint(1000, (16, 21))
    part = tokens[:, :-1], tokens[:, 1:]
    pair = [part], [part]
    exact = {step: constraint_derivatives(network, pair, step, hvp="exact") for step in ("adam", "sgd")}
    return request.param, network, pair, exact


def test_finite_differences_at_the_size_of_a_real_transformer(real_size):
    """With ReLU most of the error comes from kinks: a difference counts those it crosses, double backward counts none.

    They matter more with fewer tokens: the errors are 0.094 and 0.091 here, 0.03 to 0.07 with 1,500 tokens. With twice
    or half the step one of the two errors exceeds 0.11.
    """
    activation, network, pair, exact = real_size
    bound = {"gelu": 0.05, "relu": 0.11}[activation]
    for step, expected in exact.items():
        assert relative_error(constraint_derivatives(network, pair, step), expected) <= bound


@pytest.mark.skipif(not has_native_bfloat16(torch.device("cpu")), reason="emulated bfloat16 takes minutes")
def test_double_backward_in_bfloat16_at_the_size_of_a_real_transformer(real_size):
    _, network, pair, exact = real_size
    for step, expected in exact.items():
        assert relative_error(constraint_derivatives(network, pair, step, precision="bfloat16"), expected) <= 0.02


def test_the_route_follows_the_precision_unless_it_is_given():
    settings = {"step": "adam", "eta": 1e-3, "gamma": 1.0}
    assert GradInitConfig(**settings).route == "finite"
    assert GradInitConfig(**settings, precision="bfloat16").route == "exact"
    assert GradInitConfig(**settings, hvp="exact").as_dict()["hvp"] == "exact"
    with pytest.raises(ValueError, match="hvp is 'finite', expected auto or exact at precision bfloat16"):
        GradInitConfig(**settings, hvp="finite", precision="bfloat16")


@pytest.mark.parametrize("gamma", [1e9, 1e-9])
def test_bfloat16_autocast_surrounds_every_loss_and_full_precision_none(gamma):
    """A loss that autocast leaves in bfloat16 is summed in float32."""
    for precision, expected in (("full", False), ("bfloat16", True)):
        network, pairs = transformer_case(0, torch.float32)
        seen = []

        def loss_fn(model, part, seen=seen):
            seen.append(torch.is_autocast_enabled("cpu"))
            inputs, targets = part
            return model(inputs).logsumexp(-1).sum(), targets.numel()

        config = GradInitConfig(step="adam", eta=0.05, gamma=gamma, iterations=3, tau=0.02, precision=precision)
        state = learn_scales(network, loss_fn, pairs, config)
        assert set(seen) == {expected}
        assert all(p.dtype == torch.float32 for p in network.parameters())
        assert state.iteration == 3
