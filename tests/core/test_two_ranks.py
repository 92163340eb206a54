"""Two ranks that average their gradients learn what one process learns from the sentences of both."""

import pytest
import torch
from ranks import DTYPES, FORMS, SHARES, learned, on_two_ranks

from gradinit_mt.core.state import KINDS


@pytest.fixture(scope="module")
def ranks(tmp_path_factory):
    return on_two_ranks(tmp_path_factory.mktemp("ranks"))


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("form", FORMS)
def test_both_ranks_have_the_same_scales_and_parameters_bit_for_bit(ranks, form, dtype):
    (one, model), (other, copy) = (found[form, dtype] for found in ranks)
    assert torch.equal(one.scales, other.scales)
    assert one.history == other.history
    assert all(torch.equal(value, copy[name]) for name, value in model.items())


def test_the_published_form_equals_one_process_on_the_joined_batch(ranks):
    state, model = learned("paper", torch.float64, [slice(6)])
    found, parameters = ranks[0]["paper", torch.float64]
    assert {entry["kind"] for entry in found.history} == set(KINDS)
    torch.testing.assert_close(found.scales, state.scales, rtol=1e-6, atol=0)
    torch.testing.assert_close(parameters, model, rtol=1e-6, atol=1e-12)
    assert (state.scales - 1).abs().max() > 0.3, "the scales have moved"


def test_signal_preserving_gradinit_equals_one_process_that_accumulates_both_shares(ranks):
    """The signal is that of the sentences of a part, so that the parts must be the same."""
    state, model = learned("signal", torch.float64, SHARES)
    found, parameters = ranks[0]["signal", torch.float64]
    torch.testing.assert_close(found.scales, state.scales, rtol=1e-6, atol=0)
    torch.testing.assert_close(parameters, model, rtol=1e-6, atol=1e-12)
    assert (state.scales - 1).abs().max() > 0.3, "the scales have moved"
