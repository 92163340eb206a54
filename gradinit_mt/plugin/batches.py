"""Batches for GradInit and the initializers from a fairseq dataset, collated as fairseq collates training batches."""

import itertools
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from fairseq import utils
from fairseq.data import FairseqDataset, data_utils
from fairseq.models import BaseFairseqModel
from fairseq.tasks.translation import TranslationTask

from gradinit_mt.core import GradInitError
from gradinit_mt.core.batches import overlapping_halves, seeded, shared_out
from gradinit_mt.plugin.options import GradInitTranslationConfig
from gradinit_mt.plugin.ranks import rank_and_world_size

logger = logging.getLogger(__name__)


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


def batches_of(task: TranslationTask, model: BaseFairseqModel, steps: int = 1) -> OverlappingBatches:
    """This rank's share of the training set, in batches of GradInit's size.

    Args:
        task: with its training set loaded.
        model: sentences beyond its positions are left out, and the samples go to its device.
        steps: steps of the look-ahead.

    Raises:
        GradInitError: no sentence fits a batch.
    """
    cfg: GradInitTranslationConfig = task.cfg
    tokens = max_tokens(cfg)
    dataset = task.dataset(cfg.train_subset)
    with data_utils.numpy_seed(cfg.seed):
        ordered = dataset.ordered_indices()
    longest = utils.resolve_max_positions(task.max_positions(), model.max_positions(), tokens)
    indices, ignored = dataset.filter_indices_by_size(ordered, longest)
    if len(ignored):
        logger.info(
            f"{len(ignored):,} of {len(ordered):,} training pairs are longer than {longest} tokens, and are left out "
            "of the batches of initialization"
        )
    if len(indices) == 0:
        option = "gradinit-max-tokens" if cfg.gradinit_max_tokens else "max-tokens"
        raise GradInitError(f"no training sentence fits a batch of {tokens} tokens: raise --{option}")
    batches = dataset.batch_by_size(indices, max_tokens=tokens, max_sentences=cfg.batch_size)
    device = next(model.parameters()).device
    parts = cfg.gradinit_update_freq
    return OverlappingBatches(dataset, batches, cfg.seed, parts, *rank_and_world_size(), device, steps)


def max_tokens(cfg: GradInitTranslationConfig) -> int | None:
    """Tokens per batch of GradInit on each rank."""
    return cfg.gradinit_max_tokens or cfg.max_tokens
