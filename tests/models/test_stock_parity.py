"""The model computes the function of fairseq's Transformer, from the same parameters."""

import argparse
from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from fairseq.models import MODEL_DATACLASS_REGISTRY, build_model
from fairseq.models.transformer import TransformerModelBase
from fairseq.sequence_generator import SequenceGenerator

from gradinit_mt.models import dropout
from gradinit_mt.models.post_ln_transformer import as_fairseq

ARCHITECTURES = [name for name in MODEL_DATACLASS_REGISTRY if name.startswith("post_ln_transformer")]
UNEQUAL_SIDES = {"decoder_embed_dim": 64, "decoder_layers": 2, "decoder_attention_heads": 2, "encoder_layers": 1}
FEW_LAYERS = {"encoder_layers": 2, "decoder_layers": 2}
LEARNED_POSITIONS = {"encoder_learned_pos": True, "decoder_learned_pos": True, "activation_fn": "gelu"}


def make_both(task, arch="post_ln_transformer_tiny", **options):
    """Ours and fairseq's, from the same seed, without dropout."""
    options = {"dropout": 0.0, "max_source_positions": 64, "max_target_positions": 64} | options
    models = []
    for ours in (True, False):
        torch.manual_seed(1)
        if ours:
            models.append(build_model(argparse.Namespace(_name=arch, **options), task))
        else:
            cfg = MODEL_DATACLASS_REGISTRY[arch]()
            for name, value in options.items():
                setattr(cfg, name, value)
            models.append(TransformerModelBase.build_model(as_fairseq(cfg), task))
    return models


@pytest.fixture
def sample(dictionary):
    """Sources padded on the left and targets padded on the right, of several lengths; [sentences, length]."""
    generator = torch.Generator().manual_seed(2)
    source, target = (torch.randint(4, len(dictionary), (9, n), generator=generator) for n in (11, 8))
    for row in range(9):
        source[row, : row % 5] = dictionary.pad()
        target[row, 8 - row % 4 :] = dictionary.pad()
    return source, target


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(
    ("arch", "options"),
    [
        *((arch, {"share_decoder_input_output_embed": True, **FEW_LAYERS}) for arch in ARCHITECTURES),
        ("post_ln_transformer_tiny", UNEQUAL_SIDES),
        ("post_ln_transformer_tiny", LEARNED_POSITIONS),
        ("post_ln_transformer_tiny", {"share_all_embeddings": True}),
    ],
)
def test_logits_and_gradients_are_those_of_fairseq(task, dictionary, sample, arch, options, training):
    ours, stock = make_both(task, arch, **options)
    assert ours.state_dict().keys() == stock.state_dict().keys()
    for mine, theirs in zip(ours.state_dict().values(), stock.state_dict().values(), strict=True):
        assert torch.equal(mine, theirs)
    source, target = sample
    real = target.ne(dictionary.pad())
    factors = torch.randn(int(real.sum()), len(dictionary), generator=torch.Generator().manual_seed(3))
    logits = []
    # in float64, or a rounding could decide whether a ReLU lets a gradient pass; fairseq's softmax stays in float32
    for model in (ours.double(), stock.double()):
        model.train(training)
        logits.append(model(source, None, target)[0][real])
        (logits[-1] * factors).sum().backward()
    assert (logits[0] - logits[1]).abs().max() < 1e-6
    largest = max(p.grad.abs().max() for p in stock.parameters())
    for (name, mine), theirs in zip(ours.named_parameters(), stock.parameters(), strict=True):
        scale = largest if name.endswith("k_proj.bias") else theirs.grad.abs().max()  # whose derivative is exactly 0
        assert (mine.grad - theirs.grad).abs().max() <= 1e-5 * scale, name


def attention_with_dropout(q, k, v, mask=None, p=0.0, is_causal=False):
    """PyTorch's fused attention in steps, the dropout of its weights among them."""
    scores = q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5
    return F.dropout((scores if mask is None else scores + mask).softmax(-1), p) @ v


@pytest.mark.parametrize("training", [True, False])
def test_dropout_is_where_fairseq_has_it(task, dictionary, sample, monkeypatch, training):
    """Every mask is replaced by a factor of 1 + p, so that places and probabilities show in the logits."""
    monkeypatch.setattr(
        dropout._Dropout, "apply", lambda residual, x, p: (0 if residual is None else residual) + x * (1 + p)
    )
    monkeypatch.setattr(F, "dropout", lambda x, p=0.5, training=True, inplace=False: x * (1 + p * training))
    monkeypatch.setattr(F, "scaled_dot_product_attention", attention_with_dropout)
    rates = {"dropout": 0.1, "attention_dropout": 0.3, "activation_dropout": 0.7}
    ours, stock = make_both(task, **rates)
    layer = stock.decoder.layers[0]
    for p, *modules in ((0.1, stock.encoder, stock.decoder, layer), (0.3, layer.self_attn, layer.encoder_attn)):
        assert [module.dropout_module.p for module in modules] == [p] * len(modules)
    assert layer.activation_dropout_module.p == 0.7
    source, target = sample
    real = target.ne(dictionary.pad())
    logits = [model.train(training)(source, None, target)[0][real] for model in (ours, stock)]
    assert (logits[0] - logits[1]).abs().max() < 1e-5
    if training:
        for name in rates:
            other = make_both(task, **rates | {name: 0.0})[0].train()
            assert (other(source, None, target)[0][real] - logits[0]).abs().max() > 1e-3, name


