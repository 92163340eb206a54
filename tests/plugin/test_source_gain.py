"""The source gain: exact cases with models that ignore their source, or copy it."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from gradinit_mt.plugin.source_gain import source_gain, with_other_sources

TYPES = 7


class Copying(nn.Module):
    """Gives the source token at each position the logit ``strength``, all others 0."""

    def __init__(self, strength):
        super().__init__()
        self.strength = strength

    def forward(self, src_tokens, src_lengths):
        return self.strength * nn.functional.one_hot(src_tokens, TYPES).double()


def criterion(model, sample):
    logits = model(**sample["net_input"])
    loss = nn.functional.cross_entropy(logits.flatten(0, 1), sample["target"].flatten(), reduction="sum")
    return loss, len(sample["id"]), {}  # sizes in sentences, as with --sentence-avg


def samples():
    """Targets equal to their sources; no source shares a token with the next one at the same position."""
    for start in (0, 1):
        tokens = torch.arange(start, start + 3)[:, None].expand(3, 4)
        inputs = {"src_tokens": tokens, "src_lengths": torch.full((3,), 4)}
        yield {"id": torch.arange(3), "net_input": inputs, "target": tokens, "ntokens": 12}


def test_a_model_that_ignores_its_source_gains_nothing():
    result = source_gain(Copying(0.0), criterion, samples())
    assert result.gain == 0
    assert result.loss == pytest.approx(math.log2(TYPES))


def test_a_model_that_copies_loses_its_logit_with_the_wrong_source():
    """Right source: log-sum - s; wrong source: log-sum. The gain is s nats."""
    result = source_gain(Copying(3.0), criterion, samples())
    assert result.gain == pytest.approx(3 / math.log(2))


def test_targets_move_by_one_sentence_and_sources_keep_the_order_of_their_lengths():
    sample = next(samples())
    sample["net_input"]["prev_output_tokens"] = sample["target"] + 3
    other = with_other_sources(sample)
    assert other["target"][:, 0].tolist() == [1, 2, 0]
    assert other["net_input"]["prev_output_tokens"][:, 0].tolist() == [4, 5, 3]
    for name in ("src_tokens", "src_lengths"):
        assert other["net_input"][name] is sample["net_input"][name]
    assert sample["target"][:, 0].tolist() == [0, 1, 2]


def test_a_batch_of_one_sentence_is_not_enough():
    lone = {"id": torch.arange(1), "net_input": SimpleNamespace()}
    with pytest.raises(ValueError, match="no sample has two sentences"):
        source_gain(Copying(1.0), criterion, [lone])
