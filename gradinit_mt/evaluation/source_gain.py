"""How much a translation model makes of its source: the loss that another sentence's source costs it.

A model may learn to write the target language and ignore the source; its loss alone does not tell. Here each target is
scored with its own source and with that of the next sentence of the batch.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from fairseq.criterions import FairseqCriterion
from fairseq.models import BaseFairseqModel


@dataclass(frozen=True)
class SourceGain:
    """Means over all target tokens, in bits per token; ``gain`` near 0 means that the source is ignored.

    Both are in the criterion's loss, with its label smoothing.
    """

    loss: float
    gain: float


@torch.no_grad()
def source_gain(model: BaseFairseqModel, criterion: FairseqCriterion, samples: Iterable[dict]) -> SourceGain:
    """The criterion's loss with the true sources, and how much higher it is with permuted ones.

    Args:
        model: is put into evaluation mode.
        criterion: its loss is in nats, summed over the sample.
        samples: batches as fairseq's translation datasets collate them; those of one sentence are left out.

    Raises:
        ValueError: no sample has two sentences.
    """
    model.eval()
    true, permuted, tokens = 0.0, 0.0, 0
    for sample in samples:
        if len(sample["id"]) < 2:
            continue
        true, tokens = true + float(criterion(model, sample)[0]), tokens + sample["ntokens"]
        permuted += float(criterion(model, with_permuted_sources(sample))[0])
    if not tokens:
        raise ValueError("no sample has two sentences: there is no other source to try")
    return SourceGain(true / tokens / math.log(2), (permuted - true) / tokens / math.log(2))


def with_permuted_sources(sample: dict) -> dict:
    """The sample with each sentence's source replaced by the next one's; the targets stay."""
    inputs = sample["net_input"]
    rolled = {name: inputs[name].roll(1, dims=0) for name in ("src_tokens", "src_lengths")}
    return {**sample, "net_input": {**inputs, **rolled}}
