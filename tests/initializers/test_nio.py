"""NIO against a plain twin, in exact cases, and on a tiny Transformer."""

import itertools
import math
from functools import partial

import pytest
import torch
from tiny import batches, flat_gradient, initialize, learned, loss_fn, network, scaled_loss, tensors

from gradinit_mt.initializers.nio import NIOConfig, gram, learn_nio, mean_cosine, mean_norm


def learn_slowly(model, given, config):
    """Scales by name and the kinds of step, with m as leaves of the graph and every derivative by autograd."""
    theta0 = tensors(model)
    scales = {name: torch.ones((), dtype=torch.float64, requires_grad=True) for name in theta0}
    optimizers = [torch.optim.Adam(scales.values(), config.rate, config.betas) for _ in range(2)]
    kinds = []
    for parts in itertools.islice(given, config.iterations):
        g = [flat_gradient(*scaled_loss(model, theta0, scales, part)) for part in parts]
        pairs = list(itertools.permutations(g, 2))
        cosine = sum(torch.cosine_similarity(a, b, dim=0) for a, b in pairs) / len(pairs)
        norm = sum(torch.linalg.vector_norm(a) for a in g) / len(g)
        kinds.append(bool(norm > config.gamma))
        h = torch.autograd.grad(norm if kinds[-1] else -cosine, list(scales.values()))
        for name, derivative in zip(scales, h, strict=True):
            scales[name].grad = derivative.clamp(-config.clip, config.clip) * bool(theta0[name].any())
        optimizers[kinds[-1]].step()
        with torch.no_grad():
            for scale in scales.values():
                scale.clamp_(min=config.lower_bound)
    return {name: scale.item() for name, scale in scales.items()}, kinds


@pytest.mark.parametrize("sub_batches", [2, 3])
def test_it_learns_the_scales_of_a_plain_twin(sub_batches):
    config = NIOConfig(gamma=3.5, iterations=12, rate=0.02, lower_bound=0.9, clip=0.2)
    model = network()
    theta0 = tensors(model)
    expected, kinds = learn_slowly(network(), batches(parts=sub_batches), config)
    assert set(kinds) == {True, False}
    learn_nio(model, loss_fn, batches(parts=sub_batches), config)
    scales = learned(model, theta0)
    assert min(scales.values()) == pytest.approx(0.9)
    assert scales == pytest.approx({name: expected[name] for name in scales}, rel=1e-6)


def test_cosine_and_norm_of_vectors_in_pieces():
    vectors = torch.randn(3, 10, dtype=torch.float64)
    products = gram([[v[:4].view(2, 2), v[4:]] for v in vectors])
    pairs = list(itertools.combinations(vectors, 2))
    expected = sum(torch.cosine_similarity(a, b, dim=0) for a, b in pairs) / 3
    assert mean_cosine(products).item() == pytest.approx(expected.item())
    assert mean_norm(products).item() == pytest.approx(vectors.norm(dim=1).mean().item())
    assert mean_cosine(gram([[torch.eye(2)[0]], [torch.eye(2)[1]]])).item() == 0


def test_equal_sub_batches_have_a_cosine_of_one():
    given = ([part, part] for part, _ in batches())
    history = learn_nio(network(), loss_fn, given, NIOConfig(iterations=2))
    assert [found["cosine"] for found in history] == pytest.approx([1, 1])


@pytest.mark.parametrize(
    ("gamma", "falls"), [(math.inf, lambda found: 1 - found["cosine"]), (0, lambda found: found["norm"])]
)
def test_below_the_bound_the_cosine_rises_and_above_it_the_norm_falls(gamma, falls):
    part = next(batches(seed=3))
    history = learn_nio(network(), loss_fn, itertools.repeat(part), NIOConfig(gamma, iterations=30, rate=0.01))
    assert falls(history[-1]) < 0.8 * falls(history[0])


def test_the_initializer_has_the_settings_of_the_authors_configuration(monkeypatch):
    """HarborYuan/GradCosine: 100 iterations at 3e-3, scales of at least 0.01, derivatives clipped to 1, gamma 10."""
    used = []
    monkeypatch.setattr("gradinit_mt.initializers.nio.learn_nio", lambda *given, **_: used.append(given[-1]))
    initialize("nio", network(), seed=1)
    assert [vars(config) for config in used] == [
        {"gamma": 10, "iterations": 100, "rate": 3e-3, "betas": (0.9, 0.999), "lower_bound": 0.01, "clip": 1}
    ]


def test_the_initializer_divides_half_a_batch_into_sub_batches_that_overlap_by_a_fifth(monkeypatch):
    monkeypatch.setattr("gradinit_mt.initializers.nio.NIOConfig", partial(NIOConfig, iterations=3))
    models, chosen = [network() for _ in range(3)], []
    for model, seed in zip(models, (1, 1, 2), strict=True):
        chosen.append(initialize("nio", model, seed))
    for first, second in chosen[0]:
        assert len(set(first)) == len(set(second)) == 6
        assert len({*first, *second}) == 10
        assert sorted({*first, *second}) != list(range(10))
    assert chosen[0] == chosen[1] != chosen[2]
    assert all(torch.equal(a, b) for a, b in zip(models[0].parameters(), models[1].parameters(), strict=True))
    assert not torch.equal(models[0].embedding.weight, network().embedding.weight)
    assert not torch.equal(models[0].embedding.weight, models[2].embedding.weight)
