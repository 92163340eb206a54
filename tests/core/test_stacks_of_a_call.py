"""The stacks of layers in ``gradinit()``: found in PyTorch's models, or given."""

import pytest
import torch
from calls import adam, batches, network
from networks import VOCABULARY, token_loss
from torch import nn

import gradinit_mt
from gradinit_mt.core.signal import SignalLoss, Stack, find_stacks, signal


def test_stacks_of_pytorch_are_found_with_their_padding():
    torch.manual_seed(0)
    model = nn.Transformer(8, 2, 2, 2, 16, dropout=0.0, batch_first=True)
    stacks = find_stacks(model)
    assert [stack.layers for stack in stacks] == [list(model.encoder.layers), list(model.decoder.layers)]
    source, target = torch.randn(3, 6, 8), torch.randn(3, 4, 8)
    pads = torch.zeros(3, 6, dtype=torch.bool), torch.zeros(3, 4, dtype=torch.bool)
    pads[0][0, 4:], pads[1][2, 3:] = True, True
    watcher = SignalLoss(stacks)
    with watcher.watching():
        model(source, target, src_key_padding_mask=pads[0], tgt_key_padding_mask=pads[1])
        found = [watcher.signals(None, index)[0].item() for index in (0, 1)]
    assert found == pytest.approx([signal(x, ~pad).item() for x, pad in zip((source, target), pads, strict=True)])
    assert found != pytest.approx([signal(x).item() for x in (source, target)])


def test_padding_is_found_where_the_states_are_time_first():
    """PyTorch's masks stay [batch, time]. In training the same layers give the same states in either order."""
    shares = []
    torch.manual_seed(1)
    source, padding = torch.randn(3, 6, 8), torch.arange(6) >= torch.tensor([[6], [4], [3]])
    for batch_first in (True, False):
        torch.manual_seed(0)
        model = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, batch_first=batch_first), 2)
        watcher = SignalLoss(find_stacks(model))
        with watcher.watching():
            model(source if batch_first else source.transpose(0, 1), src_key_padding_mask=padding)
            shares.append(torch.stack(watcher.signals(None, 0)))
    assert torch.allclose(*shares, rtol=1e-5)


def test_a_stack_that_the_loss_does_not_call_is_an_error_unless_others_are_given():
    model = network()
    model.teacher = nn.ModuleList([nn.TransformerEncoderLayer(8, 2, 16)]).requires_grad_(False)
    with pytest.raises(ValueError, match="stack 2 of 2, of 1 TransformerEncoderLayer, is not called by the loss: pass"):
        gradinit_mt.gradinit(model, token_loss, batches(), adam(model))
    gradinit_mt.gradinit(model, token_loss, batches(), adam(model), stacks=[Stack(list(model.layers))], iterations=1)


def test_layers_that_are_compiled_one_by_one_are_found_with_their_padding():
    torch.manual_seed(0)
    encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)
    states, padding = torch.randn(3, 6, 8), torch.arange(6) >= torch.tensor([[6], [4], [3]])
    shares = []
    for compiled in (False, True):
        if compiled:
            encoder.layers = nn.ModuleList([torch.compile(layer) for layer in encoder.layers])
        watcher = SignalLoss(find_stacks(encoder))
        with watcher.watching(), torch.compiler.set_stance("force_eager"):
            encoder.layers[0](states, src_key_padding_mask=padding)
            shares.append(watcher.signals(None, 0)[0].item())
    assert shares == [signal(states, ~padding).item()] * 2


def test_a_stack_that_is_not_called_from_its_first_layer_on_is_an_error():
    class Upwards(nn.Module):
        def __init__(self):
            super().__init__()
            self.layers = nn.ModuleList([nn.TransformerEncoderLayer(8, 2, 16) for _ in range(2)])

        def forward(self, states):
            for layer in reversed(self.layers):
                states = layer(states)
            return states

    model = Upwards()
    with pytest.raises(ValueError, match="stack 1 of 1, of 2 TransformerEncoderLayer, does not begin with its first"):
        gradinit_mt.gradinit(
            model, lambda model, batch: model(batch).square().mean(), [torch.randn(4, 3, 8)], adam(model)
        )


@pytest.mark.parametrize(
    ("stacks", "found"), [([], "nothing"), ([Stack([])], "Stack"), ([nn.Sequential(nn.ReLU())], "Sequential")]
)
def test_no_stack_an_empty_one_or_another_module_is_an_error(stacks, found):
    model = network()
    with pytest.raises(ValueError, match=f"stacks holds {found}, expected objects of gradinit_mt.core.Stack"):
        gradinit_mt.gradinit(model, token_loss, batches(), adam(model), stacks=stacks)


def test_a_layer_may_come_several_times_in_a_stack():
    model = network()
    first, second = model.layers
    model.layers = nn.ModuleList([first, first, second, first])
    tokens, _ = next(batches())
    watcher = SignalLoss(find_stacks(model))
    with watcher.watching():
        for _ in range(2):
            model(tokens)
        found = [share.item() for share in watcher.signals(None, 0)]
    states = [model.embedding(tokens)]
    for layer in model.layers:
        states.append(layer(states[-1]))
    assert found == [signal(x).item() for x in states]


def test_the_signal_of_given_stacks_counts():
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.inner, self.norm = nn.Linear(8, 8), nn.LayerNorm(8)

        def forward(self, x):
            return self.norm(x + self.inner(x).relu())

    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.embedding = nn.Embedding(VOCABULARY, 8)
            self.blocks = nn.Sequential(*(Residual() for _ in range(3)))
            self.softmax = nn.Linear(8, VOCABULARY)

        def forward(self, tokens):
            return self.softmax(self.blocks(self.embedding(tokens)))

    model = Plain()
    with pytest.raises(ValueError, match="Plain has no"):
        gradinit_mt.gradinit(model, token_loss, batches(), adam(model))
    stacks = [Stack(list(model.blocks), lambda batch: batch[0] != 0)]
    with pytest.raises(ValueError, match=r"no matrix in the stacks of layers is called .* use form='signal'"):
        gradinit_mt.gradinit(model, token_loss, batches(), adam(model), stacks=stacks)
    ahead = {}
    for weight in (None, 0.0, 0.2):
        torch.manual_seed(0)
        model = Plain()
        given = {"stacks": [Stack(list(model.blocks), lambda batch: batch[0] != 0)], "signal_weight": weight}
        given |= {"form": "signal", "iterations": 1}
        report = gradinit_mt.gradinit(model, token_loss, batches(), adam(model, lr=0.1), **given)
        ahead[report.config.signal_weight] = report.state.history[0]["ahead"]
    assert ahead.keys() == {0.5, 0.0, 0.2}
    lost = (ahead[0.2] - ahead[0.0]) / 0.2
    assert abs(lost) > 0.05
    assert (ahead[0.5] - ahead[0.0]) / 0.5 == pytest.approx(lost, rel=1e-3)
