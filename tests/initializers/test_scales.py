"""Rules that choose the size of each matrix: DS-Init, Post-LN-init, emergence and orthogonal matrices."""

import math

import pytest
import torch
from matrices import ATTENTION, elsewhere, layers, matrices, xavier


@pytest.mark.parametrize("name", ["ds-init", "emergence", "orthogonal"])
def test_all_but_the_matrices_stays_as_it_is(make, shape, initialize, name):
    before, after = elsewhere(make(**shape)), elsewhere(initialize(name, make(**shape)))
    assert all(torch.equal(after[key], value) for key, value in before.items())


def test_ds_init_is_uniform_and_its_bound_shrinks_with_the_root_of_the_depth(make, shape, initialize):
    for matrix in matrices(initialize("ds-init", make(**shape))):
        bound = math.sqrt(6 / sum(matrix.weight.shape) / matrix.depth)
        assert 0.97 * bound < float(matrix.weight.abs().max()) <= bound
        assert float(matrix.weight.pow(2).mean()) == pytest.approx(bound**2 / 3, rel=0.15)


def test_post_ln_init_divides_xaviers_by_the_distance_from_the_top(make, shape, initialize):
    before, model = make(**shape), initialize("post-ln-init", make(**shape))
    for there, here in zip(matrices(before), matrices(model), strict=True):
        restored = here.weight * (layers(model, here.stack) - here.depth + 1)
        if here.role in ATTENTION:
            torch.testing.assert_close(restored, there.weight)
        assert float(restored.pow(2).mean().sqrt()) == pytest.approx(xavier(model, here), rel=0.06)


@pytest.mark.parametrize(
    ("count", "exponents"),
    [(1, [0]), (2, [-1, 1]), (3, [-1, 0, 1]), (5, [-2, -1, 0, 1, 2]), (6, [-3, -2, -1, 1, 2, 3])],
)
def test_emergence_counts_layers_from_the_middle(make, initialize, count, exponents):
    sizes = {"encoder_layers": count, "decoder_layers": count}
    before, after = make(**sizes), initialize("emergence", make(**sizes))
    for there, here in zip(matrices(before), matrices(after), strict=True):
        torch.testing.assert_close(here.weight, there.weight * 1.2 ** exponents[here.depth - 1])


def test_orthogonal_matrices_keep_lengths_at_xaviers_variance(make, shape, initialize):
    model = initialize("orthogonal", make(**shape))
    for matrix in matrices(model):
        w = matrix.weight
        product = w.T @ w if len(w) >= w.shape[1] else w @ w.T
        c = float(product.diagonal().mean())
        torch.testing.assert_close(product, c * torch.eye(len(product)), atol=1e-5, rtol=0)
        assert float(w.pow(2).mean().sqrt()) == pytest.approx(xavier(model, matrix), rel=1e-4)
