"""Multi-head attention with fairseq's parameters: merged projections, batch-first, cross-attention projected once."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from fairseq.modules import MultiheadAttention
from torch import Tensor, nn

from gradinit_mt.models.decoding import Decoding
from gradinit_mt.models.dropout import active_probability, dropout


class Attention(MultiheadAttention):
    """Parameters, their initialization and their names are fairseq's.

    On a CPU the weights are computed outright: at the lengths of sentences PyTorch's fused kernel is not faster there
    in float32, and several times slower in bfloat16. Elsewhere the fused kernel is used, except where the weights are
    asked for.
    """

    def forward(
        self,
        x: Tensor,
        memory: Tensor | None = None,
        bias: Tensor | None = None,
        decoding: Decoding | None = None,
        need_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Attention of ``x`` to itself or, in cross-attention, to ``memory``.

        Args:
            x: states, [batch, time, channels].
            memory: the encoder's output, [sentences, source length, channels]; None in self-attention. There may be
                several rows of ``x``, the hypotheses of a beam, to each row of it.
            bias: added to the scores: 0, or -inf where a key is not to be seen; [1 or sentences, 1 or heads, 1 or time,
                keys].
            decoding: in decoding, keys and values of the steps before, and those of ``memory``.
            need_weights: return the weights.

        Returns:
            The output, [batch, time, channels], and the weights, [batch, heads, time, keys], or None.
        """
        if memory is None:
            heads = self._heads(x, decoding, self.q_proj, self.k_proj, self.v_proj)
            q, k, v = heads.contiguous() if decoding is None else (heads[0], *decoding.append(self, heads[1:]))
        else:
            (q,) = self._heads(x, decoding, self.q_proj)
            k, v = self._of_memory(memory, decoding)
        y, weights = self._attend(q, k, v, bias, need_weights)
        return linear(y.transpose(1, 2).flatten(2), self.out_proj, decoding=decoding), weights

    def _heads(self, x: Tensor, decoding: Decoding | None, *projections: nn.Linear) -> Tensor:
        """The projections of x from one product, [projections, batch, heads, time, channels of a head]."""
        projected = linear(x, *projections, decoding=decoding)
        return projected.view(*x.shape[:2], -1, self.num_heads, self.head_dim).permute(2, 0, 3, 1, 4)

    def _of_memory(self, memory: Tensor, decoding: Decoding | None) -> Tensor:
        """Keys and values of the encoder's output."""

        def project() -> Tensor:
            return self._heads(memory, decoding, self.k_proj, self.v_proj).contiguous()

        return project() if decoding is None else decoding.of_memory(self, project)

    def _attend(
        self, q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, need_weights: bool
    ) -> tuple[Tensor, Tensor | None]:
        """The weighted values of each head, [batch, heads, time, channels of a head], and the weights if asked for."""
        hypotheses = len(q) // len(k)
        if hypotheses > 1:  # those of one sentence share its keys: they are put side by side in time
            together = q.unflatten(0, (-1, hypotheses)).transpose(1, 2).flatten(2, 3)
            y, weights = self._attend(together, k, v, bias, need_weights)
            return _apart(y, hypotheses), None if weights is None else _apart(weights, hypotheses)
        p = active_probability(self.dropout_module)
        if need_weights or q.device.type == "cpu":
            return _unfused_attention(q, k, v, bias, self.scaling, p)
        return F.scaled_dot_product_attention(q, k, v, bias, p), None


def _apart(together: Tensor, hypotheses: int) -> Tensor:
    return together.unflatten(2, (hypotheses, -1)).transpose(1, 2).flatten(0, 1)


def _unfused_attention(
    q: Tensor, k: Tensor, v: Tensor, bias: Tensor | None, scale: float, p: float
) -> tuple[Tensor, Tensor]:
    """Attention with dropout p of its weights, softmax in float32 at least."""
    flat, keys = q.flatten(0, 1), k.flatten(0, 1).transpose(1, 2)
    if bias is None:
        bias = flat.new_zeros(1, 1, 1)
    elif bias.shape[:2] == (1, 1):
        bias = bias[0]
    else:
        bias = bias.expand(-1, q.shape[1], -1, -1).flatten(0, 1)
    scores = torch.baddbmm(bias, flat, keys, alpha=scale)
    weights = scores.softmax(-1, torch.promote_types(scores.dtype, torch.float32)).to(scores.dtype)
    return torch.bmm(dropout(weights, p), v.flatten(0, 1)).view_as(q), weights.unflatten(0, q.shape[:2])


def linear(x: Tensor, *layers: nn.Linear, decoding: Decoding | None = None) -> Tensor:
    """The outputs of linear layers side by side, [..., sum of their widths].

    Args:
        x: [..., channels].
        layers: of any width.
        decoding: where the merged weights are kept from one step to the next.
    """
    if decoding is None:
        return F.linear(x, *_merged(layers))
    if layers[0] not in decoding.weights:
        weight, bias = _merged(layers)
        decoding.weights[layers[0]] = weight.to(working_type(x)), bias.to(working_type(x))
    return F.linear(x, *decoding.weights[layers[0]])


def _merged(layers: Sequence[nn.Linear]) -> tuple[Tensor, Tensor]:
    """Weight and bias of the layers side by side."""
    if len(layers) == 1:
        return layers[0].weight, layers[0].bias
    return torch.cat([layer.weight for layer in layers]), torch.cat([layer.bias for layer in layers])


def working_type(x: Tensor) -> torch.dtype:
    """The type of products with x: that of the surrounding autocast, else of x."""
    kind = x.device.type
    return torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else x.dtype
