"""Batches padded to a few shapes, in tensors that stay where they are."""

from typing import Any

import torch
from torch import Tensor

Shape = tuple[int, int, int]  # sentences, source length, target length

_SMALLEST = 8  # sizes are multiples of it
_PARTS = 8  # a size above 64 grows by less than one eighth


def shape_of(sample: dict) -> Shape:
    """The shape of a batch as fairseq's translation datasets collate it."""
    sentences, source = sample["net_input"]["src_tokens"].shape
    return sentences, source, sample["target"].shape[1]


def rounded_up(size: int) -> int:
    """The next multiple of 8; of 16 from 128 on, of 32 from 256 on, and so forth, so that there are few sizes."""
    step = max(_SMALLEST, 2 ** (size.bit_length() - 1) // _PARTS)
    return -(-size // step) * step


def fixed_shape(sample: dict) -> Shape:
    """The shape that a batch is padded to: each of its sizes rounded up."""
    sentences, source, target = shape_of(sample)
    return rounded_up(sentences), rounded_up(source), rounded_up(target)


class FixedBatch:
    """Holds one batch at a time, of up to one shape. The rest is padding, which changes neither loss nor gradient.

    Attributes:
        sample: as fairseq's translation datasets collate it; ``fill`` changes its tensors in place. ``ntokens``, which
            is not a tensor, stays 0.
    """

    def __init__(self, shape: Shape, padding: int, end: int, left_pad_source: bool, device: torch.device) -> None:
        """An empty batch.

        Args:
            shape: of all batches.
            padding: the index of this symbol.
            end: the same, for the end of a sentence.
            left_pad_source: whether sources are padded on the left, as in fairseq.
            device: of the tensors.
        """
        sentences, source, target = shape
        self._padding, self._end, self._left = padding, end, left_pad_source

        def tokens(length: int) -> Tensor:
            return torch.full((sentences, length), padding, device=device)

        inputs = {"src_tokens": tokens(source), "src_lengths": torch.ones(sentences, dtype=torch.int64, device=device)}
        inputs["prev_output_tokens"] = tokens(target)
        self.sample: dict[str, Any] = {"net_input": inputs, "target": tokens(target), "ntokens": 0}

    def fill(self, sample: dict) -> None:
        """Copies the tensors of a batch, of which no size is above the shape's."""
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
