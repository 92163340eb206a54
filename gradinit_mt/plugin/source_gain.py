"""How much a translation model uses its source: the rise of its loss when the source is another sentence's.

A model may learn the target language and ignore the source, which its loss alone does not show. So each target is
scored with its own source, and with the source of the sentence before it in the batch.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from fairseq.models import BaseFairseqModel


@dataclass(frozen=True)
class SourceGain:
    """Means over all target tokens, in bits per token, with the criterion's label smoothing.

    A ``gain`` near 0 means that the model ignores the source.
    """

    loss: float
    gain: float


@torch.no_grad()
def source_gain(model: BaseFairseqModel, criterion: Callable, samples: Iterable[dict]) -> SourceGain:
    """The criterion's loss with the true sources, and how much higher it is with those of other sentences.

    Args:
        model: is set to evaluation mode.
        criterion: called with model and sample, returns first a loss in nats, summed over the sample.
        samples: batches from fairseq's translation datasets; those of one sentence are skipped.

    Raises:
        ValueError: no sample has two sentences.
    """
    model.eval()
    true, other, tokens = 0.0, 0.0, 0
    for sample in samples:
        if len(sample["id"]) < 2:
            continue
        tokens += sample["ntokens"]
        true += float(criterion(model, sample)[0])
        other += float(criterion(model, with_other_sources(sample))[0])
    if not tokens:
        raise ValueError("no sample has two sentences, so there is no other source to try; use larger batches")
    return SourceGain(true / tokens / math.log(2), (other - true) / tokens / math.log(2))


def with_other_sources(sample: dict) -> dict:
    """The sample with each target in the row of another source: that of the sentence before it.

    The targets move and the sources stay, in the order of their lengths, which recurrent encoders need.
    """
    inputs = {**sample["net_input"]}
    if "prev_output_tokens" in inputs:
        inputs["prev_output_tokens"] = inputs["prev_output_tokens"].roll(-1, dims=0)
    return {**sample, "net_input": inputs, "target": sample["target"].roll(-1, dims=0)}
