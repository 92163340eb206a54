"""Learning that is interrupted, fails or is refused: what is kept, restored and reported."""

import itertools

import pytest
import torch
from networks import convolution_case, settings, tensors, three_parts, token_loss, transformer_case
from torch import nn

from gradinit_mt.core import GradInitError, State, find_blocks, learn_scales


def test_a_held_tensor_that_is_not_trained_is_an_error():
    network, pairs = transformer_case(10)
    network.embedding.weight.requires_grad_(False)
    with pytest.raises(ValueError, match=r"held: Linear.weight is not a trainable tensor of the model"):
        learn_scales(network, token_loss, pairs, settings("adam", 1e9), held=[(network.softmax, "weight")])


@pytest.mark.parametrize("stop", [1, 13, 20])
def test_an_interrupted_run_resumes_as_if_it_had_not_stopped(case, mixed, stop):
    config = settings("adam", mixed("adam"), iterations=20)
    network, pairs = case(12)
    batches = list(itertools.islice(pairs, 20))
    whole = learn_scales(network, token_loss, batches, config)

    network, _ = case(12)
    before = tensors(network)
    state = State.fresh(len(find_blocks(network)))

    def interrupt(now):
        if now.iteration == stop:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        learn_scales(network, token_loss, batches, config, state=state, on_iteration=interrupt)
    assert all(torch.equal(value, before[name]) for name, value in tensors(network).items())
    rest = learn_scales(network, token_loss, batches[stop:], config, state=state)
    assert torch.equal(rest.scales, whole.scales)
    assert rest.history == whole.history


def test_the_time_of_all_starts_counts(monkeypatch):
    """By a clock that moves one second whenever it is read: at the start, and after each iteration."""
    monkeypatch.setattr("time.perf_counter", itertools.count().__next__)
    network, pairs = transformer_case(12)
    state = State.fresh(len(find_blocks(network)))
    for iterations in (3, 5):
        learn_scales(network, token_loss, pairs, settings("adam", 1e9, iterations=iterations), state=state)
        assert state.seconds == iterations


def test_an_error_in_a_batch_keeps_the_iteration_before_it(case, mixed):
    config = settings("adam", mixed("adam"), iterations=20)
    network, pairs = case(12)
    batches = list(itertools.islice(pairs, 20))
    whole = learn_scales(network, token_loss, batches, config)
    network, _ = case(12)
    state = State.fresh(len(find_blocks(network)))
    reported = []
    with pytest.raises(ValueError, match="S and S~ need at least one part each"):
        learn_scales(
            network,
            token_loss,
            [*batches[:7], ([], [])],
            config,
            state=state,
            on_iteration=lambda now: reported.append(now.iteration),
        )
    assert state.iteration == 7
    assert reported == [1, 2, 3, 4, 5, 6, 7]
    rest = learn_scales(network, token_loss, batches[7:], config, state=state)
    assert torch.equal(rest.scales, whole.scales)


def test_a_derivative_that_is_not_finite_stops_though_every_loss_is():
    class Steep(torch.autograd.Function):
        """x, with an infinite derivative."""

        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, grad):
            return grad * float("inf")

    network, pairs = transformer_case(13, torch.float32)
    before = tensors(network)

    def steep(model, part):
        loss, size = token_loss(model, part)
        return Steep.apply(loss), size

    with pytest.raises(
        GradInitError, match=r"iteration 1: the derivative of a scale is (nan|-?inf) .*No scale has moved"
    ):
        learn_scales(network, token_loss, pairs, settings("adam", 1e9, iterations=3), ahead_loss_fn=steep)
    assert all(torch.equal(value, before[name]) for name, value in tensors(network).items())


def test_a_non_finite_loss_stops_with_the_iteration_and_restores_the_model():
    network, pairs = transformer_case(13, torch.float32)
    before = tensors(network)
    calls = itertools.count()

    def loss_fn(model, part):
        loss, size = token_loss(model, part)
        return loss * (float("nan") if next(calls) == 5 else 1.0), size

    with pytest.raises(GradInitError, match=r"iteration 3: .*nan.*gradient norm.*smaller tau"):
        learn_scales(network, loss_fn, pairs, settings("adam", 1e9))
    assert all(torch.equal(value, before[name]) for name, value in tensors(network).items())


def test_an_error_in_the_loss_restores_the_model_and_a_held_tie():
    network, pairs = transformer_case(14)
    before = tensors(network)
    calls = itertools.count()

    def loss_fn(model, part):
        if next(calls) == 3:  # inside the look-ahead step, with parameters moved
            raise OSError("no more data")
        return token_loss(model, part)

    with pytest.raises(OSError, match="no more data"):
        learn_scales(network, loss_fn, pairs, settings("adam", 1e9), held=[(network.softmax, "weight")])
    assert network.softmax.weight is network.embedding.weight
    assert all(torch.equal(value, before[name]) for name, value in tensors(network).items())


def test_parts_that_cannot_be_divided_among_the_steps_are_an_error():
    network, pairs = transformer_case(2)
    with pytest.raises(ValueError, match="S has 3 parts, expected a multiple of the 2 look-ahead steps"):
        learn_scales(network, token_loss, three_parts(pairs), settings("adam", 1e9, look_ahead=2))


def test_too_few_batches_is_an_error_and_restores_the_model():
    network, pairs = transformer_case(15)
    with pytest.raises(GradInitError, match="ended after iteration 2 of 50"):
        learn_scales(network, token_loss, itertools.islice(pairs, 2), settings("adam", 12.0))


@pytest.mark.parametrize("failing", [False, True])
def test_running_statistics_are_left_alone(failing):
    """In training mode every forward pass updates them; they would belong to scales that no longer apply."""
    network, pairs = convolution_case(17)
    network = nn.Sequential(nn.BatchNorm2d(1, dtype=torch.float64), network).train()
    network[0].running_mean.fill_(0.25)
    buffers = {name: b.clone() for name, b in network.named_buffers()}
    config = settings("sgd", 0.25, iterations=3)
    if failing:
        with pytest.raises(GradInitError):
            learn_scales(network, token_loss, itertools.islice(pairs, 2), config)
    else:
        learn_scales(network, token_loss, pairs, config)
    assert all(torch.equal(b, buffers[name]) for name, b in network.named_buffers())


class Counting(nn.Module):
    """Buffers that a module replaces, enlarges with its own count of their size, and cannot write to."""

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.zeros(2))
        self.register_buffer("table", torch.zeros(1))
        self.register_buffer("view", torch.ones(1).expand(3))
        self.entries = 1

    def forward(self, x):
        self.mean = 0.9 * self.mean + 0.1
        self.entries = 5
        self.table = torch.zeros(self.entries)
        return x


def test_replaced_buffers_are_put_back_unless_they_have_another_shape():
    network, pairs = convolution_case(17)
    network = nn.Sequential(Counting(), network)
    mean = network[0].mean
    learn_scales(network, token_loss, pairs, settings("sgd", 0.25, iterations=2))
    assert network[0].mean is mean and mean.tolist() == [0.0, 0.0]
    assert len(network[0].table) == network[0].entries


def test_half_precision_and_nothing_to_train_are_refused():
    with pytest.raises(ValueError, match=r"weight is torch.bfloat16: cast the model to float32"):
        find_blocks(nn.Linear(2, 2).to(torch.bfloat16))
    with pytest.raises(ValueError, match="no trainable parameter"):
        find_blocks(nn.Linear(2, 2).requires_grad_(False))
