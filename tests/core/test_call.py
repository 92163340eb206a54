"""``gradinit()``: it reads the optimizer, splits batches and restores modes."""

from collections import UserDict
from typing import NamedTuple

import pytest
import torch
import torch.nn.functional as F
from calls import adam, batches, network
from networks import tensors, token_loss
from torch import nn

import gradinit_mt
from gradinit_mt.core import GradInitConfig, GradInitError, find_blocks, learn_scales
from gradinit_mt.core.batches import overlapping_halves, seeded

WITHOUT_STACKS = {"form": "signal", "signal_weight": 0.0, "iterations": 2}


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (adam, {"step": "adam", "eta": 0.01, "step_betas": (0.8, 0.9), "step_eps": 1e-6, "signal_weight": 0.5}),
        (lambda m: torch.optim.AdamW(m.parameters(), lr=1e-3), {"step": "adam", "eta": 1e-3, "signal_weight": 0.25}),
        (lambda m: torch.optim.SGD(m.parameters(), lr=0.1, momentum=0.7), {"step": "sgd", "step_momentum": 0.7}),
    ],
)
def test_the_settings_follow_the_optimizer(make, expected):
    model = network()
    report = gradinit_mt.gradinit(model, token_loss, batches(), make(model), iterations=2)
    assert {name: getattr(report.config, name) for name in expected} == expected
    assert report.state.iteration == 2
    assert list(report.scales) == [block.name for block in find_blocks(model)]
    assert list(report.scales.values()) == report.state.scales.tolist()


def test_it_learns_what_learn_scales_learns_from_the_same_parts():
    model = network()
    config = GradInitConfig("adam", 0.01, float("inf"), look_ahead=1, iterations=4, update="descent", tau=0.5)
    parts = []
    for number, (tokens, targets) in enumerate(batches(4)):
        s, t = overlapping_halves(12, seeded(7, number))
        parts.append(([(tokens[s], targets[s])], [(tokens[t], targets[t])]))
    expected = learn_scales(model, token_loss, parts, config)
    model = network()
    given = {"look_ahead": 1, "iterations": 4, "signal_weight": 0.0, "lower_bound": 0.01, "upper_bound": 100.0}
    given |= {"vector_lower_bound": 0.01, "vector_upper_bound": 100.0}
    report = gradinit_mt.gradinit(model, token_loss, list(batches(4)), adam(model), form="signal", seed=7, **given)
    assert torch.equal(report.state.scales, expected.scales)


def test_a_mean_loss_counts_examples():
    """With targets of one length the mean over tokens is the mean over examples."""

    def mean_loss(model, batch):
        tokens, targets = batch
        return F.cross_entropy(model(tokens).flatten(0, -2), targets.flatten())

    scales = []
    for loss_fn in (token_loss, mean_loss):
        model = network()
        # not Adam: its first step is a sign, which would amplify rounding errors of zero gradients
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        # no signal: it is computed in float32
        report = gradinit_mt.gradinit(model, loss_fn, batches(), optimizer, iterations=3, signal_weight=0.0)
        scales.append(report.state.scales)
    assert torch.allclose(*scales, rtol=1e-9)
    moved = report.state.trajectory[-1] - report.state.trajectory[0]
    assert moved.abs().max() > 0.05


class Pair(NamedTuple):
    source: torch.Tensor
    target: torch.Tensor


@pytest.mark.parametrize(
    ("shaped", "plain", "dim"),
    [
        (Pair._make, tuple, 0),
        (list, tuple, 0),
        (lambda pair: {"a": pair[0], "b": {"c": pair[1]}}, lambda batch: (batch["a"], batch["b"]["c"]), 0),
        (lambda pair: UserDict(a=pair[0], b=pair[1], c=None), lambda batch: (batch["a"], batch["b"]), 0),
        (lambda pair: (pair[0].t(), pair[1].t()), lambda pair: (pair[0].t(), pair[1].t()), 1),
    ],
    ids=["named tuple", "list", "dicts", "mapping", "second dimension"],
)
def test_batches_come_in_many_shapes(shaped, plain, dim):
    """Three batches are enough for five iterations."""
    scales = []
    for given, loss_fn, dimension in (
        (batches(3), token_loss, 0),
        (map(shaped, batches(3)), lambda model, batch: token_loss(model, plain(batch)), dim),
    ):
        model = network()
        report = gradinit_mt.gradinit(model, loss_fn, list(given), adam(model), iterations=5, batch_dim=dimension)
        scales.append(report.state.scales)
    assert torch.equal(*scales)


