"""The original Post-LN Transformer (Vaswani et al., 2017): LayerNorm after each residual sum, x = LN(x + f(x)).

The layers are fairseq's own; this file fixes their order, names the sizes and checks the options.
"""

from dataclasses import dataclass, field, make_dataclass
from typing import Optional

from fairseq import utils
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.dataclass.utils import gen_parser_from_dataclass
from fairseq.models import register_model
from fairseq.models.transformer import TransformerModelBase
from fairseq.models.transformer.transformer_config import DecoderConfig, EncDecBaseConfig, TransformerConfig
from omegaconf import II

# fairseq's command-line parser reads the types of dataclass fields, and knows Optional[X] but not X | None.


@dataclass
class PostLNTransformerConfig(FairseqDataclass):
    """Options of the model; the names are those of fairseq's own Transformer."""

    encoder_embed_dim: int = field(
        default=512, metadata={"help": "model dimension d of the encoder, a multiple of its heads"}
    )
    encoder_ffn_embed_dim: int = field(default=2048, metadata={"help": "inner feed-forward dimension, at least 1"})
    encoder_layers: int = field(default=6, metadata={"help": "encoder layers, at least 1"})
    encoder_attention_heads: int = field(default=8, metadata={"help": "encoder attention heads, at least 1"})
    decoder_embed_dim: Optional[int] = field(default=None, metadata={"help": "default: as the encoder"})
    decoder_ffn_embed_dim: Optional[int] = field(default=None, metadata={"help": "default: as the encoder"})
    decoder_layers: Optional[int] = field(default=None, metadata={"help": "default: as the encoder"})
    decoder_attention_heads: Optional[int] = field(default=None, metadata={"help": "default: as the encoder"})
    encoder_learned_pos: bool = field(default=False, metadata={"help": "learn the encoder's positions"})
    decoder_learned_pos: bool = field(default=False, metadata={"help": "learn the decoder's positions"})
    activation_fn: ChoiceEnum(utils.get_available_activation_fns()) = field(
        default="relu", metadata={"help": "activation of the feed-forward blocks"}
    )
    dropout: float = field(default=0.1, metadata={"help": "dropout of each block's output, in [0, 1)"})
    attention_dropout: float = field(default=0.0, metadata={"help": "dropout of attention weights, in [0, 1)"})
    activation_dropout: float = field(
        default=0.0, metadata={"help": "dropout inside the feed-forward blocks, in [0, 1)"}
    )
    share_decoder_input_output_embed: bool = field(
        default=False, metadata={"help": "tie the decoder's embedding and its output projection"}
    )
    share_all_embeddings: bool = field(
        default=False, metadata={"help": "tie both embeddings and the output projection (needs a joined dictionary)"}
    )
    encoder_normalize_before: bool = field(default=False, metadata={"help": "refused: this model is Post-LN"})
    decoder_normalize_before: bool = field(default=False, metadata={"help": "refused: this model is Post-LN"})
    max_source_positions: int = II("task.max_source_positions")
    max_target_positions: int = II("task.max_target_positions")


def check(cfg: PostLNTransformerConfig) -> None:
    """Raises ValueError for an option out of its range, or for pre-norm."""
    if cfg.encoder_normalize_before or cfg.decoder_normalize_before:
        raise ValueError(
            "post_ln_transformer normalizes after each residual sum. For pre-norm use fairseq's own model: "
            "--arch transformer --encoder-normalize-before --decoder-normalize-before, with this model's sizes"
        )
    for side in ("encoder", "decoder"):
        for name in ("embed_dim", "ffn_embed_dim", "layers", "attention_heads"):
            value = getattr(cfg, f"{side}_{name}")
            if value is not None and value < 1:
                option = f"{side}_{name}".replace("_", "-")
                raise ValueError(f"--{option} is {value}, expected at least 1")
    for name in ("dropout", "attention_dropout", "activation_dropout"):
        if not 0 <= getattr(cfg, name) < 1:
            raise ValueError(f"--{name.replace('_', '-')} is {getattr(cfg, name)}, expected in [0, 1)")


def as_fairseq(cfg: PostLNTransformerConfig) -> TransformerConfig:
    """The same options in the nested form that fairseq's layers read.

    Raises:
        ValueError: a model dimension is not a multiple of its heads.
    """
    encoder = EncDecBaseConfig(
        embed_dim=cfg.encoder_embed_dim,
        ffn_embed_dim=cfg.encoder_ffn_embed_dim,
        layers=cfg.encoder_layers,
        attention_heads=cfg.encoder_attention_heads,
        learned_pos=cfg.encoder_learned_pos,
    )
    decoder = DecoderConfig(
        embed_dim=cfg.decoder_embed_dim or cfg.encoder_embed_dim,
        ffn_embed_dim=cfg.decoder_ffn_embed_dim or cfg.encoder_ffn_embed_dim,
        layers=cfg.decoder_layers or cfg.encoder_layers,
        attention_heads=cfg.decoder_attention_heads or cfg.encoder_attention_heads,
        learned_pos=cfg.decoder_learned_pos,
    )
    for side, sizes in (("encoder", encoder), ("decoder", decoder)):
        if sizes.embed_dim % sizes.attention_heads:
            raise ValueError(
                f"--{side}-embed-dim is {sizes.embed_dim}, expected a multiple of --{side}-attention-heads "
                f"({sizes.attention_heads})"
            )
    return TransformerConfig(
        encoder=encoder,
        decoder=decoder,
        activation_fn=cfg.activation_fn,
        dropout=cfg.dropout,
        attention_dropout=cfg.attention_dropout,
        activation_dropout=cfg.activation_dropout,
        share_decoder_input_output_embed=cfg.share_decoder_input_output_embed,
        share_all_embeddings=cfg.share_all_embeddings,
        max_source_positions=cfg.max_source_positions,
        max_target_positions=cfg.max_target_positions,
    )


@register_model("post_ln_transformer", dataclass=PostLNTransformerConfig)
class PostLNTransformer(TransformerModelBase):
    """Encoder-decoder Transformer, Post-LN; the sizes are those of ``post_ln_transformer_base``.

    Raises:
        ValueError: an option is out of its range, or asks for pre-norm.
    """

    @classmethod
    def add_args(cls, parser) -> None:
        gen_parser_from_dataclass(parser, getattr(cls, "__dataclass")(), delete_default=True)

    @classmethod
    def build_model(cls, cfg: PostLNTransformerConfig, task):
        check(cfg)
        return super().build_model(as_fairseq(cfg), task)


def _sized(class_name: str, **sizes: int) -> type[PostLNTransformerConfig]:
    """The same options with other default sizes, and with their help texts."""
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
    """4+4 layers, d 128, feed-forward 256, 4 heads."""


@register_model("post_ln_transformer_small", dataclass=SmallConfig)
class PostLNTransformerSmall(PostLNTransformer):
    """6+6 layers, d 256, feed-forward 512, 4 heads."""


@register_model("post_ln_transformer_iwslt_de_en", dataclass=IwsltDeEnConfig)
class PostLNTransformerIwsltDeEn(PostLNTransformer):
    """6+6 layers, d 512, feed-forward 1024, 4 heads."""


@register_model("post_ln_transformer_base", dataclass=PostLNTransformerConfig)
class PostLNTransformerBase(PostLNTransformer):
    """6+6 layers, d 512, feed-forward 2048, 8 heads."""
