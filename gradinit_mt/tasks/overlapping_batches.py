"""Batches for GradInit from a fairseq dataset: pairs (S, S~), each collated as fairseq collates training batches."""

from collections.abc import Iterator, Sequence

import torch
from fairseq import utils
from fairseq.data import FairseqDataset

from ..core import overlapping_halves


class OverlappingBatches:
    """An endless, seeded sequence of pairs (S, S~) in which any position can be reached at once.

    The dataset's iterators are not touched: fairseq caches one per dataset and shares it with the trainer.

    Args:
        dataset: a dataset with a collater, as in training.
        batches: lists of sentence indices, each one batch.
        seed: same seed, same pairs.
        parts: batches accumulated for one iteration (per rank).
        rank, world_size: this rank's share; iteration k uses batches ``k * parts * world_size`` and on, dealt out in
            turn.
        device: where the samples go.
    """

    def __init__(
        self,
        dataset: FairseqDataset,
        batches: Sequence[Sequence[int]],
        seed: int,
        parts: int = 1,
        rank: int = 0,
        world_size: int = 1,
        device: torch.device | None = None,
    ) -> None:
        self.dataset, self.batches, self.seed, self.parts = dataset, batches, seed, parts
        self.rank, self.world_size = rank, world_size
        self.device = device or torch.device("cpu")
        self._epoch, self._order = -1, []

    def pairs(self, start: int = 0) -> Iterator[tuple[list[dict], list[dict]]]:
        """The pairs of iterations ``start``, ``start + 1``, ..., each two lists of ``parts`` samples."""
        iteration = start
        while True:
            first = iteration * self.parts
            positions = [(first + part) * self.world_size + self.rank for part in range(self.parts)]
            halves = [self._split(position) for position in positions]
            yield [s for s, _ in halves], [s for _, s in halves]
            iteration += 1

    def _split(self, position: int) -> tuple[dict, dict]:
        members = self.members(position)
        s, s_tilde = overlapping_halves(len(members), _generator(self.seed, 1, position))
        return self._sample([members[i] for i in s]), self._sample([members[i] for i in s_tilde])

    def members(self, position: int) -> Sequence[int]:
        """The sentence indices of the batch at this position of the sequence."""
        epoch, offset = divmod(position, len(self.batches))
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = torch.randperm(len(self.batches), generator=_generator(self.seed, 0, epoch)).tolist()
        return self.batches[self._order[offset]]

    def _sample(self, indices: Sequence[int]) -> dict:
        sample = self.dataset.collater([self.dataset[i] for i in indices])
        return utils.move_to_cuda(sample, self.device) if self.device.type == "cuda" else sample


def _generator(*numbers: int) -> torch.Generator:
    """A generator for this tuple of numbers, unlike that of any other tuple."""
    seed = 0
    for number in numbers:
        seed = (seed * 1_000_003 + number) % 2**63
    return torch.Generator().manual_seed(seed)
