"""What holds for each initializer by name."""

import pkgutil
from functools import partial

import pytest
import torch

from gradinit_mt.initializers import INITIALIZERS
from gradinit_mt.initializers.registry import register

DRAWS = {"ds-init", "orthogonal", "deepnorm", "idinit"}
LEARNED = {"nio": "NIOConfig", "metainit": "MetaInitConfig"}  # for any model, with these settings


@pytest.fixture(autouse=True)
def few_iterations(monkeypatch):
    """The learned initializers take three instead of a hundred."""
    for module, settings in LEARNED.items():
        name = f"gradinit_mt.initializers.{module}.{settings}"
        monkeypatch.setattr(name, partial(pkgutil.resolve_name(name), iterations=3))


def same(one, other):
    return all(torch.equal(value, other.state_dict()[name]) for name, value in one.state_dict().items())


@pytest.mark.parametrize("name", INITIALIZERS)
def test_it_changes_the_model_and_repeats_itself(make, shape, initialize, name):
    before, once, again = make(**shape), initialize(name, make(**shape)), initialize(name, make(**shape))
    assert not same(once, before)
    assert same(once, again)
    assert all(bool(p.isfinite().all()) for p in once.parameters())
    padding = once.decoder.padding_idx
    assert not once.decoder.embed_tokens.weight[padding].any()


@pytest.mark.parametrize("name", INITIALIZERS)
def test_it_leaves_mode_hooks_and_the_random_stream_as_they_were(make, initialize, name):
    model = make(dropout=0.3)
    state = torch.get_rng_state()
    initialize(name, model)
    assert torch.equal(torch.get_rng_state(), state)
    assert not any(module.training for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("name", sorted(DRAWS))
def test_draws_differ_by_seed(make, initialize, name):
    assert not same(initialize(name, make(), seed=1), initialize(name, make(), seed=2))


def test_rules_draw_from_different_generators(make, initialize):
    """Or a comparison of two of them would compare the same draws."""
    one, other = (initialize(name, make()).encoder.layers[0].fc1.weight for name in ("ds-init", "deepnorm"))
    correlation = torch.corrcoef(torch.stack([one.flatten(), other.flatten()]))[0, 1]
    assert abs(float(correlation)) < 0.1


@pytest.mark.parametrize("name", sorted(INITIALIZERS.keys() - LEARNED))
def test_a_model_without_layers_is_refused(initialize, name):
    with pytest.raises(RuntimeError, match="the encoder of Linear has no layers of a Transformer; use a Transformer"):
        initialize(name, torch.nn.Linear(2, 2))


@pytest.mark.parametrize("name", sorted(INITIALIZERS.keys() - LEARNED))
def test_layers_without_attention_are_refused(make, initialize, name):
    """Such as those of fairseq's lightconv, whose convolutions a rule would leave out."""
    model = make()
    del model.encoder.layers[1].self_attn
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(RuntimeError, match="the encoder of PostLNTransformer has no layers of a Transformer"):
        initialize(name, model)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_name_is_taken_once():
    with pytest.raises(ValueError, match="t-fixup is registered already"):
        register("t-fixup", about="another")(lambda start: None)
