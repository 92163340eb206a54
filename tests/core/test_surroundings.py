"""What surrounds the call: an autocast of the caller's, and the random stream that training continues with."""

import pytest
import torch
from networks import settings, tensors, token_loss, transformer_case

from gradinit_mt.core import learn_scales


def learned(precision: str, loss_fn=token_loss):
    network, pairs = transformer_case(0, torch.float32)
    config = settings("adam", float("inf"), iterations=5, precision=precision, update="descent", tau=0.5)
    return learn_scales(network, loss_fn, pairs, config), network


@pytest.mark.parametrize("precision", ["full", "bfloat16"])
def test_an_outer_autocast_changes_nothing(precision):
    """Otherwise it would keep low-precision copies of the initial parameters while the parameters move in place."""
    alone, _ = learned(precision)
    with torch.autocast("cpu", torch.bfloat16):
        inside, network = learned(precision)
        again = network.layers[0].linear1(torch.ones(1, 8))
    assert torch.equal(inside.scales, alone.scales)
    assert inside.history == alone.history
    with torch.autocast("cpu", torch.bfloat16):
        fresh = network.layers[0].linear1(torch.ones(1, 8))
    assert torch.equal(again, fresh), "what follows in the same autocast sees the learned values"


def test_an_autocast_of_the_loss_itself_is_kept_and_sees_every_step():
    """The loss's own autocast, alone and inside another one, gives the same as GradInit's at this precision."""

    def in_bfloat16(model, part):
        with torch.autocast("cpu", torch.bfloat16):
            return token_loss(model, part)

    expected, _ = learned("bfloat16")
    alone, _ = learned("full", in_bfloat16)
    with torch.autocast("cpu", torch.bfloat16):
        inside, _ = learned("full", in_bfloat16)
    assert torch.equal(alone.scales, expected.scales)
    assert torch.equal(inside.scales, expected.scales)


@pytest.mark.parametrize("failing", [False, True])
def test_the_random_stream_is_left_where_it_was(failing):
    def drawing(model, part):
        torch.rand(3)
        if failing:
            raise OSError("no more data")
        return token_loss(model, part)

    torch.manual_seed(3)
    expected = torch.rand(5)
    network, pairs = transformer_case(0)
    before = tensors(network)
    torch.manual_seed(3)
    if failing:
        with pytest.raises(OSError, match="no more data"):
            learn_scales(network, drawing, pairs, settings("adam", 12.0, iterations=2))
        assert all(torch.equal(value, before[name]) for name, value in tensors(network).items())
    else:
        learn_scales(network, drawing, pairs, settings("adam", 12.0, iterations=2))
    assert torch.equal(torch.rand(5), expected)
