"""Optimizers as fairseq builds them, and tensors with random gradients for them."""

import torch
from fairseq.optim import FairseqOptimizer, build_optimizer
from omegaconf import OmegaConf
from torch import nn

import gradinit_mt

gradinit_mt.register_with_fairseq()


def make_parameters() -> list[nn.Parameter]:
    torch.manual_seed(0)
    return [nn.Parameter(torch.randn(shape)) for shape in ((4, 3), (5,), (2, 2, 2))]


def build(name: str, options: dict, parameters: list[nn.Parameter]) -> FairseqOptimizer:
    return build_optimizer(OmegaConf.create({"_name": name, **options}), parameters)


def give_gradients(parameters: list[nn.Parameter], seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    for p in parameters:
        p.grad = torch.randn(p.shape, generator=generator)
