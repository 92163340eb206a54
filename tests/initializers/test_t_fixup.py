"""T-Fixup's scales, against the formulas of its paper."""

import pytest
import torch
from matrices import ATTENTION, elsewhere, layers, matrices


def ratio(after, before, name):
    """The one factor between two versions of a tensor."""
    there, here = before.state_dict()[name], after.state_dict()[name]
    factors = here[there != 0] / there[there != 0]  # the embedding of padding is 0
    torch.testing.assert_close(factors, factors.mean().expand_as(factors))
    return float(factors.mean())


def test_matrices_are_uniform_at_xaviers_bound_times_their_factor(make, shape, initialize):
    before, after = make(**shape), initialize("t-fixup", make(**shape))
    n, m = layers(before, "encoder"), layers(before, "decoder")
    factors = {"encoder": 0.67 * n**-0.25, "decoder": (9 * m) ** -0.25}
    for matrix in matrices(after, "v_proj", "out_proj", "fc1", "fc2"):
        ratio(after, before, matrix.name)
        bound = factors[matrix.stack] * (6 / sum(matrix.weight.shape)) ** 0.5
        assert 0.97 * bound < float(matrix.weight.abs().max()) <= 1.0001 * bound
        assert float(matrix.weight.pow(2).mean()) == pytest.approx(bound**2 / 3, rel=0.15)


def test_the_rest_of_the_layers_stays_as_it_is_but_for_biases_in_the_feed_forward(make, shape, initialize):
    before, after = make(**shape), initialize("t-fixup", make(**shape))
    rest = {matrix.name: matrix.weight for matrix in matrices(before, "q_proj", "k_proj")} | elsewhere(before)
    for name, value in rest.items():
        now = after.state_dict()[name]
        if name.endswith(("fc1.bias", "fc2.bias")):
            assert not now.any()
        elif "embed_tokens" not in name and "output_projection" not in name:
            assert torch.equal(now, value), name


def test_the_figures_of_six_layers_are_the_papers(make, initialize):
    """At equal sizes, where fairseq's gain of 1/sqrt(2) for values is undone."""
    before, after = make(encoder_layers=6), initialize("t-fixup", make(encoder_layers=6))
    for matrix in matrices(after, *ATTENTION[2:]):
        figure = {"encoder": 0.428, "decoder": 0.369}[matrix.stack] * (2**0.5 if matrix.role == "v_proj" else 1)
        assert ratio(after, before, matrix.name) == pytest.approx(figure, abs=1e-3)


def test_embeddings_take_the_factor_of_their_side(make, initialize):
    sizes = {"encoder_layers": 2, "decoder_layers": 3, "share_decoder_input_output_embed": True}
    before, after = make(**sizes), initialize("t-fixup", make(**sizes))
    assert ratio(after, before, "encoder.embed_tokens.weight") == pytest.approx(18**-0.25)
    assert ratio(after, before, "decoder.embed_tokens.weight") == pytest.approx(27**-0.25)
    assert after.decoder.output_projection.weight is after.decoder.embed_tokens.weight


def test_a_shared_embedding_is_scaled_once(make, initialize):
    sizes = {"encoder_layers": 2, "decoder_layers": 3, "share_all_embeddings": True}
    before, after = make(**sizes), initialize("t-fixup", make(**sizes))
    assert ratio(after, before, "encoder.embed_tokens.weight") == pytest.approx(18**-0.25)
