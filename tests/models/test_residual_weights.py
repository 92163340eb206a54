"""Weighted residual sums, against fairseq's own Transformer with its sums replaced by the plain formula."""

import argparse
import itertools

import pytest
import torch
from fairseq.models import build_model
from fairseq.models.transformer import TransformerModelBase
from fairseq.sequence_generator import SequenceGenerator

from gradinit_mt.core.blocks import find_blocks
from gradinit_mt.models.post_ln_transformer import PostLNTransformerConfig, as_fairseq

SIZES = {"encoder_layers": 2, "encoder_embed_dim": 16, "encoder_ffn_embed_dim": 24, "encoder_attention_heads": 2}
OTHERS = {"decoder_embed_dim": 8, "dropout": 0.0, "max_source_positions": 64, "max_target_positions": 64}
BLOCKS = {"encoder": ("self_attn", "final"), "decoder": ("self_attn", "encoder_attn", "final")}
KINDS = ("fixed", "trainable")


def make(task, **options):
    torch.manual_seed(0)
    return build_model(argparse.Namespace(_name="post_ln_transformer", **SIZES, **OTHERS, **options), task)


def make_weighted(task, kind):
    """A model whose weights are drawn from 0.5 to 3, and the weights by name."""
    model = make(task, residual_weights=kind)
    weights = {name: w for name, w in model.state_dict(keep_vars=True).items() if name.endswith("residual_weight")}
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for weight in weights.values():
            weight.uniform_(0.5, 3, generator=generator)
    return model, weights


def make_twin(task, model, weights):
    """fairseq's model with the same parameters, and copies of the weights, leaves of autograd's graph."""
    copies = {name: weight.detach().clone().requires_grad_() for name, weight in weights.items()}
    cfg = PostLNTransformerConfig(**SIZES, **OTHERS)
    twin = TransformerModelBase.build_model(as_fairseq(cfg), task)
    twin.load_state_dict({name: value for name, value in model.state_dict().items() if name not in weights})
    for side, blocks in BLOCKS.items():
        for number, layer in enumerate(getattr(twin, side).layers):
            own = itertools.cycle([copies[f"{side}.layers.{number}.{block}_residual_weight"] for block in blocks])
            layer.residual_connection = lambda f, x, own=own: next(own) * x + f
    return twin, copies


@pytest.fixture
def sample(dictionary):
    """Sources padded on the left and targets padded on the right; [sentences, length]."""
    generator = torch.Generator().manual_seed(2)
    source, target = (torch.randint(4, len(dictionary), (6, n), generator=generator) for n in (9, 7))
    for row in range(6):
        source[row, : row % 4] = dictionary.pad()
        target[row, 7 - row % 3 :] = dictionary.pad()
    return source, target


def test_without_the_option_nothing_is_added(task):
    plain, off = make(task), make(task, residual_weights="none")
    assert plain.state_dict().keys() == off.state_dict().keys()
    assert not [name for name in plain.state_dict() if "residual" in name]
    layers = [*plain.encoder.layers, *plain.decoder.layers]
    assert all(layer.self_attn_residual_weight is layer.final_residual_weight is None for layer in layers)


@pytest.mark.parametrize("kind", KINDS)
def test_ones_at_first_change_no_bit_and_no_random_draw(task, sample, kind):
    plain = make(task)
    state_after = torch.get_rng_state()
    model = make(task, residual_weights=kind)
    assert torch.equal(torch.get_rng_state(), state_after)
    assert torch.equal(model(sample[0], None, sample[1])[0], plain(sample[0], None, sample[1])[0])


@pytest.mark.parametrize("kind", KINDS)
def test_they_are_vectors_in_the_state_and_blocks_of_gradinit_if_they_are_trainable(task, kind):
    model, weights = make_weighted(task, kind)
    assert len(weights) == 2 * 2 + 2 * 3
    dimension = {"encoder": (16,), "decoder": (8,)}
    assert all(weight.shape == dimension[name.split(".")[0]] for name, weight in weights.items())
    blocks = {block.name for block in find_blocks(model) if block.learnable}
    assert weights.keys() <= blocks if kind == "trainable" else not weights.keys() & blocks


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("training", [True, False])
def test_logits_and_gradients_are_those_of_the_plain_formula(task, dictionary, sample, kind, training):
    model, weights = make_weighted(task, kind)
    twin, copies = make_twin(task, model, weights)
    source, target = sample
    real = target.ne(dictionary.pad())
    logits = [each.train(training)(source, None, target)[0][real] for each in (model, twin)]
    assert (logits[0] - logits[1]).abs().max() < 1e-5
    assert (logits[0] - make(task).train(training)(source, None, target)[0][real]).abs().max() > 0.1
    for each in logits:
        each.square().sum().backward()
    theirs = {name: p.grad for name, p in twin.named_parameters()} | {name: w.grad for name, w in copies.items()}
    ours = {name: p.grad for name, p in model.named_parameters()}
    assert ours.keys() == theirs.keys() - (weights.keys() if kind == "fixed" else set())
    largest = max(gradient.abs().max() for gradient in theirs.values())
    for name, gradient in ours.items():
        scale = largest if name.endswith("k_proj.bias") else theirs[name].abs().max()  # whose derivative is exactly 0
        assert (gradient - theirs[name]).abs().max() <= 1e-4 * scale, name


def test_decoding_step_by_step_gives_the_features_of_the_whole_target(task, sample):
    model, _ = make_weighted(task, "trainable")
    model.eval()
    source, target = sample[0], sample[1].clamp_min(4)  # without padding
    kept: dict = {}
    with torch.no_grad():
        encoded = model.encoder(source, None)
        whole, _ = model.decoder(target, encoded, features_only=True)
        for length in range(1, target.shape[1] + 1):
            last, _ = model.decoder(target[:, :length], encoded, incremental_state=kept, features_only=True)
            assert torch.allclose(last[:, -1], whole[:, length - 1], atol=1e-5)


def test_translations_are_those_of_the_twin(task, dictionary, sample):
    model, weights = make_weighted(task, "fixed")
    source = sample[0]
    net_input = {"src_tokens": source, "src_lengths": source.ne(dictionary.pad()).sum(1)}
    found = []
    for each in (model, make_twin(task, model, weights)[0]):
        generator = SequenceGenerator([each], dictionary, beam_size=3, max_len_a=0, max_len_b=12)
        with torch.no_grad():
            found.append(generator.generate([each], {"net_input": net_input}))
    for mine, theirs in zip(*found, strict=True):
        assert all(torch.equal(a["tokens"], b["tokens"]) for a, b in zip(mine, theirs, strict=True))


def test_autocast_leaves_the_states_in_float32(task, sample):
    model, weights = make_weighted(task, "trainable")
    with torch.autocast("cpu", torch.bfloat16):
        features, extra = model(sample[0], None, sample[1], features_only=True)
    assert {state.dtype for state in extra["inner_states"]} == {features.dtype} == {torch.float32}
    features.sum().backward()
    assert all(weight.grad.dtype == torch.float32 and weight.grad.any() for weight in weights.values())


def test_another_kind_is_refused(task):
    with pytest.raises(ValueError, match="--residual-weights is learned, expected none, fixed or trainable"):
        make(task, residual_weights="learned")
