"""Tasks registered with fairseq."""

from . import gradinit_translation as gradinit_translation
