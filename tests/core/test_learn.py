"""Learning the scales: against a plain twin, against numerical derivatives, and in exact cases."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from networks import TinyTransformer, by_name, settings, tensors, three_parts, token_loss, transformer_case
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from twin import learn_slowly

from gradinit_mt.core import find_blocks, learn_scales
from gradinit_mt.core.state import KINDS, State


@pytest.mark.parametrize("step", ["adam", "sgd"])
@pytest.mark.parametrize(("gamma", "kinds"), [(1e9, {"objective"}), (1e-9, {"constraint"}), (None, set(KINDS))])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-8), (torch.float32, 1e-4)])
def test_agrees_with_the_plain_twin(case, mixed, step, gamma, kinds, dtype, tolerance):
    config = settings(step, gamma or mixed(step))
    network, pairs = case(0, dtype)
    with sdpa_kernel(SDPBackend.MATH):
        expected, expected_kinds = learn_slowly(network, token_loss, pairs, config)
    network, pairs = case(0, dtype)
    state = learn_scales(network, token_loss, pairs, config)
    assert [entry["kind"] for entry in state.history] == expected_kinds
    assert set(expected_kinds) == kinds
    for name, scale in by_name(network, state).items():
        assert scale == pytest.approx(expected[name], rel=tolerance), name


def squared_loss(model, part):
    """A different loss from the one that the steps descend."""
    inputs, _ = part
    outputs = model(inputs)
    return outputs.square().sum(), outputs.numel()


@pytest.mark.parametrize("step", ["adam", "sgd"])
@pytest.mark.parametrize("update", ["adam", "descent"])
@pytest.mark.parametrize("ahead_loss_fn", [None, squared_loss])
def test_several_steps_ahead_agree_with_the_plain_twin(case, mixed, step, update, ahead_loss_fn):
    """The twin takes steps of PyTorch's own optimizers, each on its own part; both kinds of iteration occur."""
    further = {"look_ahead": 3, "step_betas": (0.8, 0.9), "step_momentum": 0.7, "update": update}
    further |= {"lower_bound": 0.2, "upper_bound": 1.5, "vector_lower_bound": 0.8, "vector_upper_bound": 1.2}
    further |= {"embedding_upper_bound": 0.9}
    config = settings(step, mixed(step), tau=0.05, **further)

    network, pairs = case(0)
    with sdpa_kernel(SDPBackend.MATH):
        expected, expected_kinds = learn_slowly(network, token_loss, three_parts(pairs), config, ahead_loss_fn)
    network, pairs = case(0)
    state = learn_scales(network, token_loss, three_parts(pairs), config, ahead_loss_fn=ahead_loss_fn)
    assert [entry["kind"] for entry in state.history] == expected_kinds
    assert set(expected_kinds) == set(KINDS)
    for name, scale in by_name(network, state).items():
        assert scale == pytest.approx(expected[name], rel=1e-8), name


def test_model_holds_scaled_parameters(case, mixed):
    network, pairs = case(1)
    before = tensors(network)
    state = learn_scales(network, token_loss, pairs, settings("adam", mixed("adam"), iterations=7))
    scales = by_name(network, state)
    assert max(abs(scale - 1) for scale in scales.values()) > 0.02
    for name, value in tensors(network).items():
        assert torch.equal(value, before[name] * scales[name]), name


def test_scales_of_one_leave_every_tensor_bit_equal(case, mixed):
    network, pairs = case(2, torch.float32)
    before = tensors(network)
    state = learn_scales(network, token_loss, pairs, settings("adam", mixed("adam"), tau=1e-300, iterations=5))
    assert set(state.scales.tolist()) == {1.0}
    assert all(torch.equal(value, before[name]) for name, value in tensors(network).items())


