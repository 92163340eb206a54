"""fairseq's label-smoothed cross-entropy, computed together with the output projection."""

import inspect
from typing import Any

import torch
from fairseq.criterions import register_criterion
from fairseq.criterions.label_smoothed_cross_entropy import (
    LabelSmoothedCrossEntropyCriterion,
    LabelSmoothedCrossEntropyCriterionConfig,
)
from fairseq.models import BaseFairseqModel
from torch import nn

from gradinit_mt.core import hvp
from gradinit_mt.criterions.projected_cross_entropy import smoothed_cross_entropy
from gradinit_mt.models.attention import working_type
from gradinit_mt.models.wrappers import unwrapped


@register_criterion("projected_label_smoothed_cross_entropy", dataclass=LabelSmoothedCrossEntropyCriterionConfig)
class ProjectedLabelSmoothedCrossEntropy(LabelSmoothedCrossEntropyCriterion):
    """Options, loss and logging outputs of fairseq's ``label_smoothed_cross_entropy``, without logits of a whole batch.

    That needs a model that returns features on demand (``features_only``), and whose decoder ends in
    ``output_projection``, a linear layer without bias, as fairseq's Transformers do. For another one, where the logits
    themselves are needed (accuracy, losses of single tokens, second derivatives), in float16, and with
    ``--find-unused-parameters``, fairseq's own computation runs.
    """

    def forward(self, model: BaseFairseqModel, sample: dict, reduce: bool = True) -> tuple:
        """The summed loss, its size and the logging outputs; see fairseq's."""
        needs_logits = not reduce or self.report_accuracy or self.ignore_prefix_size or hvp.needs_second_derivatives()
        # PyTorch's DDP would take the projection for unused, since no output of the model depends on it
        needs_logits = needs_logits or getattr(model, "find_unused_parameters", False)
        # in float16, small derivatives would be lost before the loss is scaled up
        needs_logits = needs_logits or working_type(next(model.parameters())) == torch.float16
        projection = None if needs_logits else _projection(unwrapped(model))
        if projection is None:
            return super().forward(model, sample, reduce)
        features, _ = model(**sample["net_input"], features_only=True)
        loss, nll = smoothed_cross_entropy(features, projection.weight, sample["target"], self.eps, self.padding_idx)
        sentences = sample["target"].shape[0]
        size = sentences if self.sentence_avg else sample["ntokens"]
        outputs: dict[str, Any] = {"loss": loss.data, "nll_loss": nll, "ntokens": sample["ntokens"]}
        return loss, size, outputs | {"nsentences": sentences, "sample_size": size}


def _projection(model: BaseFairseqModel) -> nn.Linear | None:
    """The output projection of a model that can leave it to the criterion."""
    found = getattr(model.decoder, "output_projection", None)
    fits = isinstance(found, nn.Linear) and found.bias is None
    return found if fits and "features_only" in inspect.signature(model.forward).parameters else None
