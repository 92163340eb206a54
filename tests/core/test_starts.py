"""Where the scales start."""

import pytest
import torch
from networks import TinyTransformer, settings, token_loss
from torch import nn

import gradinit_mt
from gradinit_mt.core import Stack, State, find_blocks, find_stacks, learn_scales
from gradinit_mt.core.starts import branches


def start_of(model, stacks):
    blocks = find_blocks(model)
    return dict(zip([block.name for block in blocks], branches(blocks, stacks).tolist(), strict=True))


def test_the_matrices_of_residual_branches_shrink_with_the_depth_of_their_stack():
    model = nn.ModuleDict({"encoder": nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 12, batch_first=True), 2)})
    model["decoder"] = nn.TransformerDecoder(nn.TransformerDecoderLayer(8, 2, 12), 3)
    start = start_of(model, find_stacks(model))
    for stack, layers, parts in (("encoder", 2, 3), ("decoder", 3, 4)):
        small = {name for name, scale in start.items() if name.startswith(stack) and scale != 1}
        ends = ("out_proj.weight", "linear1.weight", "linear2.weight")
        assert small == {name for name in start if name.startswith(stack) and name.endswith(ends)}
        assert len(small) == layers * parts
        assert [start[name] for name in small] == pytest.approx([(9 * layers) ** -0.25] * len(small))


def test_the_magnitude_of_a_parametrized_matrix_shrinks():
    """Its direction has any length; scaling it changes nothing."""
    layer = nn.TransformerEncoderLayer(8, 2, 12)
    nn.utils.parametrizations.weight_norm(layer.linear1)
    model = nn.ModuleDict({"layers": nn.ModuleList([layer])})
    before = layer.linear1.weight.detach().clone()
    start = start_of(model, [Stack(model["layers"])])
    weight = "layers.0.linear1.parametrizations.weight"
    assert (start[f"{weight}.original0"], start[f"{weight}.original1"]) == (pytest.approx(9**-0.25), 1)
    with torch.no_grad():
        layer.linear1.parametrizations.weight.original0.mul_(start[f"{weight}.original0"])
    assert torch.allclose(layer.linear1.weight, 9**-0.25 * before)


def test_layers_without_a_known_name_are_refused():
    """A module around the layers may have such a name; it does not count."""
    model = nn.ModuleDict({"out_proj": nn.Linear(4, 4), "layers": nn.ModuleList([nn.Linear(4, 4)])})
    with pytest.raises(ValueError, match=r"no matrix in the stacks of layers is called v_proj, .* use form='signal'"):
        start_of(model, [Stack(model["layers"])])


def test_learning_continues_from_the_start():
    """A scale that the loss does not reach stays where it starts; a start is not a step."""
    torch.manual_seed(0)
    model = TinyTransformer().double()
    batch = torch.randint(5, (6, 4)), torch.randint(5, (6, 4))
    start = torch.full((len(find_blocks(model)),), 0.5, dtype=torch.float64)
    theta0 = [p.detach().clone() for p in model.parameters()]
    config = settings("adam", 1e9, iterations=1, update="descent", tau=1e-12)
    state = learn_scales(model, token_loss, [([batch], [batch])], config, state=State.starting(start))
    assert state.iteration == 1
    assert torch.allclose(state.scales, start, atol=1e-9)
    for p, old in zip(model.parameters(), theta0, strict=True):
        assert torch.allclose(p, 0.5 * old)


def test_the_form_branches_starts_there_and_signal_at_one():
    tokens = torch.arange(24).view(6, 4) % 5
    found = {}
    for form in ("branches", "signal"):
        torch.manual_seed(0)
        model = TinyTransformer().double()
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
        still = {"iterations": 1, "tau": 1e-12}
        report = gradinit_mt.gradinit(model, token_loss, [(tokens, tokens)], optimizer, form=form, **still)
        found[form] = report.scales
    torch.manual_seed(0)
    model = TinyTransformer()
    start = start_of(model, find_stacks(model))
    embedding = next(name for name, module in model.named_modules() if isinstance(module, torch.nn.Embedding))
    assert found["branches"] == pytest.approx(start | {f"{embedding}.weight": 0.2}), "45 steps of 1e-3 are far below 1"
    assert min(start.values()) < 0.6
    assert found["signal"] == pytest.approx(dict.fromkeys(found["signal"], 1.0))
