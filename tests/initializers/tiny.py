"""A tiny Post-LN Transformer, its batches, and learning on two data-parallel ranks."""

from functools import partial

import torch
import torch.distributed
import torch.multiprocessing
import torch.nn.functional as F
from torch import nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from gradinit_mt.initializers import INITIALIZERS, Start
from gradinit_mt.initializers.metainit import MetaInitConfig, learn_metainit
from gradinit_mt.initializers.nio import NIOConfig, learn_nio

VOCABULARY = 7


class Tiny(nn.Module):
    """An encoder that predicts each token; its softmax is tied to its embedding."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 8)
        self.layers = nn.ModuleList(nn.TransformerEncoderLayer(8, 2, 12, 0.0, batch_first=True) for _ in range(2))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x)
        return F.linear(x, self.embedding.weight)


def network(seed: int = 0) -> Tiny:
    """In float64."""
    torch.manual_seed(seed)
    return Tiny().double()


def loss_fn(model, part):
    """Summed cross-entropy and the number of targets."""
    inputs, targets = part
    return F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), reduction="sum"), targets.numel()


def batches(seed: int = 0, parts: int = 2):
    """An endless supply of batches of this many parts."""
    generator = torch.Generator().manual_seed(seed)
    while True:
        tokens = torch.randint(VOCABULARY, (parts, 4, 5), generator=generator)
        yield [(part, part.roll(1, dims=1)) for part in tokens]


def scaled_loss(model, theta0, scales, part):
    """The mean loss of a part and the tensors m * theta0, with m in the graph."""
    theta = {name: scales[name] * value for name, value in theta0.items()}
    with sdpa_kernel(SDPBackend.MATH):  # has derivatives of every order
        loss, size = loss_fn(partial(functional_call, model, theta), part)
    return loss / size, list(theta.values())


def flat_gradient(loss, tensors):
    """With a graph."""
    gradient = torch.autograd.grad(loss, tensors, create_graph=True, materialize_grads=True)
    return torch.cat([t.flatten() for t in gradient])


def learned(model, theta0):
    """The scale of every tensor that has one."""
    return {
        name: float(p.detach().norm() / theta0[name].norm())
        for name, p in model.named_parameters()
        if theta0[name].any()
    }


def tensors(model):
    """Copies of the parameters, by name."""
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def initialize(name, model, seed):
    """Applies an initializer with batches of 20 sentences; returns which sentences it chose from each of them."""
    chosen = []

    def divide(batch, choose):
        chosen.append(choose(len(batch[0])))
        return [tuple(t[list(part)] for t in batch) for part in chosen[-1]]

    whole = (tuple(torch.cat(t) for t in zip(*parts, strict=True)) for parts in batches(parts=5))
    INITIALIZERS[name].initialize(Start(model, seed, loss_fn, whole, divide))
    return chosen


def learn(name, model, given, all_reduce=None, loss=loss_fn):
    """A short run of one algorithm that takes both kinds of step."""
    if name == "nio":
        return learn_nio(model, loss, given, NIOConfig(gamma=3.0, iterations=6, rate=0.02), all_reduce=all_reduce)
    return learn_metainit(model, loss, given, MetaInitConfig(iterations=6), all_reduce=all_reduce)


def on_two_ranks(names, directory):
    """For each algorithm, the tensors that each of two ranks learns, with every other half of the sentences."""
    torch.multiprocessing.spawn(_rank, (names, directory), nprocs=2)
    return {name: [torch.load(directory / f"{name}{rank}") for rank in range(2)] for name in names}


def _rank(rank, names, directory):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{directory}/store", rank=rank, world_size=2)
    for name in names:
        model = network()
        share = ([tuple(t[rank::2] for t in part) for part in parts] for parts in batches())
        learn(name, model, share, torch.distributed.all_reduce)
        torch.save(tensors(model), directory / f"{name}{rank}")
    torch.distributed.destroy_process_group()
