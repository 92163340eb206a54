"""Optimizers registered with fairseq."""

from gradinit_mt.optim import gi_adam as gi_adam
from gradinit_mt.optim import novograd as novograd
from gradinit_mt.optim import torch_optimizers as torch_optimizers
