"""Models registered with fairseq."""

from gradinit_mt.models import post_ln_transformer as post_ln_transformer
