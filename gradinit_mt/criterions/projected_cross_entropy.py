"""Label-smoothed cross-entropy and the output projection as one operation, some hundreds of tokens at a time.

For features h of a token and the projection's weight W [vocabulary, channels], the logits are z = W h. With fairseq's
smoothing, e' = e / (V - 1) for each other word, the loss is

    lse(z) - (1 - e - e') z_target - e' sum(z),    with the derivative  softmax(z) - e' - (1 - e - e') onehot(target)

by z. What is common to all words, e', needs no pass over the vocabulary: sum(z) = h . sum(W), and in the derivatives it
is a product of two vectors.
"""

from typing import Any

import torch
from torch import Tensor

from gradinit_mt.models.attention import working_type

CHUNK = 256  # tokens at a time on a CPU, whose cache holds their logits
GPU_CHUNK = 2048  # on others, where each operation has a cost


def smoothed_cross_entropy(
    features: Tensor, weight: Tensor, targets: Tensor, smoothing: float, padding: int | None = None
) -> tuple[Tensor, Tensor]:
    """The summed loss with smoothing, and without it (of which no derivative is taken).

    Args:
        features: [..., channels].
        weight: of the output projection, [vocabulary, channels].
        targets: [...].
        smoothing: probability given to the other words, in [0, 1).
        padding: a target that does not count.

    Returns:
        Two scalars in float32, in nats.
    """
    features, targets = features.flatten(0, -2), targets.flatten()
    real = targets.ne(padding) if padding is not None else torch.ones_like(targets, dtype=torch.bool)
    if features.device.type == "cpu" and not real.all():  # elsewhere the host would wait for the count
        features, targets, real = features[real], targets[real], real[real]
    features = features.to(working_type(features))
    derive = torch.is_grad_enabled() and (features.requires_grad or weight.requires_grad)
    with torch.autocast(features.device.type, enabled=False):
        return _SmoothedCrossEntropy.apply(features, weight, targets, real, smoothing, derive)


class _SmoothedCrossEntropy(torch.autograd.Function):
    """Takes derivatives on the way forward, while the logits of a chunk exist."""

    @staticmethod
    def forward(
        ctx: Any, features: Tensor, weight: Tensor, targets: Tensor, real: Tensor, smoothing: float, derive: bool
    ) -> tuple[Tensor, Tensor]:
        share = smoothing / (len(weight) - 1)  # of each other word
        certain = 1.0 - smoothing - share
        narrow, total = weight.to(features.dtype), weight.float().sum(0)
        loss, nll = (torch.zeros((), device=features.device) for _ in range(2))
        if derive:
            d_features, d_weight = torch.empty_like(features), torch.zeros_like(weight)
        size = CHUNK if features.device.type == "cpu" else GPU_CHUNK
        for start in range(0, len(features), size):
            chunk = slice(start, start + size)
            h, target, counts = features[chunk], targets[chunk, None], real[chunk]
            logits = h @ narrow.t()
            # an exponential of every logit is taken once: their log-sum-exp follows from the largest
            probabilities = torch.softmax(logits, 1, dtype=torch.float32)
            lse = logits.amax(1).float() - probabilities.amax(1).log()
            chosen = logits.gather(1, target)[:, 0].float()
            nll += ((lse - chosen) * counts).sum()
            loss += ((lse - certain * chosen - share * (h.float() @ total)) * counts).sum()
            if derive:
                slope = probabilities.to(h.dtype)
                slope.scatter_add_(1, target, slope.new_full((1, 1), -certain).expand_as(target))
                if counts.device.type != "cpu":
                    slope *= counts[:, None]
                torch.sub(slope @ narrow, (share * total).to(h.dtype), out=d_features[chunk])
                d_weight += slope.t() @ h
        if derive:
            d_features *= real[:, None]
            d_weight -= share * (features.float() * real[:, None]).sum(0)
            ctx.save_for_backward(d_features, d_weight)
        ctx.mark_non_differentiable(nll)
        return loss, nll

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        if torch.is_grad_enabled():  # with create_graph; the logits, on which a second derivative depends, are gone
            raise RuntimeError(
                "the projected loss has no second derivative: use fairseq's label_smoothed_cross_entropy"
            )
        d_features, d_weight = ctx.saved_tensors
        return d_features * grads[0], d_weight * grads[0], None, None, None, None
