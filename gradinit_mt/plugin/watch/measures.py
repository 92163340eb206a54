"""What the watch measures: the level of word frequencies, gradient norms, source gain and signal of the layers."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from fairseq import utils
from fairseq.data import FairseqDataset, LanguagePairDataset
from fairseq.models import BaseFairseqModel
from torch import Tensor, nn

from gradinit_mt.core import Stack
from gradinit_mt.core.signal import SignalLoss
from gradinit_mt.plugin.source_gain import source_gain

SENTENCES = 64  # whose source gain and signal are measured: about 1,000 tokens
COUNTED = 20_000  # sentences whose words are counted; of a larger training set, every n-th


def word_entropy(dataset: LanguagePairDataset) -> float:
    """The entropy of the target words' frequencies in bits per token, ends of sentences included."""
    words = torch.cat([dataset.tgt[index] for index in evenly_spaced(len(dataset), COUNTED)])
    counts = torch.bincount(words, minlength=len(dataset.tgt_dict)).double()
    shares = counts / counts.sum()
    return float(torch.special.entr(shares).sum()) / math.log(2)


def evenly_spaced(size: int, most: int) -> list[int]:
    """Up to ``most`` numbers of ``range(size)``, evenly spaced."""
    return np.unique(np.linspace(0, size - 1, min(size, most)).round().astype(int)).tolist()


def fixed_batch(dataset: FairseqDataset, longest: int, tokens: int | None, device: torch.device) -> dict | None:
    """Up to 64 sentences of a dataset, always the same; None if not even two fit.

    It draws no random numbers and leaves the dataset's iterators alone.

    Args:
        longest: length up to which the model takes a sentence.
        tokens: tokens that fit the device, padding included; None for any number.
    """
    indices = [index for index in evenly_spaced(len(dataset), SENTENCES) if dataset.num_tokens(index) <= longest]
    indices.sort(key=dataset.num_tokens)
    while tokens and indices and len(indices) * dataset.num_tokens(indices[-1]) > tokens:
        indices.pop()
    if len(indices) < 2:
        return None
    sample = dataset.collater([dataset[index] for index in indices])
    return utils.move_to_cuda(sample, device) if device.type == "cuda" else sample


def _parameters_of(model: nn.Module) -> dict[str, list[nn.Parameter]]:
    """The trained parameters of an encoder-decoder model: ``encoder``, ``decoder``, ``embeddings``, each once.

    The embeddings include positions and the output projection, which may be tied to them.
    """
    found: dict[str, list[nn.Parameter]] = {"encoder": [], "decoder": [], "embeddings": []}
    embedded = {
        id(parameter)
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding) or name.endswith("output_projection")
        for parameter in module.parameters()
    }
    for name, parameter in model.named_parameters():
        stack = "embeddings" if id(parameter) in embedded else name.partition(".")[0]
        if parameter.requires_grad:
            found.setdefault(stack, []).append(parameter)
    return {stack: parameters for stack, parameters in found.items() if parameters}


def gradient_norms(model: nn.Module) -> dict[str, Tensor]:
    """The norm of the gradient of each stack, on the model's device; 0 where LayerDrop has left no gradient."""
    norms = {}
    for stack, parameters in _parameters_of(model).items():
        gradients = [parameter.grad.float() for parameter in parameters if parameter.grad is not None]
        norms[stack] = nn.utils.get_total_norm(gradients)
    return norms


@dataclass(frozen=True)
class Measured:
    """How much a model uses its source (in bits per token), and the signal in each stack, before and after layers."""

    source_gain: float
    signals: dict[str, list[float]]


def measured(model: BaseFairseqModel, criterion: Callable, sample: dict | None, stacks: dict[str, Stack]) -> Measured:
    """Measured on a sample; the model, its mode and the random stream are as before.

    Args:
        sample: of at least two sentences; without one, nothing is measured.
        stacks: whose signal is measured, by name.
    """
    if sample is None:
        return Measured(math.nan, {})
    signal = SignalLoss(list(stacks.values()))
    passes = []

    def noting(model: nn.Module, sample: dict) -> tuple:
        with signal.watching():
            result = criterion(model, sample)
            passes.append([signal.signals(sample, index) for index in range(len(stacks))])
        return result

    with _undisturbed(model), torch.no_grad():
        gain = source_gain(model, noting, [sample]).gain
    own = passes[0]  # the second pass has other sources
    return Measured(gain, {name: torch.stack(shares).tolist() for name, shares in zip(stacks, own, strict=True)})


@contextmanager
def _undisturbed(model: nn.Module) -> Iterator[None]:
    """Keeps the mode of every module and the random stream of PyTorch; a list with LayerDrop draws from it."""
    modes = [(module, module.training) for module in model.modules()]
    device = next(model.parameters()).device
    with torch.random.fork_rng([device] if device.type == "cuda" else []):
        try:
            yield
        finally:
            for module, training in modes:
                module.training = training