@pytest.mark.parametrize("step", ["adam", "sgd"])
def test_objective_derivative_is_the_numerical_one(case, step):
    """h of one objective step against central differences of L(S~; m theta0 - eta A[g]) over each scale."""
    config = settings(step, 1e9, iterations=1)
    network, pairs = case(3)
    pair = next(pairs)
    names, theta0, h = derivatives(network, pair, config)
    loss, size = token_loss(network, pair[0][0])
    g = torch.autograd.grad(loss / size, list(network.parameters()))
    steps = [config.eta * (t.sign() if step == "adam" else t) for t in g]

    def objective():
        with torch.no_grad():
            for p, s in zip(network.parameters(), steps, strict=True):
                p.sub_(s)
            loss, size = token_loss(network, pair[1][0])
            return (loss / size).item()

    assert_matches_differences(network, theta0, names, h, objective)


@pytest.mark.parametrize("step", ["adam", "sgd"])
def test_constraint_derivative_is_the_numerical_one(case, step):
    """h of one constraint step against central differences of the gradient norm over each scale."""
    config = settings(step, 1e-9, iterations=1)
    network, pairs = case(4)
    pair = next(pairs)
    names, theta0, h = derivatives(network, pair, config)

    def norm():
        loss, size = token_loss(network, pair[0][0])
        flat = torch.cat([t.flatten() for t in torch.autograd.grad(loss / size, list(network.parameters()))])
        return torch.linalg.vector_norm(flat, 1 if step == "adam" else 2).item()

    assert_matches_differences(network, theta0, names, h, norm)


def derivatives(network, pair, config):
    """h of the first iteration, read from the first Adam moment, with theta0 restored."""
    theta0 = tensors(network)
    state = learn_scales(network, token_loss, [pair], config)
    kind = 0 if state.history[0]["kind"] == "objective" else 1
    h = state.moments[kind, 0] / (1 - config.betas[0])
    load(network, theta0)
    return [block.name for block in find_blocks(network)], theta0, h.tolist()


def load(network, values, scaled=None, scale=1.0):
    with torch.no_grad():
        for name, p in network.named_parameters():
            p.copy_(values[name] * (scale if name == scaled else 1.0))


def assert_matches_differences(network, theta0, names, h, function):
    largest = max(abs(value) for value in h)
    assert largest > 1e-4
    for name, value in zip(names, h, strict=True):
        sides = []
        for e in (1e-6, -1e-6):
            load(network, theta0, name, 1 + e)
            sides.append(function())
        assert (sides[0] - sides[1]) / 2e-6 == pytest.approx(value, rel=1e-6, abs=1e-6 * largest), name


def test_finite_difference_restores_the_parameters_exactly():
    network, pairs = transformer_case(5, torch.float32)
    before = tensors(network)
    learn_scales(network, token_loss, pairs, settings("adam", 1e-9, hvp="finite", tau=1e-300, iterations=3))
    assert all(torch.equal(value, before[name]) for name, value in tensors(network).items())


def test_accumulated_parts_equal_one_batch(case, mixed):
    """Two parts of three sentences give the scales of one part of six."""
    network, pairs = case(6)
    batches = list(itertools.islice(pairs, 10))
    whole = learn_scales(network, token_loss, batches, settings("adam", mixed("adam"), iterations=10))
    network, _ = case(6)
    parted = [
        tuple([tuple(t[half] for t in part[0]) for half in (slice(3), slice(3, 6))] for part in pair)
        for pair in batches
    ]
    parts = learn_scales(network, token_loss, parted, settings("adam", mixed("adam"), iterations=10))
    assert torch.allclose(whole.scales, parts.scales, rtol=1e-10)


def test_sums_over_ranks_are_divided_by_sizes_over_ranks(case, mixed):
    """A second rank with the same share doubles every sum and every size, so the scales stay the same."""
    scales = []
    for all_reduce in (None, lambda tensor: tensor.mul_(2)):
        network, pairs = case(7)
        config = settings("adam", mixed("adam"), iterations=10)
        scales.append(learn_scales(network, token_loss, pairs, config, all_reduce=all_reduce).scales)
    assert torch.allclose(*scales, rtol=1e-12)


