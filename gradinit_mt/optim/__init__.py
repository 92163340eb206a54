"""Optimizers registered with fairseq."""

from gradinit_mt.optim import torch_optimizers as torch_optimizers