def test_targets_may_be_padded_on_the_left(task, dictionary, sample):
    """With --left-pad-target, which the task's options say."""
    task = SimpleNamespace(**vars(task), cfg=SimpleNamespace(left_pad_target=True))
    ours, stock = make_both(task)
    source, target = sample[0], sample[1].flip(1)
    real = target.ne(dictionary.pad())
    logits = []
    for model in (ours, stock):
        logits.append(model(source, None, target)[0])
        logits[-1][real].square().sum().backward()
    assert not target[:, 0].ne(dictionary.pad()).all()
    assert (logits[0] - logits[1])[real].abs().max() < 1e-5
    norms = [torch.stack([p.grad.norm() for p in model.parameters()]) for model in (ours, stock)]
    assert torch.allclose(*norms, rtol=1e-4, atol=1e-3)


def test_states_and_attention_are_given_out_in_the_shapes_of_fairseq(task, dictionary, sample):
    source, target = sample
    real = target.ne(dictionary.pad())
    (ours, stock) = (model.eval() for model in make_both(task))
    for options in ({}, {"alignment_layer": 1, "alignment_heads": 2}, {"full_context_alignment": True}):
        found = [model.decoder(target, model.encoder(source, None), **options)[1] for model in (ours, stock)]
        weights = [extra["attn"][0][real] for extra in found]
        assert torch.allclose(*weights, atol=1e-6)
        assert [s.shape for s in found[0]["inner_states"]] == [s.shape for s in found[1]["inner_states"]]
    hidden = [model.encoder(source, None, return_all_hiddens=True)["encoder_states"] for model in (ours, stock)]
    real = source.ne(dictionary.pad()).t()
    assert all(torch.allclose(mine[real], theirs[real], atol=1e-5) for mine, theirs in zip(*hidden, strict=True))


@pytest.mark.parametrize("beam", [1, 2, 5])
@pytest.mark.parametrize("models", [1, 2])
def test_translations_are_those_of_fairseq(task, dictionary, sample, beam, models):
    """Sentences end at different steps, drop out of the batch, and leave their hypotheses behind."""
    source, _ = sample
    net_input = {"src_tokens": source, "src_lengths": source.ne(dictionary.pad()).sum(1)}
    pairs = [make_both(task, **sizes) for sizes in ({}, UNEQUAL_SIDES)][:models]
    found = []
    for side in range(2):
        ensemble = [pair[side] for pair in pairs]
        generator = SequenceGenerator(ensemble, dictionary, beam_size=beam, max_len_a=0, max_len_b=14)
        with torch.no_grad():
            found.append(generator.generate(ensemble, {"net_input": net_input}))
    ends = set()
    for mine, theirs in zip(*found, strict=True):
        assert len(mine) == len(theirs) == beam
        for a, b in zip(mine, theirs, strict=True):
            assert torch.equal(a["tokens"], b["tokens"])
            assert a["score"] == pytest.approx(b["score"].item(), abs=1e-5)
            assert torch.allclose(a["attention"], b["attention"], atol=1e-5)
            ends.add(len(a["tokens"]))
    assert len(ends) > 1


def test_a_generation_of_another_beam_follows_on_the_same_model(task, dictionary, sample):
    ours, stock = make_both(task)
    net_input = {"src_tokens": sample[0], "src_lengths": sample[0].ne(dictionary.pad()).sum(1)}
    for beam in (4, 1, 3):
        found = []
        for model in (ours, stock):
            generator = SequenceGenerator([model], dictionary, beam_size=beam, max_len_a=0, max_len_b=9)
            with torch.no_grad():
                found.append(generator.generate([model], {"net_input": net_input}))
        assert all(torch.equal(a[0]["tokens"], b[0]["tokens"]) for a, b in zip(*found, strict=True))


def test_autocast_leaves_states_and_gradients_in_float32(task, dictionary, sample):
    ours, stock = make_both(task)
    source, target = sample
    real = target.ne(dictionary.pad())
    with torch.autocast("cpu", torch.bfloat16):
        features, extra = ours(source, None, target, features_only=True)
    assert {state.dtype for state in extra["inner_states"]} == {features.dtype} == {torch.float32}
    assert not torch.equal(features[real], ours(source, None, target, features_only=True)[0][real])
    exact = stock(source, None, target, features_only=True)[0]
    assert (features[real].float() - exact[real]).norm() < 0.02 * exact[real].norm()
    features.float().sum().backward()
    assert {p.grad.dtype for p in ours.parameters() if p.grad is not None} == {torch.float32}
