"""The encoder's and the decoder's layer, Post-LN: x = LN(w * x + dropout(f(x))) for each block f; w is 1 by default."""

from typing import Any

from fairseq.models.transformer.transformer_config import TransformerConfig
from fairseq.modules.transformer_layer import TransformerDecoderLayerBase, TransformerEncoderLayerBase
from torch import Tensor, nn

from gradinit_mt.models.attention import Attention, linear
from gradinit_mt.models.decoding import Decoding
from gradinit_mt.models.dropout import active_probability, add_dropout, dropout
from gradinit_mt.models.residual_weights import LayerConfig, add_residual_weights, weighted


class EncoderLayer(TransformerEncoderLayerBase):
    """fairseq's parameters, and residual weights if wanted; states are [batch, time, channels]."""

    def __init__(self, cfg: LayerConfig) -> None:
        super().__init__(cfg)
        add_residual_weights(self, cfg.residual_weights, self.embed_dim, ("self_attn", "final"))

    def build_self_attention(self, embed_dim: int, cfg: TransformerConfig) -> Attention:
        return _attention(embed_dim, cfg.encoder.attention_heads, cfg, self_attention=True)

    def forward(self, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Args: ``x``: states; ``bias``: see ``Attention``."""
        y, _ = self.self_attn(x, bias=bias)
        x = _sum_and_norm(self, self.self_attn_residual_weight, x, y, self.self_attn_layer_norm)
        return _feed_forward(self, x)


class DecoderLayer(TransformerDecoderLayerBase):
    """fairseq's parameters, and residual weights if wanted; states are [batch, time, channels]."""

    def __init__(self, cfg: LayerConfig) -> None:
        super().__init__(cfg)
        add_residual_weights(self, cfg.residual_weights, self.embed_dim, ("self_attn", "encoder_attn", "final"))

    def build_self_attention(self, embed_dim: int, cfg: TransformerConfig, **_: Any) -> Attention:
        return _attention(embed_dim, cfg.decoder.attention_heads, cfg, self_attention=True)

    def build_encoder_attention(self, embed_dim: int, cfg: TransformerConfig) -> Attention:
        sizes = {"kdim": cfg.encoder.embed_dim, "vdim": cfg.encoder.embed_dim}
        return _attention(embed_dim, cfg.decoder.attention_heads, cfg, encoder_decoder_attention=True, **sizes)

    def forward(
        self,
        x: Tensor,
        memory: Tensor,
        memory_bias: Tensor | None = None,
        bias: Tensor | None = None,
        decoding: Decoding | None = None,
        need_weights: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Args: see ``Attention``. Returns the states and the weights of cross-attention, if they are asked for."""
        y, _ = self.self_attn(x, bias=bias, decoding=decoding)
        x = _sum_and_norm(self, self.self_attn_residual_weight, x, y, self.self_attn_layer_norm)
        y, weights = self.encoder_attn(x, memory, memory_bias, decoding, need_weights)
        x = _sum_and_norm(self, self.encoder_attn_residual_weight, x, y, self.encoder_attn_layer_norm)
        return _feed_forward(self, x, decoding), weights


Layer = EncoderLayer | DecoderLayer


def _attention(embed_dim: int, heads: int, cfg: TransformerConfig, **options: Any) -> Attention:
    return Attention(embed_dim, heads, dropout=cfg.attention_dropout, **options)


def _sum_and_norm(layer: Layer, weight: Tensor | None, x: Tensor, y: Tensor, norm: nn.LayerNorm) -> Tensor:
    return norm(add_dropout(weighted(x, weight), y, active_probability(layer.dropout_module)))


def _feed_forward(layer: Layer, x: Tensor, decoding: Decoding | None = None) -> Tensor:
    y = layer.activation_fn(linear(x, layer.fc1, decoding=decoding))
    y = linear(dropout(y, active_probability(layer.activation_dropout_module)), layer.fc2, decoding=decoding)
    return _sum_and_norm(layer, layer.final_residual_weight, x, y, layer.final_layer_norm)
