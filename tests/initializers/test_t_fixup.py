"""T-Fixup's scales, against the formulas of its paper."""

import pytest
import torch

ROLES = ("q_proj", "k_proj", "v_proj", "out_proj", "fc1", "fc2")


def ratio(after, before, name):
    """The one factor between two versions of a tensor."""
    there, here = before.state_dict()[name], after.state_dict()[name]
    factors = here[there != 0] / there[there != 0]  # the embedding of padding is 0
    torch.testing.assert_close(factors, factors.mean().expand_as(factors))
    return float(factors.mean())


def expected(name, model):
    """The factor of a weight by its name."""
    n, m = len(model.encoder.layers), len(model.decoder.layers)
    stack = 0.67 * n**-0.25 if name.startswith("encoder") else (9 * m) ** -0.25
    *_, module, role, _ = name.split(".")
    if role == "v_proj":
        # fairseq's gain is 1/sqrt(2), except where keys and queries have different sizes
        same = module == "self_attn" or model.decoder.embed_dim == model.encoder.layers[0].embed_dim
        return stack * 2**0.5 if same else stack
    return 1.0 if role in ("q_proj", "k_proj") else stack


def test_every_matrix_takes_its_factor_and_nothing_else_moves(make, shape, initialize):
    before, after = make(**shape), initialize("t-fixup", make(**shape))
    for name, value in before.state_dict().items():
        if name.split(".")[-2] in ROLES and name.endswith("weight"):
            assert ratio(after, before, name) == pytest.approx(expected(name, before), rel=1e-5), name
        elif "embed_tokens" not in name and "output_projection" not in name:
            assert torch.equal(after.state_dict()[name], value), name


def test_embeddings_take_the_factor_of_their_side(make, initialize):
    sizes = {"encoder_layers": 2, "decoder_layers": 3, "share_decoder_input_output_embed": True}
    before, after = make(**sizes), initialize("t-fixup", make(**sizes))
    assert ratio(after, before, "encoder.embed_tokens.weight") == pytest.approx(18**-0.25)
    assert ratio(after, before, "decoder.embed_tokens.weight") == pytest.approx(27**-0.25)
    assert after.decoder.output_projection.weight is after.decoder.embed_tokens.weight


def test_a_shared_embedding_is_scaled_once(make, initialize):
    sizes = {"encoder_layers": 2, "decoder_layers": 3, "share_all_embeddings": True}
    before, after = make(**sizes), initialize("t-fixup", make(**sizes))
    assert ratio(after, before, "encoder.embed_tokens.weight") == pytest.approx(27**-0.25)


def test_the_figures_of_six_layers_are_the_papers(make, initialize):
    before, after = (make(encoder_layers=6) for _ in range(2))
    initialize("t-fixup", after)
    for name, figure in (("encoder.layers.0.fc1", 0.428), ("decoder.layers.5.fc2", 0.369)):
        assert ratio(after, before, f"{name}.weight") == pytest.approx(figure, abs=5e-4)
