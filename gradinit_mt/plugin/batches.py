"""Batches for GradInit from a fairseq dataset: pairs (S, S~), each collated as fairseq collates training batches."""

from collections.abc import Iterator, Sequence

import torch
from fairseq import utils
from fairseq.data import FairseqDataset

from gradinit_mt.core.batches import overlapping_halves, seeded, shared_out


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
        steps: steps that are looked ahead; the sentences of S are shared out over them.
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
        steps: int = 1,
    ) -> None:
        self.dataset, self.batches, self.seed, self.parts = dataset, batches, seed, parts
        self.rank, self.world_size, self.steps = rank, world_size, steps
        self.device = device or torch.device("cpu")
        self._epoch, self._order = -1, []

    def pairs(self, start: int = 0) -> Iterator[tuple[list[dict], list[dict]]]:
        """The pairs of iterations ``start``, ``start + 1``, ...

        S~ has ``parts`` samples, S as many for each step, those of the first step first.
        """
        iteration = start
        while True:
            first = iteration * self.parts
            positions = [(first + part) * self.world_size + self.rank for part in range(self.parts)]
            halves = [self._split(position) for position in positions]
            shares = [shared_out(s, self.steps) for s, _ in halves]
            yield (
                [self._sample(share[step]) for step in range(self.steps) for share in shares],
                [self._sample(s_tilde) for _, s_tilde in halves],
            )
            iteration += 1

    def _split(self, position: int) -> tuple[list[int], list[int]]:
        members = self.members(position)
        s, s_tilde = overlapping_halves(len(members), seeded(self.seed, 1, position))
        return [members[i] for i in s], [members[i] for i in s_tilde]

    def members(self, position: int) -> Sequence[int]:
        """The sentence indices of the batch at this position of the sequence."""
        epoch, offset = divmod(position, len(self.batches))
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = torch.randperm(len(self.batches), generator=seeded(self.seed, 0, epoch)).tolist()
        return self.batches[self._order[offset]]

    def _sample(self, indices: Sequence[int]) -> dict:
        sample = self.dataset.collater([self.dataset[i] for i in indices])
        return utils.move_to_cuda(sample, self.device) if self.device.type == "cuda" else sample
