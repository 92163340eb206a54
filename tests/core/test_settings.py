"""Settings, and how a batch is split."""

import pytest
import torch

from gradinit_mt.core import GradInitConfig, default_gamma, find_blocks, overlapping_halves
from gradinit_mt.core.blocks import embedding_rms


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("step", "rmsprop"),
        ("eta", 0.0),
        ("eta", float("nan")),
        ("gamma", -1.0),
        ("tau", float("inf")),
        ("update", "momentum"),
        ("iterations", 0),
        ("look_ahead", 0),
        ("betas", (0.9, 1.0)),
        ("step_betas", (-0.1, 0.9)),
        ("step_betas", (0.9,)),
        ("step_eps", -1e-8),
        ("step_momentum", 1.0),
        ("signal_weight", float("inf")),
        ("lower_bound", 0.0),
        ("upper_bound", 0.5),
        ("embedding_upper_bound", 0.001),
        ("embedding_upper_bound", float("inf")),
        ("vector_lower_bound", 1.5),
        ("vector_upper_bound", float("inf")),
        ("hvp", "none"),
        ("precision", "float16"),
    ],
)
def test_a_value_out_of_range_is_named(name, value):
    with pytest.raises(ValueError, match=f"GradInit: {name} is .*expected"):
        GradInitConfig(**{"step": "adam", "eta": 1e-3, "gamma": 1000.0, name: value})


def test_gamma_promises_one_nat():
    """A step of eta along sign(g) promises eta * ||g||_1, along g itself eta * ||g||_2 squared."""
    assert 1e-3 * default_gamma("adam", 1e-3) == pytest.approx(1)
    assert 0.1 * default_gamma("sgd", 0.1) ** 2 == pytest.approx(1)
    assert default_gamma("adam", 1e-3) == pytest.approx(1000), "the reference's setting for IWSLT'14"


def test_the_size_of_embeddings_is_that_of_the_smallest_one_with_values():
    """Of several embeddings the smallest is the first that an optimizer overwrites."""
    model = torch.nn.ModuleList(torch.nn.Embedding(4, 3) for _ in range(3)).append(torch.nn.Linear(3, 3))
    for embedding, size in zip(model, (0.5, 0.25, 0.0), strict=False):
        torch.nn.init.constant_(embedding.weight, -size)
    torch.nn.init.constant_(model[3].weight, 0.1)
    assert embedding_rms(find_blocks(model)) == pytest.approx(0.25)
    assert embedding_rms(find_blocks(model[3])) == 0


@pytest.mark.parametrize("size", range(1, 40))
def test_halves_cover_the_batch_and_share_their_middle(size):
    first, second = overlapping_halves(size, torch.Generator().manual_seed(size))
    assert len(first) == len(second) == -(-2 * size // 3)
    assert set(first) | set(second) == set(range(size))
    assert len(set(first) & set(second)) == 2 * len(first) - size
    if size % 3 == 0:
        assert 2 * len(set(first) & set(second)) == len(first), "half of each part"


def test_halves_are_drawn_at_random_and_repeatable():
    draws = [overlapping_halves(30, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]
    assert draws[0][0] != sorted(draws[0][0])


def test_an_empty_batch_is_refused():
    with pytest.raises(ValueError, match="at least one sentence"):
        overlapping_halves(0, torch.Generator())