def test_dropout_is_off_and_modes_and_random_stream_are_restored():
    model = network()
    model.layers[0].dropout.p = 0.9
    model.train()
    model.layers[1].eval()
    seen = []

    def loss_fn(model, batch):
        seen.append(model.layers[0].training)
        return token_loss(model, batch)

    torch.manual_seed(5)
    gradinit_mt.gradinit(model, loss_fn, batches(), adam(model), iterations=2)
    assert not any(seen)
    assert model.layers[0].training and model.training and not model.layers[1].training
    drawn = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(drawn, torch.rand(1))


def test_a_default_device_of_the_caller_changes_nothing():
    """The tensors of learning are on the CPU or with the model, and the generator of batches is on the CPU."""
    scales = []
    for device in ("cpu", "meta"):
        model, given = network(), list(batches(2))
        optimizer = adam(model)
        with torch.device(device):
            report = gradinit_mt.gradinit(model, token_loss, given, optimizer, iterations=2)
        scales.append(report.state.scales)
    assert torch.equal(*scales)


@pytest.mark.parametrize("in_training", [True, False])
def test_statistics_are_those_of_training(in_training):
    """Of the batch or the example; those of a frozen module are its running ones."""
    seen = set()

    def loss_fn(model, batch):
        seen.add(tuple(module.training for module in model[1:5]))
        return model(batch).square().mean()

    parts = (nn.BatchNorm1d(6), nn.InstanceNorm1d(6, track_running_stats=True), nn.BatchNorm1d(6), nn.Dropout())
    model = nn.Sequential(nn.Conv1d(2, 6, 1), *parts).train(in_training)
    model[3].eval()
    modes = [module.training for module in model]
    gradinit_mt.gradinit(model, loss_fn, [torch.randn(6, 2, 3)], adam(model), **WITHOUT_STACKS)
    assert seen == {(True, True, not in_training, False)}
    assert [module.training for module in model] == modes


def test_recurrent_layers_stay_in_training_mode_without_their_dropout():
    """cuDNN has no derivatives in evaluation mode."""
    torch.manual_seed(0)
    model = nn.LSTM(3, 4, num_layers=2, dropout=0.9)
    seen = []

    def loss_fn(model, batch):
        seen.append((model.training, model.dropout))
        return model(batch)[0].square().mean()

    gradinit_mt.gradinit(model, loss_fn, [torch.randn(6, 5, 3)], adam(model), **WITHOUT_STACKS)
    assert set(seen) == {(True, 0.0)}
    assert model.training and model.dropout == 0.9


def test_frozen_layers_of_pytorch_compute_what_they_compute_in_training():
    """In evaluation mode they have another way, which returns 0 at padding."""
    torch.manual_seed(0)
    layer = nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=True)
    model = nn.ModuleDict({"encoder": nn.TransformerEncoder(layer, 2).requires_grad_(False), "head": nn.Linear(8, 1)})
    states, padding = torch.randn(6, 5, 8), torch.arange(5).ge(3).expand(6, 5).clone()
    seen = []

    def loss_fn(model, batch):
        x = model["encoder"](batch[0], src_key_padding_mask=batch[1])
        seen.append((batch, x))
        return model["head"](x).square().mean()

    optimizer = torch.optim.SGD(model["head"].parameters(), 0.1)
    gradinit_mt.gradinit(model, loss_fn, [(states, padding)], optimizer, look_ahead=1, iterations=1)
    batch, x = seen[0]
    assert model.training
    assert torch.allclose(x, model["encoder"](batch[0], src_key_padding_mask=batch[1]), atol=1e-6)
    assert torch.backends.mha.get_fastpath_enabled()


