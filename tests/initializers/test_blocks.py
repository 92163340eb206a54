"""Rules that choose what a block computes at first: looks-linear and IDInit."""

import pytest
import torch
from matrices import matrices

from gradinit_mt.core import GradInitError


def feed_forward(layer, x):
    return layer.fc2(layer.activation_fn(layer.fc1(x)))


@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_looks_linear_feed_forward_is_linear(make, shape, initialize, activation):
    model = make(activation_fn=activation, **shape)
    initialize("looks-linear", model)
    for layer in (*model.encoder.layers, *model.decoder.layers):
        x, y = torch.randn(2, 5, layer.embed_dim)
        together = feed_forward(layer, 2 * x - 3 * y)
        torch.testing.assert_close(together, 2 * feed_forward(layer, x) - 3 * feed_forward(layer, y), atol=1e-5, rtol=0)
        half = len(layer.fc1.weight) // 2
        product = layer.fc2.weight[:, :half] @ layer.fc1.weight[:half]
        torch.testing.assert_close(feed_forward(layer, x), x @ product.T, atol=1e-5, rtol=0)


def test_looks_linear_keeps_the_size_of_the_output(make, initialize):
    wide = {"encoder_embed_dim": 128, "encoder_ffn_embed_dim": 256}
    x = torch.randn(64, 128)
    models = make(**wide), initialize("looks-linear", make(**wide))
    with torch.no_grad():
        before, after = (feed_forward(model.encoder.layers[0], x) for model in models)
    assert float(after.pow(2).mean()) == pytest.approx(float(before.pow(2).mean()), rel=0.15)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder_ffn_embed_dim": 47}, "--encoder-ffn-embed-dim is 47, expected an even number"),
        ({"activation_fn": "tanh"}, "give --activation-fn relu or gelu"),
    ],
)
def test_looks_linear_refuses_what_it_cannot_make_linear(make, initialize, options, message):
    with pytest.raises(GradInitError, match=message):
        initialize("looks-linear", make(**options))


def test_idinit_passes_each_channel_through_and_almost_nothing_out(make, shape, initialize):
    model = initialize("idinit", make(**shape))
    for *_, role, weight in matrices(model):
        x = torch.arange(1.0, weight.shape[1] + 1)
        repeated = x.repeat(2 + len(weight) // len(x))
        y, kept = weight @ x, repeated[: len(weight)]
        if role in ("out_proj", "fc2"):
            torch.testing.assert_close(y, 1e-6 * (kept - repeated[1 : len(weight) + 1]), atol=1e-9, rtol=1e-4)
        else:
            torch.testing.assert_close(y, kept, atol=2e-3, rtol=0)
            assert 0.5e-6 < float((weight - weight.round()).std()) < 2e-6, "noise keeps equal rows apart"
    assert not any(
        value.any()
        for name, value in model.state_dict().items()
        if name.endswith(("proj.bias", "fc1.bias", "fc2.bias"))
    )


def test_idinit_layers_return_the_normalized_input(make, initialize):
    model = initialize("idinit", make())
    x = torch.randn(2, 7, 32)
    for layer in model.encoder.layers:
        torch.testing.assert_close(layer(x), torch.nn.functional.layer_norm(x, (32,)), atol=1e-4, rtol=0)
