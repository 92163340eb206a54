"""The original Post-LN Transformer (Vaswani et al., 2017): LayerNorm after each residual sum, x = LN(x + f(x)).

The function, the parameters and their initialization are those of fairseq's Transformer, unless ``--residual-weights``
adds weights to the sums. This file names the sizes and checks the options.
"""

from argparse import ArgumentParser
from dataclasses import dataclass, field, make_dataclass
from typing import Optional

from fairseq import utils
from fairseq.data import Dictionary
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.dataclass.utils import gen_parser_from_dataclass
from fairseq.models import register_model
from fairseq.models.transformer import TransformerModelBase
from fairseq.models.transformer.transformer_config import DecoderConfig, EncDecBaseConfig
from fairseq.tasks import FairseqTask
from omegaconf import II
from torch import nn

from gradinit_mt.common.fields import option
from gradinit_mt.models.encoder_decoder import Decoder, Encoder
from gradinit_mt.models.residual_weights import LayerConfig, ResidualWeights

# fairseq's command-line parser reads the types of dataclass fields, and knows Optional[X] but not X | None.


@dataclass
class PostLNTransformerConfig(FairseqDataclass):
    """Options of the model, named as in fairseq's own Transformer."""

    encoder_embed_dim: int = option("model dimension d of the encoder, a multiple of its heads", default=512)
    encoder_ffn_embed_dim: int = option("inner feed-forward dimension, at least 1", default=2048)
    encoder_layers: int = option("encoder layers, at least 1", default=6)
    encoder_attention_heads: int = option("encoder attention heads, at least 1", default=8)
    decoder_embed_dim: Optional[int] = option("default: as the encoder")
    decoder_ffn_embed_dim: Optional[int] = option("default: as the encoder")
    decoder_layers: Optional[int] = option("default: as the encoder")
    decoder_attention_heads: Optional[int] = option("default: as the encoder")
    encoder_learned_pos: bool = option("learn the encoder's position embeddings", default=False)
    decoder_learned_pos: bool = option("learn the decoder's position embeddings", default=False)
    activation_fn: ChoiceEnum(utils.get_available_activation_fns()) = option(  # type: ignore[valid-type] # fairseq's list
        "activation of the feed-forward blocks", default="relu"
    )
    dropout: float = option("dropout of each block's output, in [0, 1)", default=0.1)
    attention_dropout: float = option("dropout of attention weights, in [0, 1)", default=0.0)
    activation_dropout: float = option("dropout inside the feed-forward blocks, in [0, 1)", default=0.0)
    share_decoder_input_output_embed: bool = option(
        "tie the decoder's embedding and the output projection", default=False
    )
    share_all_embeddings: bool = option(
        "tie both embeddings and the output projection (needs a joined dictionary)", default=False
    )
    residual_weights: ResidualWeights = option(
        "weights w of the residual sums, x = LN(w * x + f(x)): none, fixed or trainable; a vector of ones per block at "
        "first",
        default=ResidualWeights.none,
    )
    encoder_normalize_before: bool = option("refused: this model is Post-LN", default=False)
    decoder_normalize_before: bool = option("refused: this model is Post-LN", default=False)
    max_source_positions: int = II("task.max_source_positions")
    max_target_positions: int = II("task.max_target_positions")


_SIZES = ("embed_dim", "ffn_embed_dim", "layers", "attention_heads", "learned_pos")
_SHARED = (
    *("activation_fn", "dropout", "attention_dropout", "activation_dropout", "share_decoder_input_output_embed"),
    *("share_all_embeddings", "max_source_positions", "max_target_positions"),
)