def test_a_compiled_model_learns_what_it_learns_uncompiled():
    """Compiled before, it would not call the hooks by which the signal is measured."""
    scales = []
    for compiled in (False, True):
        model = network()
        if compiled:
            model.compile(backend="eager")
            token_loss(model, next(batches()))
        scales.append(gradinit_mt.gradinit(model, token_loss, batches(), adam(model), iterations=2).state.scales)
    assert torch.equal(*scales)


@pytest.mark.parametrize("form", ["signal", "branches"])
def test_an_interrupted_call_resumes_from_its_state(form):
    model, settings = network(), {"form": form, "iterations": 6}
    whole = gradinit_mt.gradinit(model, token_loss, list(batches(9)), adam(model), **settings)
    model = network()
    kept = []

    def interrupt(now):
        kept[:] = [now]
        if now.iteration == 3:
            raise KeyboardInterrupt

    before = tensors(model)
    with pytest.raises(KeyboardInterrupt):
        gradinit_mt.gradinit(model, token_loss, list(batches(9)), adam(model), on_iteration=interrupt, **settings)
    [state] = kept
    assert state.iteration == 3
    assert all(torch.equal(value, before[name]) for name, value in tensors(model).items())
    rest = gradinit_mt.gradinit(model, token_loss, list(batches(9)), adam(model), state=state, **settings)
    assert rest.state is state
    assert torch.equal(rest.state.scales, whole.state.scales)


def test_ranks_learn_together_by_the_sum_that_they_are_given():
    """The other rank is a stand-in with the same sentences."""
    scales, sums = [], []

    def all_reduce(tensor):
        sums.append(len(tensor))
        tensor.mul_(2)

    for given in (None, all_reduce):
        model = network()
        report = gradinit_mt.gradinit(
            model, token_loss, batches(), adam(model), iterations=2, look_ahead=1, all_reduce=given
        )
        scales.append(report.state.scales)
    assert len(sums) == 2 * 2, "two gradients in each iteration"
    assert torch.allclose(*scales, rtol=1e-9)


def test_a_share_without_targets_counts_nothing():
    """Each of the eight steps sees one sentence, and three of four sentences have no target."""
    tokens, targets = torch.ones(12, 3, dtype=torch.long), torch.arange(12)[:, None].expand(12, 3) % 4

    def masked(model, batch):
        tokens, targets = (part.flatten(0, 1) for part in batch)
        kept = targets == 0
        return F.cross_entropy(model(tokens[:, None])[:, 0][kept], targets[kept], reduction="sum"), int(kept.sum())

    def mean(model, batch):
        loss, size = masked(model, batch)
        return loss / size

    given = {"look_ahead": 8, "iterations": 6, "signal_weight": 0.0}
    model = network()
    report = gradinit_mt.gradinit(model, masked, [(tokens, targets)], adam(model), **given)
    losses = [entry["loss"] for entry in report.state.history]
    assert min(losses) == 0 < max(losses)
    model = network()
    with pytest.raises(GradInitError, match=r"the loss is nan .* use larger batches, or return the summed loss"):
        gradinit_mt.gradinit(model, mean, [(tokens, targets)], adam(model), **given)


def test_what_a_module_does_between_its_modes_is_left_alone():
    """Such as the merging of weights into others in eval(), which assigning the mode back would not undo."""

    class Merging(nn.Module):
        def train(self, mode=True):
            self.merged = not mode
            return super().train(mode)

    model = network()
    model.adapter = Merging().train()
    gradinit_mt.gradinit(model, token_loss, batches(), adam(model), iterations=1)
    assert (model.adapter.training, model.adapter.merged) == (True, False)


def test_a_view_of_nan_among_the_buffers_is_no_error():
    model = network()
    model.register_buffer("unused", torch.full((1,), torch.nan).expand(5))
    gradinit_mt.gradinit(model, token_loss, batches(), adam(model), iterations=1)
    assert model.unused.isnan().all()
