"""What ``gradinit()`` refuses: wrappers, optimizers, losses and batches that it cannot learn from."""

import pytest
import torch
from calls import adam, batches, network
from networks import token_loss
from torch import nn

import gradinit_mt
from gradinit_mt.core import GradInitError, find_blocks


@pytest.mark.parametrize(
    ("shared", "message"),
    [
        (torch.ones(20, 20), r"shapes \[12, 5\], \[20, 20\], expected the same number of examples along dimension 0"),
        (torch.tensor(5), r"shapes \[12, 5\], \[\], expected the same number of examples"),
        (["a text"], "a batch is or holds a str, expected a tensor"),
        (5, "a batch is or holds a int, expected a tensor"),
    ],
)
def test_a_batch_that_cannot_be_split_is_an_error(shared, message):
    """The first rows of a mask that all sentences share are no examples."""
    model = network()
    given = [(tokens, shared) for tokens, _ in batches(1)]
    with pytest.raises(ValueError, match=message):
        gradinit_mt.gradinit(model, token_loss, given, adam(model))


class Lion(torch.optim.Optimizer):
    """Has betas, but no epsilon."""


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: torch.optim.RAdam(m.parameters()), "choose the steps to look ahead, step='adam' or step='sgd'"),
        (lambda m: torch.optim.Adagrad(m.parameters()), "not those of Adagrad: choose the steps to look ahead"),
        (lambda m: Lion(m.parameters(), {"lr": 0.1, "betas": (0.9, 0.99)}), "not those of Lion: choose the steps"),
        (lambda m: adam(m, maximize=True), "the optimizer maximizes, and GradInit lowers the loss"),
        (lambda m: torch.optim.SGD(m.parameters(), 0.1, 0.9, dampening=0.9), "not those of SGD with dampening"),
        (
            lambda m: torch.optim.Adam(
                [{"params": m.layers.parameters(), "betas": (0.9, 0.9)}, {"params": [m.embedding.weight]}]
            ),
            "not those of Adam with different betas in its groups",
        ),
        (
            lambda m: torch.optim.Adam(
                [{"params": m.layers.parameters(), "eps": 1e-6}, {"params": [m.embedding.weight]}]
            ),
            "not those of Adam with different eps in its groups",
        ),
        (
            lambda m: torch.optim.SGD(
                [{"params": m.layers.parameters(), "momentum": 0.9}, {"params": [m.embedding.weight]}], 0.1
            ),
            "not those of SGD with different momentum in its groups",
        ),
        (lambda m: adam(m.layers), "the optimizer does not hold embedding.weight: give it all trainable tensors"),
        (lambda m: adam(m, lr=0.0), "eta is 0.0, expected a finite number above 0; it follows the learning rate"),
        (
            lambda m: torch.optim.SGD(
                [{"params": m.layers.parameters(), "lr": 1.0}, {"params": [m.embedding.weight]}], 0.1
            ),
            r"the optimizer's groups have learning rates \[0.1, 1.0\]",
        ),
    ],
)
def test_an_optimizer_that_does_not_fit_is_an_error(change, message):
    model = network()
    with pytest.raises(ValueError, match=message):
        gradinit_mt.gradinit(model, token_loss, batches(), change(model))


@pytest.mark.parametrize(
    ("made", "shown"),
    [
        (lambda loss: loss[None], r"tensor of shape \[1\]"),
        (lambda loss: (loss, 2, 3), r"\(tensor of shape \[\], int, int\)"),
        (lambda loss: (loss, loss.new_ones(2, 3)), r"\(tensor of shape \[\], tensor of shape \[2, 3\]\)"),
        (lambda loss: (loss, None), r"\(tensor of shape \[\], NoneType\)"),
        (lambda loss: (loss, -2), r"\(tensor of shape \[\], int\)"),
        (lambda loss: {"loss": loss, "size": 2}, "dict"),
        (lambda loss: loss.item(), "float"),
    ],
)
def test_a_loss_function_that_returns_something_else_is_an_error(made, shown):
    model = network()
    with pytest.raises(ValueError, match=f"loss_fn returns a {shown}, expected the mean loss, a tensor"):
        gradinit_mt.gradinit(model, lambda model, batch: made(token_loss(model, batch)[0]), batches(), adam(model))


