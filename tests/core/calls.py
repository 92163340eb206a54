"""What the tests give ``gradinit()``: a small model, its batches and an optimizer."""

import itertools

import torch
from networks import VOCABULARY, TinyTransformer


def batches(count=None, seed=0, size=12):
    generator = torch.Generator().manual_seed(seed)
    for _ in itertools.count() if count is None else range(count):
        tokens = torch.randint(VOCABULARY, (size, 5), generator=generator)
        yield tokens, tokens.roll(1, dims=1)


def adam(model, **changes):
    return torch.optim.Adam(model.parameters(), **{"lr": 0.01, "betas": (0.8, 0.9), "eps": 1e-6} | changes)


def network(seed=0):
    torch.manual_seed(seed)
    return TinyTransformer().double()
