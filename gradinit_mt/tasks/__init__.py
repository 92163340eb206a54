"""Tasks registered with fairseq."""

from gradinit_mt.tasks import gradinit_translation as gradinit_translation
