"""The model: its sizes, its order of sum and normalization, and the options it refuses."""

import argparse

import pytest
import torch
import torch.nn.functional as F
from fairseq.models import ARCH_MODEL_REGISTRY, MODEL_DATACLASS_REGISTRY, build_model
from fairseq.models.transformer import TransformerModel, base_architecture
from omegaconf import OmegaConf

SIZES = {
    "post_ln_transformer_tiny": (4, 128, 256, 4),
    "post_ln_transformer_small": (6, 256, 512, 4),
    "post_ln_transformer_iwslt_de_en": (6, 512, 1024, 4),
    "post_ln_transformer_base": (6, 512, 2048, 8),
    "post_ln_transformer": (6, 512, 2048, 8),
}


def make(task, arch="post_ln_transformer_tiny", **options):
    options = {"max_source_positions": 64, "max_target_positions": 64} | options
    cfg = argparse.Namespace(_name=arch, **options)
    torch.manual_seed(0)
    return build_model(cfg, task)


@pytest.mark.parametrize(("arch", "size"), SIZES.items())
def test_architectures_have_their_sizes_on_both_sides(task, arch, size):
    model = make(task, arch)
    layers, dimension, inner, heads = size
    for side, attention in ((model.encoder, "self_attn"), (model.decoder, "encoder_attn")):
        assert len(side.layers) == layers
        for layer in side.layers:
            assert layer.fc1.weight.shape == (inner, dimension)
            assert layer.fc2.weight.shape == (dimension, inner)
            assert getattr(layer, attention).num_heads == heads
            assert not layer.normalize_before
        assert side.layer_norm is None, "Post-LN has no LayerNorm after the last layer"


def test_an_encoder_layer_normalizes_each_residual_sum(task):
    """x = LN(x + attention(x)), then x = LN(x + feed-forward(x)), written out with plain tensor operations."""
    layer = make(task).encoder.layers[0].eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for p in layer.parameters():
            p.uniform_(-0.3, 0.3)
        x = torch.randn(2, 5, 128)  # [batch, length, hidden]
        heads = layer.self_attn.num_heads

        def split(t):  # [batch, length, hidden] -> [batch, heads, length, hidden / heads]
            return t.unflatten(2, (heads, -1)).transpose(1, 2)

        q, k, v = (
            split(F.linear(x, p.weight, p.bias))
            for p in (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj)
        )
        weights = (q @ k.transpose(2, 3) / (128 / heads) ** 0.5).softmax(-1)
        mixed = (weights @ v).transpose(1, 2).flatten(2)
        out = layer.self_attn.out_proj

        def norm(t, module):
            t = (t - t.mean(-1, keepdim=True)) / (t.var(-1, keepdim=True, unbiased=False) + 1e-5).sqrt()
            return t * module.weight + module.bias

        y = norm(x + F.linear(mixed, out.weight, out.bias), layer.self_attn_layer_norm)
        inner = F.linear(y, layer.fc1.weight, layer.fc1.bias).clamp(min=0)
        z = norm(y + F.linear(inner, layer.fc2.weight, layer.fc2.bias), layer.final_layer_norm)
        assert torch.allclose(layer(x), z, atol=1e-5)


def test_equals_fairseqs_transformer_of_the_same_sizes(task):
    """The same seed gives the same tensors under the same names, so checkpoints and recipes can be shared."""
    ours = make(task, dropout=0.3, share_decoder_input_output_embed=True)
    args = argparse.Namespace(
        encoder_layers=4, encoder_embed_dim=128, encoder_ffn_embed_dim=256, encoder_attention_heads=4,
        decoder_layers=4, decoder_embed_dim=128, decoder_ffn_embed_dim=256, decoder_attention_heads=4,
        dropout=0.3, share_decoder_input_output_embed=True, max_source_positions=64, max_target_positions=64,
    )  # fmt: skip
    base_architecture(args)
    torch.manual_seed(0)
    theirs = TransformerModel.build_model(args, task)
    expected = theirs.state_dict()
    assert ours.state_dict().keys() == expected.keys()
    assert all(torch.equal(value, expected[name]) for name, value in ours.state_dict().items())
    assert ours.decoder.output_projection.weight is ours.decoder.embed_tokens.weight
    assert ours.encoder.dropout_module.p == theirs.encoder.dropout_module.p == 0.3


def test_the_decoder_has_the_encoders_sizes_by_default(task):
    model = make(task, encoder_layers=2, encoder_embed_dim=16, encoder_attention_heads=2, decoder_layers=3)
    assert len(model.encoder.layers) == 2
    assert len(model.decoder.layers) == 3
    assert model.decoder.layers[0].encoder_attn.embed_dim == 16


def test_positions_are_limited_as_the_options_say(task):
    model = make(task, max_source_positions=48, max_target_positions=72)
    assert model.max_positions() == (48, 72)


def test_dropout_can_stay_in_generation(task):
    """With --retain-dropout."""
    model, tokens = make(task, dropout=0.3).eval(), torch.tensor([[5, 6, 2]])
    first, second = (model(tokens, None, tokens)[0] for _ in range(2))
    assert torch.equal(first, second)
    retaining = {"retain_dropout": True, "retain_dropout_modules": None}
    model.prepare_for_inference_(OmegaConf.create({"generation": retaining}))
    first, second = (model(tokens, None, tokens)[0] for _ in range(2))
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"encoder_normalize_before": True}, "--arch transformer --encoder-normalize-before"),
        ({"decoder_normalize_before": True}, "For pre-norm use fairseq's own model"),
        ({"encoder_embed_dim": 30}, "--encoder-embed-dim is 30, expected a multiple of --encoder-attention-heads"),
        ({"decoder_layers": 0}, "--decoder-layers is 0, expected at least 1"),
        ({"encoder_embed_dim": 0}, "--encoder-embed-dim is 0, expected at least 1"),
        ({"decoder_ffn_embed_dim": 0}, "--decoder-ffn-embed-dim is 0, expected at least 1"),
        ({"encoder_attention_heads": 0}, "--encoder-attention-heads is 0, expected at least 1"),
        ({"dropout": 1.0}, r"--dropout is 1.0, expected in \[0, 1\)"),
        ({"attention_dropout": -0.1}, r"--attention-dropout is -0.1, expected in \[0, 1\)"),
        ({"activation_dropout": 2.0}, r"--activation-dropout is 2.0, expected in \[0, 1\)"),
    ],
)
def test_options_out_of_range_and_pre_norm_are_refused(task, options, message):
    with pytest.raises(ValueError, match=message):
        make(task, **options)


@pytest.mark.parametrize("arch", SIZES)
def test_every_option_has_a_help_text_and_the_architecture_its_own_defaults(arch):
    parser = argparse.ArgumentParser(argument_default=argparse.SUPPRESS)
    ARCH_MODEL_REGISTRY[arch].add_args(parser)
    assert all(action.help for action in parser._actions)
    defaults = MODEL_DATACLASS_REGISTRY[arch]()
    sizes = (defaults.encoder_layers, defaults.encoder_embed_dim, defaults.encoder_ffn_embed_dim)
    assert (*sizes, defaults.encoder_attention_heads) == SIZES[arch]
