"""What the decoder keeps from one step of a beam search to the next.

The hypotheses of a sentence share one store: a key or value stays where it was written, and a table says which of them
each hypothesis sees. When the beam is reordered the table is copied, never a key.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

GROWTH = 8  # steps by which the stores grow

# fairseq's own type: by module, the tensors it keeps. The decoder of this package has one entry, of ``Decoding``.
IncrementalState = dict[str, Any]
ENTRY = "gradinit_mt"


class Decoding:
    """The stores of all attention modules for one batch of sentences.

    ``seen`` is added to the scores of self-attention: 0 where a hypothesis descends from the one that wrote a key, -inf
    elsewhere; [hypotheses, capacity in steps * beam].
    """

    def __init__(self, hypotheses: int, sentences: int, like: Tensor) -> None:
        """Args: ``like``: a tensor of the products' type and device."""
        self.sentences, self.beam, self.steps = sentences, hypotheses // sentences, 0
        self.seen = like.new_empty(hypotheses, 0)
        self.past: dict[nn.Module, Tensor] = {}
        self.memory: dict[nn.Module, Tensor] = {}
        self.weights: dict[nn.Module, tuple[Tensor, Tensor]] = {}

    def next_step(self) -> None:
        """Makes room in the table for another step, which each hypothesis sees of itself."""
        if self.steps * self.beam == self.seen.shape[1]:
            self.seen = nn.functional.pad(self.seen, (0, GROWTH * self.beam), value=-torch.inf)
        of_step = self.seen[:, self.steps * self.beam :][:, : self.beam]
        of_step.view(-1, self.beam, self.beam).diagonal(dim1=1, dim2=2).zero_()
        self.steps += 1

    def bias(self, heads: int) -> Tensor:
        """``seen`` for each head, [sentences, heads, beam, keys]."""
        return self.seen.view(self.sentences, 1, self.beam, -1).repeat(1, heads, 1, 1)

    def append(self, attention: nn.Module, new: Tensor) -> Tensor:
        """Stores this step's keys and values.

        Args:
            attention: the module they belong to.
            new: [2, hypotheses, heads, 1, channels of a head].

        Returns:
            All that is stored, [2, sentences, heads, keys, channels of a head].
        """
        _, _, heads, _, channels = new.shape
        keys = self.seen.shape[1]
        stored = self.past.get(attention, new.new_empty(2, self.sentences, heads, 0, channels))
        if stored.shape[3] < keys:
            stored = nn.functional.pad(stored, (0, 0, 0, keys - stored.shape[3]))
        start = (self.steps - 1) * self.beam
        by_sentence = new.squeeze(3).unflatten(1, (self.sentences, self.beam))
        stored[:, :, :, start : start + self.beam] = by_sentence.transpose(2, 3)
        self.past[attention] = stored
        return stored

    def of_memory(self, attention: nn.Module, project: Callable[[], Tensor]) -> Tensor:
        """The keys and values of the encoder's output, projected at the first step."""
        if attention not in self.memory:
            self.memory[attention] = project()
        return self.memory[attention]

    def reorder(self, order: Tensor) -> None:
        """Lets each hypothesis continue the one that ``order`` names, while finished sentences drop out."""
        self.seen = self.seen.index_select(0, order)
        sentences = order.view(-1, self.beam)[:, 0] // self.beam
        if len(sentences) == self.sentences and torch.equal(sentences, torch.arange(len(sentences)).to(sentences)):
            return
        self.sentences = len(sentences)
        for stores in (self.past, self.memory):
            stores |= {attention: stored.index_select(1, sentences) for attention, stored in stores.items()}
