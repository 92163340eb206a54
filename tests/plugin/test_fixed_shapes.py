"""Batches in tensors of a fixed shape."""

import pytest
import torch

from gradinit_mt.plugin.fixed_shapes import FixedBatch, rounded_up, shape_of

PAD, END = 1, 2


def sample(sentences, source, target):
    def tokens(length):
        return torch.randint(4, 40, (sentences, length))

    inputs = {"src_tokens": tokens(source), "src_lengths": torch.full((sentences,), source)}
    return {"net_input": inputs | {"prev_output_tokens": tokens(target)}, "target": tokens(target), "ntokens": 5}


def test_sizes_are_rounded_up_by_less_than_an_eighth_to_few_different_ones():
    found = [rounded_up(size) for size in range(1, 5000)]
    assert found[:9] == [8] * 8 + [16]
    assert all(size <= up < max(size + 8, size * 9 / 8) for size, up in enumerate(found, start=1))
    assert [rounded_up(up) for up in found] == found
    assert len(set(found)) < 64


@pytest.mark.parametrize("left", [True, False])
def test_a_batch_lies_in_a_corner_and_the_rest_is_padding(left):
    batch = FixedBatch((5, 8, 7), PAD, END, left, torch.device("cpu"))
    batch.fill(sample(5, 8, 7))  # whose tokens must be gone afterwards
    given = sample(3, 4, 6)
    places = batch.sample["net_input"]["src_tokens"].data_ptr()
    batch.fill(given)
    source = batch.sample["net_input"]["src_tokens"]
    assert source.data_ptr() == places
    assert shape_of(batch.sample) == (5, 8, 7)
    corner, rest = (slice(4, 8), slice(0, 4)) if left else (slice(0, 4), slice(4, 8))
    assert torch.equal(source[:3, corner], given["net_input"]["src_tokens"])
    assert (source[:3, rest] == PAD).all()
    assert sorted(source[4].tolist()) == [PAD] * 7 + [END]
    assert source[4, -1 if left else 0] == END
    for ours, theirs in ((batch.sample, given), (batch.sample["net_input"], given["net_input"])):
        for name in ("target", "prev_output_tokens"):
            if name in ours:
                assert torch.equal(ours[name][:3, :6], theirs[name])
                assert (ours[name][3:] == PAD).all()
                assert (ours[name][:, 6:] == PAD).all()
    assert batch.sample["net_input"]["src_lengths"].tolist() == [4, 4, 4, 1, 1]
