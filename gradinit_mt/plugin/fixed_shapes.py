"""Batches padded to a few shapes, in tensors that stay where they are."""

from typing import Any

import torch
from torch import Tensor

Shape = tuple[int, int, int]  # sentences, source length, target length

_SMALLEST = 8  # sizes are multiples of it
_PARTS = 8  # a larger size is rounded up by less than this part of itself


def shape_of(sample: dict) -> Shape:
    """The shape of a batch as fairseq's translation datasets collate it."""
    sentences, source = sample["net_input"]["src_tokens"].shape
    return sentences, source, sample["target"].shape[1]


def rounded_up(size: int) -> int:
    """A size of a few: the next multiple of 8, from 128 on of 16, from 256 on of 32, and so on."""
    step = max(_SMALLEST, 2 ** (size.bit_length() - 1) // _PARTS)
    return -(-size // step) * step


def fixed_shape(sample: dict) -> Shape:
    """The smallest of the shapes that batches are padded to in which a batch fits."""
    sentences, source, target = shape_of(sample)
    return rounded_up(sentences), rounded_up(source), rounded_up(target)


class FixedBatch:
    """Takes batches of up to one shape; what is left of it is padding, which changes neither loss nor gradient.

    Attributes:
        sample: as fairseq's translation datasets collate it; ``fill`` changes its tensors in place. ``ntokens``, which
            is not a tensor, stays 0.
    """

    def __init__(self, shape: Shape, padding: int, end: int, left_pad_source: bool, device: torch.device) -> None:
        """Args: ``padding``, ``end``: indices of these symbols; ``left_pad_source``: pad the sources on the left."""
        sentences, source, target = shape
        self._padding, self._end, self._left = padding, end, left_pad_source

        def tokens(length: int) -> Tensor:
            return torch.full((sentences, length), padding, device=device)

        inputs = {"src_tokens": tokens(source), "src_lengths": torch.ones(sentences, dtype=torch.int64, device=device)}
        inputs["prev_output_tokens"] = tokens(target)
        self.sample: dict[str, Any] = {"net_input": inputs, "target": tokens(target), "ntokens": 0}

    def fill(self, sample: dict) -> None:
        """Takes the tensors of a batch, which is at most as large in every respect."""
        inputs, own = sample["net_input"], self.sample["net_input"]
        self._copy(inputs["src_tokens"], own["src_tokens"], self._left)
        # a sentence without any token would attend to nothing
        own["src_tokens"][len(inputs["src_tokens"]) :, -1 if self._left else 0] = self._end
        own["src_lengths"].fill_(1)[: len(inputs["src_lengths"])] = inputs["src_lengths"]
        self._copy(inputs["prev_output_tokens"], own["prev_output_tokens"])
        self._copy(sample["target"], self.sample["target"])

    def _copy(self, tokens: Tensor, into: Tensor, left: bool = False) -> None:
        sentences, length = tokens.shape
        into.fill_(self._padding)
        into[:sentences, into.shape[1] - length if left else 0 :][:, :length] = tokens