@pytest.mark.parametrize("gamma", [float("inf"), 1e-9])
def test_a_model_may_mix_float32_and_float64(gamma):
    """Alone and over ranks, with equal scales: the reduction over ranks puts all gradients into one tensor."""
    scales = []
    for all_reduce in (None, lambda tensor: tensor.mul_(2)):
        network, pairs = transformer_case(7, torch.float32)
        network.layers[1].double()
        network.layers[1].register_forward_pre_hook(lambda _, inputs: (inputs[0].double(),))
        network.layers[1].register_forward_hook(lambda *call: call[2].float())
        state = learn_scales(network, token_loss, pairs, settings("adam", gamma, iterations=5), all_reduce=all_reduce)
        assert {p.dtype for p in network.parameters()} == {torch.float32, torch.float64}
        scales.append(state.scales)
    assert torch.allclose(*scales, rtol=1e-6)
    assert (scales[0] - 1).abs().max() > 0.01


def test_tied_tensor_is_one_block_and_frozen_tensor_none():
    network, pairs = transformer_case(8)
    network.layers[0].linear1.weight.requires_grad_(False)
    frozen = network.layers[0].linear1.weight.clone()
    names = [block.name for block in find_blocks(network)]
    assert names.count("embedding.weight") == 1
    assert "softmax.weight" not in names
    assert "layers.0.linear1.weight" not in names
    state = learn_scales(network, token_loss, pairs, settings("adam", 12.0, iterations=4))
    assert len(state.scales) == len(names)
    assert torch.equal(network.layers[0].linear1.weight, frozen)
    assert network.softmax.weight is network.embedding.weight


def test_zero_tensor_keeps_scale_one_and_takes_the_look_ahead_step():
    """Freezing the zero tensor changes only the loss ahead."""
    network, pairs = transformer_case(9)
    with torch.no_grad():
        network.layers[0].linear2.bias.zero_()
    pair = next(pairs)
    state = learn_scales(network, token_loss, [pair], settings("sgd", 1e9, iterations=1))
    assert "layers.0.linear2.bias" in [block.name for block in find_blocks(network) if not block.learnable]
    assert by_name(network, state)["layers.0.linear2.bias"] == 1
    network.layers[0].linear2.bias.requires_grad_(False)
    without = learn_scales(network, token_loss, [pair], settings("sgd", 1e9, iterations=1))
    assert without.history[0]["ahead"] != state.history[0]["ahead"]


@pytest.mark.parametrize(("step", "steps"), [("adam", 1), ("sgd", 1), ("sgd", 3)])
def test_held_softmax_keeps_its_value_in_the_look_ahead(step, steps):
    """The loss ahead and its derivative by the tied scale match those of a network with an untied copy.

    The copy stays, and its gradient counts as the embedding's.
    """
    network, pairs = transformer_case(10)
    first, second = next(three_parts(pairs))
    untied = TinyTransformer(tied=False).double()
    untied.load_state_dict(network.state_dict())
    theta0 = network.embedding.weight.detach().clone()
    config = settings(step, 1e9, iterations=1, look_ahead=steps, step_momentum=0.7, update="descent", tau=1e-3)

    def ahead_loss_fn(model, part):
        loss, size = token_loss(model, part)
        return 0.1 * loss, size  # so small that its derivative is not clipped

    held = [(network.softmax, "weight")]
    pair = (first[:steps], second)
    state = learn_scales(network, token_loss, [pair], config, ahead_loss_fn=ahead_loss_fn, held=held)
    assert network.softmax.weight is network.embedding.weight

    moving = [p for p in untied.parameters() if p is not untied.softmax.weight]
    if step == "adam":
        optimizer = torch.optim.Adam(moving, lr=config.eta, eps=1e-300)  # its first step is the sign
    else:
        optimizer = torch.optim.SGD(moving, lr=config.eta, momentum=0.7)
    for part in first[:steps]:
        untied.zero_grad()
        loss, size = token_loss(untied, part)
        (loss / size).backward()
        untied.embedding.weight.grad += untied.softmax.weight.grad
        optimizer.step()
    loss, size = ahead_loss_fn(untied, second[0])
    assert state.history[0]["ahead"] == pytest.approx((loss / size).item(), rel=1e-12)
    of_both_uses = torch.autograd.grad(loss / size, [untied.embedding.weight, untied.softmax.weight])
    derivative = sum((theta0 * part).sum().item() for part in of_both_uses)
    scale = by_name(network, state)["embedding.weight"]
    assert abs(derivative) < 1
    assert math.log(scale) == pytest.approx(-config.tau * derivative, rel=1e-9)


