"""Models registered with fairseq."""

from . import post_ln_transformer as post_ln_transformer