def check(cfg: PostLNTransformerConfig) -> None:
    """Raises ValueError for an option out of its range, or for pre-norm."""
    if cfg.encoder_normalize_before or cfg.decoder_normalize_before:
        raise ValueError(
            "post_ln_transformer normalizes after each residual sum. For pre-norm use fairseq's own model with the "
            "same sizes: --arch transformer --encoder-normalize-before --decoder-normalize-before"
        )
    for side in ("encoder", "decoder"):
        for name in ("embed-dim", "ffn-embed-dim", "layers", "attention-heads"):
            value = getattr(cfg, f"{side}_{name.replace('-', '_')}")
            if value is not None and value < 1:
                raise ValueError(f"--{side}-{name} is {value}, expected at least 1")
    for name in ("dropout", "attention_dropout", "activation_dropout"):
        if not 0 <= getattr(cfg, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')} is {getattr(cfg, name)}, expected in [0, 1)")
    if str(cfg.residual_weights) not in list(ResidualWeights):
        raise ValueError(f"--residual-weights is {cfg.residual_weights}, expected none, fixed or trainable")


def as_fairseq(cfg: PostLNTransformerConfig) -> LayerConfig:
    """The same options in the nested form that the layers read.

    Raises:
        ValueError: a model dimension is not a multiple of its heads.
    """
    sizes = {name: getattr(cfg, f"encoder_{name}") for name in _SIZES}
    encoder = EncDecBaseConfig(**sizes)
    given = {name: getattr(cfg, f"decoder_{name}") for name in _SIZES}
    decoder = DecoderConfig(**sizes | {name: value for name, value in given.items() if value is not None})
    for side, config in (("encoder", encoder), ("decoder", decoder)):
        if config.embed_dim % config.attention_heads:
            raise ValueError(
                f"--{side}-embed-dim is {config.embed_dim}, expected a multiple of --{side}-attention-heads "
                f"({config.attention_heads})"
            )
    shared = {name: getattr(cfg, name) for name in _SHARED}
    return LayerConfig(encoder=encoder, decoder=decoder, residual_weights=str(cfg.residual_weights), **shared)


@register_model("post_ln_transformer", dataclass=PostLNTransformerConfig)
class PostLNTransformer(TransformerModelBase):
    """Encoder-decoder Transformer, Post-LN, with the sizes of ``post_ln_transformer_base``.

    Raises:
        ValueError: an option is out of its range, or asks for pre-norm.
    """

    @classmethod
    def add_args(cls, parser: ArgumentParser) -> None:
        gen_parser_from_dataclass(parser, getattr(cls, "__dataclass")(), delete_default=True)

    @classmethod
    def build_model(cls, cfg: PostLNTransformerConfig, task: FairseqTask) -> TransformerModelBase:
        check(cfg)
        model = super().build_model(as_fairseq(cfg), task)
        model.decoder.left_padded = bool(getattr(getattr(task, "cfg", None), "left_pad_target", False))
        return model

    @classmethod
    def build_encoder(cls, cfg: LayerConfig, src_dict: Dictionary, embed_tokens: nn.Embedding) -> Encoder:
        return Encoder(cfg, src_dict, embed_tokens)

    @classmethod
    def build_decoder(cls, cfg: LayerConfig, tgt_dict: Dictionary, embed_tokens: nn.Embedding) -> Decoder:
        return Decoder(cfg, tgt_dict, embed_tokens)


def _sized(class_name: str, **sizes: int) -> type[PostLNTransformerConfig]:
    """The same options and help texts with other default sizes."""
    options = PostLNTransformerConfig.__dataclass_fields__
    resized = [
        (name, options[name].type, field(default=size, metadata=options[name].metadata)) for name, size in sizes.items()
    ]
    return make_dataclass(class_name, resized, bases=(PostLNTransformerConfig,))


TinyConfig = _sized(
    "TinyConfig", encoder_embed_dim=128, encoder_ffn_embed_dim=256, encoder_layers=4, encoder_attention_heads=4
)
SmallConfig = _sized("SmallConfig", encoder_embed_dim=256, encoder_ffn_embed_dim=512, encoder_attention_heads=4)
IwsltDeEnConfig = _sized("IwsltDeEnConfig", encoder_ffn_embed_dim=1024, encoder_attention_heads=4)


@register_model("post_ln_transformer_tiny", dataclass=TinyConfig)
class PostLNTransformerTiny(PostLNTransformer):
    """4+4 layers, width 128, feed-forward 256, 4 heads."""


@register_model("post_ln_transformer_small", dataclass=SmallConfig)
class PostLNTransformerSmall(PostLNTransformer):
    """6+6 layers, width 256, feed-forward 512, 4 heads."""


@register_model("post_ln_transformer_iwslt_de_en", dataclass=IwsltDeEnConfig)
class PostLNTransformerIwsltDeEn(PostLNTransformer):
    """6+6 layers, width 512, feed-forward 1024, 4 heads."""


@register_model("post_ln_transformer_base", dataclass=PostLNTransformerConfig)
class PostLNTransformerBase(PostLNTransformer):
    """6+6 layers, width 512, feed-forward 2048, 8 heads."""