def test_scales_stay_within_their_bounds(case, mixed):
    network, pairs = case(11)
    bounds = {"lower_bound": 0.8, "upper_bound": 1.05, "vector_lower_bound": 0.9, "vector_upper_bound": 1.02}
    state = learn_scales(network, token_loss, pairs, settings("adam", mixed("adam"), tau=0.5, **bounds))
    visited = torch.stack(state.trajectory)
    vectors = torch.tensor([p.dim() == 1 for p in network.parameters()])
    assert (visited[:, ~vectors].min(), visited[:, ~vectors].max()) == (0.8, 1.05)
    assert (visited[:, vectors].min(), visited[:, vectors].max()) == (0.9, 1.02)


def test_a_number_has_the_bounds_of_a_vector():
    network = nn.Linear(2, 3).double()
    network.register_parameter("temperature", nn.Parameter(torch.tensor(2.0, dtype=torch.float64)))
    generator = torch.Generator().manual_seed(5)
    part = torch.randn(4, 2, generator=generator, dtype=torch.float64), torch.arange(4) % 3

    def loss(model, part):
        inputs, targets = part
        return F.cross_entropy(model(inputs) * model.temperature, targets, reduction="sum"), len(targets)

    bounds = {"vector_lower_bound": 0.9, "vector_upper_bound": 1.02}
    pairs = itertools.repeat(([part], [part]))
    state = learn_scales(network, loss, pairs, settings("adam", float("inf"), tau=0.5, **bounds))
    assert by_name(network, state)["temperature"] in (0.9, 1.02)


def test_an_embedding_starts_at_its_upper_bound_and_stays_below():
    """As from a start that names the bound: the first gradient is already that of the smaller embedding."""
    config = settings("adam", float("inf"), iterations=9, update="descent", tau=0.5, embedding_upper_bound=0.5)
    found = []
    for named in (False, True):
        network, pairs = transformer_case(11)
        names = [block.name for block in find_blocks(network)]
        start = [0.5 if named and name == "embedding.weight" else 1.0 for name in names]
        state = State.starting(torch.tensor(start, dtype=torch.float64))
        found.append(learn_scales(network, token_loss, pairs, config, state=state))
    assert found[0].history == found[1].history and torch.equal(found[0].scales, found[1].scales)
    visited, place = torch.stack(found[0].trajectory), names.index("embedding.weight")
    assert visited[:, place].max() <= 0.5
    assert visited[0, torch.arange(len(names)) != place].min() > 0.5


def test_a_scale_that_hardly_matters_stays_with_descent_and_drifts_with_adam():
    def loss_fn(model, part):
        loss, size = token_loss(model, part)
        return loss + 1e-6 * size * model.further.sum(), size

    scales = {}
    for update in ("adam", "descent"):
        network, pairs = transformer_case(0)
        network.further = nn.Parameter(torch.ones(3, dtype=torch.float64))
        config = settings("adam", float("inf"), iterations=20, update=update)
        state = learn_scales(network, loss_fn, pairs, config)
        scales[update] = by_name(network, state)
    assert scales["adam"]["further"] < 0.7
    assert scales["descent"]["further"] == pytest.approx(1, abs=1e-5)
    assert abs(scales["descent"]["embedding.weight"] - 1) > 0.01


def test_gradients_of_the_parameters_are_left_alone():
    network, pairs = transformer_case(16)
    network.embedding.weight.grad = torch.ones_like(network.embedding.weight)
    learn_scales(network, token_loss, pairs, settings("adam", 12.0, iterations=3))
    assert torch.equal(network.embedding.weight.grad, torch.ones_like(network.embedding.weight))
    assert network.layers[0].linear1.weight.grad is None
