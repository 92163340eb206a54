"""Small networks, batches, losses and settings for the tests of the core."""

import torch
import torch.nn.functional as F
from torch import nn

from gradinit_mt.core import GradInitConfig, find_blocks

VOCABULARY = 11

# Bounds on the gradient norm with which 50 iterations take both kinds of step.
MIXED = {
    ("transformer", "adam"): 12.0,
    ("transformer", "sgd"): 0.9,
    ("convolution", "adam"): 1.5,
    ("convolution", "sgd"): 0.25,
}


class TinyTransformer(nn.Module):
    """A Post-LN encoder that predicts each token, with its softmax tied to the embedding."""

    def __init__(self, tied: bool = True, activation: str = "relu") -> None:
        super().__init__()
        self.embedding = nn.Embedding(VOCABULARY, 8)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(8, 2, 16, dropout=0.0, activation=activation, batch_first=True) for _ in range(2)
        )
        self.softmax = nn.Linear(8, VOCABULARY, bias=False)
        if tied:
            self.softmax.weight = self.embedding.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        x = self.embedding(tokens)
        for layer in self.layers:
            x = layer(x)
        return self.softmax(x)


class RealSizeTransformer(nn.Module):
    """Encoder and decoder of ``transformer_iwslt_de_en``: 6+6 layers, width 512, feed-forward 1024, 4 heads."""

    def __init__(self, activation: str) -> None:
        super().__init__()
        self.embedding = nn.Embedding(1000, 512)
        nn.init.normal_(self.embedding.weight, std=512**-0.5)
        self.register_buffer("positions", torch.randn(64, 512))
        self.layers = nn.Transformer(512, 4, 6, 6, 1024, dropout=0.0, activation=activation, batch_first=True)
        self.softmax = nn.Linear(512, 1000, bias=False)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        length = tokens.shape[1]
        x = self.embedding(tokens) * 512**0.5 + self.positions[:length]
        mask = nn.Transformer.generate_square_subsequent_mask(length)
        return self.softmax(self.layers(x, x, tgt_mask=mask, tgt_is_causal=True))


class TinyConvolution(nn.Module):
    """Two plain convolutions without normalization and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.classifier = nn.Linear(4, 3)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        x = torch.tanh(self.second(torch.tanh(self.first(images))))
        return self.classifier(x.mean(dim=(2, 3)))


def token_loss(model: nn.Module, part: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, float]:
    """Summed cross-entropy and the number of targets, for tokens or images."""
    inputs, targets = part
    logits = model(inputs)
    return F.cross_entropy(logits.flatten(0, -2), targets.flatten(), reduction="sum"), targets.numel()


def transformer_case(seed: int = 0, dtype: torch.dtype = torch.float64, activation: str = "relu"):
    """A network and an endless supply of pairs (S, S~)."""
    torch.manual_seed(seed)
    return TinyTransformer(activation=activation).to(dtype), _pairs(seed, _token_part)


def convolution_case(seed: int = 0, dtype: torch.dtype = torch.float64):
    """The same for images."""
    torch.manual_seed(seed)
    return TinyConvolution().to(dtype), _pairs(seed, lambda generator: _image_part(generator, dtype))


def _pairs(seed, part):
    generator = torch.Generator().manual_seed(seed)
    while True:
        yield [part(generator)], [part(generator)]


def _token_part(generator):
    tokens = torch.randint(VOCABULARY, (6, 5), generator=generator)
    return tokens, tokens.roll(1, dims=1)


def _image_part(generator, dtype):
    images = torch.randn(6, 1, 5, 5, generator=generator, dtype=torch.float64).to(dtype)
    return images, torch.randint(3, (6,), generator=generator)


def settings(step, gamma, **changes):
    """Settings of GradInit for these networks."""
    values = {"step": step, "eta": 0.05, "gamma": gamma, "iterations": 50, "tau": 0.02, "hvp": "exact"} | changes
    return GradInitConfig(**values)


def tensors(model):
    """Copies of the parameters, by name."""
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def by_name(model, state):
    """The learned scales, by the names of their tensors."""
    return dict(zip((block.name for block in find_blocks(model)), state.scales.tolist(), strict=True))


def three_parts(pairs):
    """Pairs whose S has three parts."""
    for [first], second in pairs:
        yield [first, next(pairs)[0][0], next(pairs)[0][0]], second