def test_a_loss_that_is_not_finite_from_the_start_is_not_blamed_on_the_scales():
    model = network()
    with pytest.raises(GradInitError, match=r"iteration 1: .* is nan .* No scale has moved yet: check the loss"):
        gradinit_mt.gradinit(model, lambda model, batch: model(batch[0]).mean() * torch.nan, batches(), adam(model))


class InProcesses(nn.Sequential):
    """Stands for DistributedDataParallel, in two processes."""

    static_graph = False


@pytest.fixture
def two_processes(monkeypatch):
    monkeypatch.setattr("gradinit_mt.core.call.DistributedDataParallel", InProcesses)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)


@pytest.mark.parametrize("outside", [nn.Identity, nn.Sequential], ids=["alone", "in another wrapper"])
@pytest.mark.usefixtures("two_processes")
def test_several_processes_of_one_model_need_their_sum(outside):
    """Without it each would learn from its own batches alone."""
    model = InProcesses(network())
    model = nn.Sequential(model) if outside is nn.Sequential else model
    with pytest.raises(
        ValueError, match=r"would learn different scales: pass all_reduce=torch\.distributed\.all_reduce"
    ):
        gradinit_mt.gradinit(model, token_loss, batches(), adam(model))
    gradinit_mt.gradinit(model, token_loss, batches(), adam(model), all_reduce=lambda x: None, iterations=1)


@pytest.mark.usefixtures("two_processes")
def test_wrappers_that_gradinit_would_spoil_are_refused():
    model = InProcesses(network())
    model.static_graph = True
    with pytest.raises(ValueError, match="static_graph, which would no longer synchronize: call GradInit on the model"):
        gradinit_mt.gradinit(model, token_loss, batches(), adam(model), all_reduce=lambda x: None)
    sharded = type("FullyShardedDataParallel", (nn.Sequential,), {})(network())
    with pytest.raises(ValueError, match="the model is sharded, and GradInit scales whole tensors"):
        gradinit_mt.gradinit(sharded, token_loss, batches(), adam(sharded), all_reduce=lambda x: None)


def test_sparse_gradients_are_refused():
    model = network()
    model.embedding = nn.Embedding(11, 8, sparse=True)
    model.embedding.weight.requires_grad = False
    assert find_blocks(model), "one that is frozen has none"
    model.embedding.weight.requires_grad = True
    with pytest.raises(ValueError, match="embedding has sparse gradients, GradInit needs dense ones"):
        gradinit_mt.gradinit(model, token_loss, batches(), torch.optim.SGD(model.parameters(), 0.1))


def test_an_unknown_form_is_an_error_that_names_the_forms():
    model = network()
    with pytest.raises(ValueError, match="form is 'sginal', expected branches, signal or paper"):
        gradinit_mt.gradinit(model, token_loss, batches(), adam(model), form="sginal")


def test_a_trained_optimizer_a_model_without_layers_and_batches_without_tensors_are_errors():
    model = network()
    optimizer = adam(model)
    token_loss(model, next(batches()))[0].backward()
    optimizer.step()
    with pytest.raises(ValueError, match="the optimizer has taken steps: GradInit is for a new model"):
        gradinit_mt.gradinit(model, token_loss, batches(), optimizer)
    plain = nn.Sequential(nn.Linear(2, 2))
    with pytest.raises(ValueError, match=r"Sequential has no nn.ModuleList of .*: pass its layers, as in stacks="):
        gradinit_mt.gradinit(plain, token_loss, batches(), adam(plain))
    with pytest.raises(ValueError, match="a batch is or holds a str, expected a tensor, or tuples, lists and dicts"):
        gradinit_mt.gradinit(model, token_loss, ["text"], adam(model))
