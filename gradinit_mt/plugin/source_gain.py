"""How much a translation model uses its source: the rise of its loss when the source is another sentence's.

A model may learn the target language and ignore the source, which its loss alone does not show. So each target is
scored with its own source, and with the source of the next sentence in the batch.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from fairseq.criterions import FairseqCriterion
from fairseq.models import BaseFairseqModel


@dataclass(frozen=True)
class SourceGain:
    """Means over all target tokens, in bits per token, with the criterion's label smoothing.

    A ``gain`` near 0 means that the model ignores the source.
    """

    loss: float
    gain: float


@torch.no_grad()
def source_gain(model: BaseFairseqModel, criterion: FairseqCriterion, samples: Iterable[dict]) -> SourceGain:
    """The criterion's loss with the true sources, and how much higher it is with permuted ones.

    Args:
        model: is set to evaluation mode.
        criterion: returns a loss in nats, summed over the sample.
        samples: batches from fairseq's translation datasets; those of one sentence are skipped.

    Raises:
        ValueError: no sample has two sentences.
    """
    model.eval()
    true, permuted, tokens = 0.0, 0.0, 0
    for sample in samples:
        if len(sample["id"]) < 2:
            continue
        tokens += sample["ntokens"]
        true += float(criterion(model, sample)[0])
        permuted += float(criterion(model, with_permuted_sources(sample))[0])
    if not tokens:
        raise ValueError("no sample has two sentences, so there is no other source to try; use larger batches")
    return SourceGain(true / tokens / math.log(2), (permuted - true) / tokens / math.log(2))


def with_permuted_sources(sample: dict) -> dict:
    """The sample with each sentence's source replaced by the next one's, and the same targets."""
    inputs = sample["net_input"]
    rolled = {name: inputs[name].roll(1, dims=0) for name in ("src_tokens", "src_lengths")}
    return {**sample, "net_input": {**inputs, **rolled}}
