"""Batches for GradInit from a fairseq dataset: pairs (S, S~), each collated as fairseq collates training batches."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from fairseq import utils
from fairseq.data import FairseqDataset

from gradinit_mt.core.batches import overlapping_halves, seeded, shared_out


@dataclass(frozen=True)
class OverlappingBatches:
    """An endless, seeded sequence of pairs (S, S~) that can start at any iteration.

    It leaves the dataset's iterators alone: fairseq caches one per dataset and shares it with the trainer.

    Attributes:
        dataset: a dataset with a collater, as in training.
        batches: the sentence indices of each batch.
        seed: determines the order of the batches and their division into S and S~.
        parts: batches accumulated for one iteration (per rank).
        rank, world_size: this rank's share. Iteration k uses the ``parts * world_size`` batches from
            ``k * parts * world_size`` on, dealt out in turn.
        device: where the samples go.
        steps: steps of the look-ahead, over which the sentences of S are distributed.
    """

    dataset: FairseqDataset
    batches: Sequence[Sequence[int]]
    seed: int
    parts: int = 1
    rank: int = 0
    world_size: int = 1
    device: torch.device = torch.device("cpu")
    steps: int = 1

    def pairs(self, start: int = 0) -> Iterator[tuple[list[dict], list[dict]]]:
        """The pairs of iterations ``start``, ``start + 1``, ...

        S~ has ``parts`` samples. S has ``parts`` samples per step, those of the first step first.
        """
        for iteration in itertools.count(start):
            first = iteration * self.parts
            halves = [self._split((first + part) * self.world_size + self.rank) for part in range(self.parts)]
            shares = [shared_out(s, self.steps) for s, _ in halves]
            yield (
                [self._sample(share[step]) for step in range(self.steps) for share in shares],
                [self._sample(s_tilde) for _, s_tilde in halves],
            )

    def whole(self) -> Iterator[dict]:
        """This rank's share of all batches in the same order, none of them split; ``parts`` does not matter."""
        for count in itertools.count():
            yield self._sample(self.members(count * self.world_size + self.rank))

    def divide(self, sample: dict, choose: Callable[[int], Sequence[Sequence[int]]]) -> list[dict]:
        """Parts of a sample, each collated as a batch.

        Args:
            sample: one of this dataset.
            choose: returns the sentences of each part, by their positions in a sample of that many sentences.
        """
        indices = sample["id"].tolist()
        return [self._sample([indices[position] for position in part]) for part in choose(len(indices))]

    def members(self, position: int) -> Sequence[int]:
        """The sentence indices of the batch at this position of the sequence."""
        epoch, offset = divmod(position, len(self.batches))
        order = torch.randperm(len(self.batches), generator=seeded(self.seed, 0, epoch))
        return self.batches[int(order[offset])]

    def _split(self, position: int) -> tuple[list[int], list[int]]:
        members = self.members(position)
        s, s_tilde = overlapping_halves(len(members), seeded(self.seed, 1, position))
        return [members[i] for i in s], [members[i] for i in s_tilde]

    def _sample(self, indices: Sequence[int]) -> dict:
        sample = self.dataset.collater([self.dataset[i] for i in indices])
        return utils.move_to_cuda(sample, self.device) if self.device.type == "cuda" else sample
