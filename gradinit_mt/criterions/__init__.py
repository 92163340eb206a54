"""Criterions registered with fairseq."""

from gradinit_mt.criterions import label_smoothed as label_smoothed
