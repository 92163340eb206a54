"""Encoder and decoder over batch-first layers; to the outside they are fairseq's own.

Under autocast the products are in its type. The states between the layers keep that of the embeddings, float32.
"""

from typing import Any

import torch
from fairseq.models.transformer import TransformerDecoderBase, TransformerEncoderBase
from torch import Tensor

from gradinit_mt.models.attention import working_type
from gradinit_mt.models.decoding import ENTRY, Decoding, IncrementalState
from gradinit_mt.models.dropout import active_probability, dropout
from gradinit_mt.models.layers import DecoderLayer, EncoderLayer


class Encoder(TransformerEncoderBase):
    """As fairseq's; ``encoder_out`` is [source length, batch, channels] to the outside."""

    def build_encoder_layer(self, cfg: Any) -> EncoderLayer:
        return EncoderLayer(cfg)

    def forward(
        self,
        src_tokens: Tensor,
        src_lengths: Tensor | None = None,
        return_all_hiddens: bool = False,
        token_embeddings: Tensor | None = None,
    ) -> dict[str, list[Tensor]]:
        """See fairseq's; ``src_tokens`` [batch, source length]."""
        embedded = self.embed_scale * (self.embed_tokens(src_tokens) if token_embeddings is None else token_embeddings)
        padding = src_tokens.eq(self.padding_idx)
        x = dropout(embedded + self.embed_positions(src_tokens), active_probability(self.dropout_module))
        bias = padding_bias(padding, x)
        states = [x]
        for layer in self.layers:
            x = layer(x, bias)
            states.append(x)
        lengths = src_tokens.ne(self.padding_idx).sum(1, dtype=torch.int32, keepdim=True)
        return {
            "encoder_out": [x.transpose(0, 1)],
            "encoder_padding_mask": [padding],
            "encoder_embedding": [embedded],
            "encoder_states": [state.transpose(0, 1) for state in states] if return_all_hiddens else [],
            "fc_results": [],
            "src_tokens": [],
            "src_lengths": [lengths],
        }

    def reorder_encoder_out(self, encoder_out: dict, new_order: Tensor) -> dict:
        """As fairseq's, but the hypotheses of a beam share one copy of their sentence.

        Args:
            encoder_out: of ``forward``, or returned from here.
            new_order: first the sentence of each hypothesis, ``0 0 ... 1 1 ...``; from then on the hypothesis that each
                one continues, while finished sentences drop out.
        """
        sentences, hypotheses = len(encoder_out["encoder_padding_mask"][0]), len(new_order)
        if "beam" in encoder_out:
            beam = encoder_out["beam"]
            rows = new_order.view(-1, beam)[:, 0] // beam
            if len(rows) == sentences:
                return encoder_out
            return super().reorder_encoder_out(encoder_out, rows) | {"beam": beam}
        beam = hypotheses // sentences
        each_in_turn = torch.arange(sentences, device=new_order.device).repeat_interleave(beam)
        if torch.equal(new_order, each_in_turn):
            return encoder_out | {"beam": beam}
        return super().reorder_encoder_out(encoder_out, new_order)


class Decoder(TransformerDecoderBase):
    """As fairseq's; the weights of cross-attention are returned in evaluation alone."""

    left_padded = False  # whether targets have their padding on the left (--left-pad-target)

    def build_decoder_layer(self, cfg: Any, no_encoder_attn: bool = False) -> DecoderLayer:
        return DecoderLayer(cfg)

    def extract_features(
        self,
        prev_output_tokens: Tensor,
        encoder_out: dict[str, list[Tensor]],
        incremental_state: IncrementalState | None = None,
        full_context_alignment: bool = False,
        alignment_layer: int | None = None,
        alignment_heads: int | None = None,
    ) -> tuple[Tensor, dict[str, list[Tensor | None]]]:
        """See fairseq's: features [batch, target length, channels] and what else there is.

        Padding on the right of a target needs no mask beside that of the future.
        """
        positions = self.embed_positions(prev_output_tokens, incremental_state=incremental_state)
        if incremental_state is not None:
            prev_output_tokens, positions = prev_output_tokens[:, -1:], positions[:, -1:]
        shown = self.num_layers - 1 if alignment_layer is None else alignment_layer
        weights = None
        x = self.embed_scale * self.embed_tokens(prev_output_tokens) + positions
        x = dropout(x, active_probability(self.dropout_module))
        memory = encoder_out["encoder_out"][0].transpose(0, 1)
        decoding = None
        if incremental_state is None:  # once for all layers; in decoding it is used at the first step alone
            memory = memory.to(working_type(x))
        else:
            decoding = _decoding(incremental_state, x, len(memory))
            decoding.next_step()
        memory_bias = padding_bias(encoder_out["encoder_padding_mask"][0], x)
        if full_context_alignment:
            bias = padding_bias(prev_output_tokens.eq(self.padding_idx), x)
        elif decoding is None:
            bias = self._future_bias(prev_output_tokens, x)
        else:
            bias = decoding.bias(self.layers[0].self_attn.num_heads)
        states = [x]
        for index, layer in enumerate(self.layers):
            need_weights = index == shown and not self.training
            x, found = layer(x, memory, memory_bias, bias, decoding, need_weights)
            weights = found if need_weights else weights
            states.append(x)
        if weights is not None:
            weights = weights[:, :alignment_heads].float().mean(1)
        return x, {"attn": [weights], "inner_states": [state.transpose(0, 1) for state in states]}

    def _future_bias(self, tokens: Tensor, x: Tensor) -> Tensor:
        """-inf where a position would see a later one or, with padding on the left, padding."""
        length = tokens.shape[1]
        bias = x.new_full((1, 1, length, length), -torch.inf, dtype=working_type(x)).triu_(1)
        if not self.left_padded:
            return bias
        padding = tokens.eq(self.padding_idx)[:, None, None]
        # a padding token sees itself, or it would see nothing and have no weights
        others = ~torch.eye(length, dtype=torch.bool, device=x.device)
        return bias.masked_fill(padding & others, -torch.inf)

    def reorder_incremental_state_scripting(self, incremental_state: IncrementalState, new_order: Tensor) -> None:
        """See ``Decoding.reorder``."""
        incremental_state[ENTRY].reorder(new_order)


def padding_bias(padding: Tensor, x: Tensor) -> Tensor | None:
    """-inf at padding and 0 elsewhere, [batch, 1, 1, keys]; None where a CPU sees that there is none."""
    if padding.device.type == "cpu" and not padding.any():
        return None
    return x.new_zeros(padding.shape, dtype=working_type(x)).masked_fill_(padding, -torch.inf)[:, None, None]


def _decoding(incremental_state: IncrementalState, x: Tensor, sentences: int) -> Decoding:
    if ENTRY not in incremental_state:
        incremental_state[ENTRY] = Decoding(len(x), sentences, x.new_empty(0, dtype=working_type(x)))
    return incremental_state[ENTRY]
