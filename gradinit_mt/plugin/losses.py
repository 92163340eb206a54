"""fairseq's criterion as the core and the initializers call a loss."""

import torch
from fairseq.criterions import FairseqCriterion
from torch import nn

from gradinit_mt.core.gradients import LossFunction


def token_loss(criterion: FairseqCriterion) -> LossFunction:
    """The summed loss and the number of tokens, also where the criterion counts sentences."""
    over_sentences = getattr(criterion, "sentence_avg", False)

    def loss_fn(module: nn.Module, sample: dict) -> tuple[torch.Tensor, float]:
        loss, sample_size, _ = criterion(module, sample)
        # that of an adaptive softmax has a dimension
        return loss.sum(), sample["ntokens"] if over_sentences else sample_size

    return loss_fn
