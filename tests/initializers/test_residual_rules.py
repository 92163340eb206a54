"""Admin and DeepNorm: the weights of the residual sums, in the model or folded into its matrices."""

import math

import pytest
import torch
from matrices import matrices

from gradinit_mt.core import GradInitError
from gradinit_mt.initializers.deepnorm import constants

RULES = ("admin", "admin-closed", "deepnorm")
NAMES = ("self_attn", "encoder_attn", "final")
DROPOUT = {"dropout": 0.3, "attention_dropout": 0.1}


def omegas(model, stack):
    """The residual weights of a stack in the order of its blocks; those of a block are equal."""
    found = []
    for layer in getattr(model, stack).layers:
        for name in NAMES:
            weight = getattr(layer, f"{name}_residual_weight", None)
            if weight is not None:
                assert len(set(weight.tolist())) == 1
                found.append(float(weight.detach()[0]))
    return found


def sums(model, stack, batch):
    """For each residual block of a stack in a forward pass: its input x and its output before LayerNorm."""
    found, states = [], []
    for layer in getattr(model, stack).layers:
        layer.register_forward_pre_hook(lambda _, inputs: states.append(inputs[0]))
        for name in NAMES:
            norm = getattr(layer, f"{name}_layer_norm", None)
            if norm is not None:
                norm.register_forward_pre_hook(lambda _, inputs: found.append((states[-1], inputs[0])))
                norm.register_forward_hook(lambda _, inputs, output: states.append(output))
    with torch.no_grad():
        model(**batch["net_input"])
    return found


@pytest.mark.parametrize("kind", ["fixed", "trainable"])
@pytest.mark.parametrize("rule", RULES)
def test_folded_and_weighted_models_compute_the_same(make, shape, initialize, batches, rule, kind):
    weighted, folded = (
        initialize(rule, make(residual_weights=residual, **DROPOUT, **shape)) for residual in (kind, "none")
    )
    for module in (*weighted.modules(), *folded.modules()):
        if isinstance(module, torch.nn.LayerNorm):
            module.eps = 0  # what the two forms do not share
    with torch.no_grad():
        one, other = (model(**batches[0]["net_input"])[0] for model in (weighted, folded))
    torch.testing.assert_close(one, other, atol=2e-4, rtol=0)
    assert max(omegas(weighted, "decoder")) > 1.1, "or this would test nothing"


@pytest.mark.parametrize("stack", ["encoder", "decoder"])
def test_the_profile_follows_the_variances_of_the_weighted_model(make, shape, initialize, batches, stack):
    """Without dropout the weighted model computes again what the profile saw."""
    model = initialize("admin", make(residual_weights="trainable", dropout=0.0, **shape))
    found = omegas(model, stack)
    assert found[0] == 1
    blocks = sums(model, stack, batches[0])
    assert len(blocks) == len(found)
    for (x, total), omega, following in zip(blocks[:-1], found[:-1], found[1:], strict=True):
        expected = torch.var(omega * x, correction=0) + torch.var(total - omega * x, correction=0)
        assert following == pytest.approx(math.sqrt(expected), rel=1e-5)


def test_the_profile_sees_dropout_and_depends_on_the_seed_alone(make, initialize):
    def profile(seed, **options):
        torch.manual_seed(torch.randint(10**6, ()).item())
        return omegas(initialize("admin", make(residual_weights="fixed", **options), seed), "decoder")

    assert profile(1, **DROPOUT) == profile(1, **DROPOUT) != profile(2, **DROPOUT)
    assert profile(1, **DROPOUT)[-1] != pytest.approx(profile(1, dropout=0.0)[-1], rel=1e-3)


def test_variances_are_averaged_over_ranks(make, initialize):
    """The other rank is a stand-in whose variances are all 3."""
    alone, together = (make(residual_weights="fixed", dropout=0.0) for _ in range(2))
    initialize("admin", alone)
    initialize("admin", together, all_reduce=lambda tensor: tensor.add_(tensor.new_tensor([3.0, 1.0])))
    for stack in ("encoder", "decoder"):
        second = omegas(alone, stack)[1]
        assert omegas(together, stack)[1] == pytest.approx(math.sqrt((second**2 + 3) / 2))


def test_the_closed_forms_of_six_layers_are_the_published_figures(make, initialize):
    model = initialize("admin-closed", make(encoder_layers=6, residual_weights="fixed"))
    assert omegas(model, "encoder") == pytest.approx([2.017] * 12, abs=5e-4)
    assert omegas(model, "decoder") == pytest.approx([2.335] * 18, abs=5e-4)
    model = initialize("deepnorm", make(encoder_layers=6, residual_weights="fixed"))
    assert omegas(model, "encoder") == pytest.approx([1.418] * 12, abs=5e-4)
    assert omegas(model, "decoder") == pytest.approx([2.060] * 18, abs=5e-4)
    assert [beta for _, beta in constants(6, 6)] == pytest.approx([0.497, 0.343], abs=5e-4)


def test_deepnorm_weighs_residuals_and_draws_matrices_of_its_gains(make, initialize):
    """Matrices: normal, at xavier's variance times beta squared; six encoder and two decoder layers."""
    sizes = {"encoder_layers": 6, "decoder_layers": 2, "decoder_embed_dim": 24}
    model = initialize("deepnorm", make(residual_weights="fixed", **sizes))
    assert omegas(model, "encoder") == pytest.approx([0.81 * (6**4 * 2) ** (1 / 16)] * 12)
    assert omegas(model, "decoder") == pytest.approx([6**0.25] * 6)
    betas = {"encoder": 0.87 * (6**4 * 2) ** (-1 / 16), "decoder": 24**-0.25}
    for stack, beta in betas.items():
        for roles, gain in ((("q_proj", "k_proj"), 1.0), (("v_proj", "out_proj", "fc1", "fc2"), beta)):
            found = [matrix.weight for matrix in matrices(model, *roles) if matrix.stack == stack]
            values = torch.cat([(w * math.sqrt(sum(w.shape) / 2)).flatten() for w in found])
            assert float(values.std()) == pytest.approx(gain, rel=0.03)
            assert float((values.abs() > 2 * gain).float().mean()) == pytest.approx(0.0455, abs=0.006), "normal"


@pytest.mark.parametrize("rule", RULES)
def test_pre_norm_is_refused(initialize, make, rule):
    model = make()
    model.decoder.layers[1].normalize_before = True
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    with pytest.raises(GradInitError, match="drop --decoder-normalize-before"):
        initialize(rule, model)
    for name, parameter in model.named_parameters():
        assert torch.equal(parameter, before[name]), f"{name} has changed"
