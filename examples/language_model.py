"""A decoder-only Post-LN language model in plain PyTorch, trained at its full rate from the first update.

    python examples/language_model.py              # about MINUTES on 2 CPU cores; LOSS bits a subword
    python examples/language_model.py --plain      # the same without GradInit: it stays at the frequency of words

The text is the German side of the embedded sample, its words and punctuation marks as tokens.
"""

import argparse
import gzip
import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import gradinit_mt

TEXT = Path(__file__).resolve().parent.parent / "data" / "sample" / "train.de.gz"
PAD = 0


class LanguageModel(nn.Module):
    """Post-LN Transformer, d 128, its softmax tied to the embedding."""

    def __init__(self, words: int, layers: int, d: int = 128) -> None:
        super().__init__()
        self.embedding = nn.Embedding(words, d)
        nn.init.normal_(self.embedding.weight, std=d**-0.5)
        self.positions = nn.Parameter(torch.randn(64, d) * 0.1)
        layer = nn.TransformerEncoderLayer(d, 4, 2 * d, dropout=0.1, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, layers, enable_nested_tensor=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.embedding(tokens) * self.embedding.embedding_dim**0.5 + self.positions[: tokens.shape[1]]
        mask = nn.Transformer.generate_square_subsequent_mask(tokens.shape[1])
        return F.linear(self.layers(x, mask, tokens == PAD, is_causal=True), self.embedding.weight)


def summed_loss(model: nn.Module, batch: Tensor) -> tuple[Tensor, int]:
    """Cross-entropy in nats, summed over the tokens, and their number."""
    inputs, targets = batch[:, :-1], batch[:, 1:]
    loss = F.cross_entropy(model(inputs).flatten(0, 1), targets.flatten(), ignore_index=PAD, reduction="sum")
    return loss, int((targets != PAD).sum())


def sentences() -> tuple[Tensor, int]:
    """[sentences, longest], each between two marks and padded, and the number of different words."""
    lines = gzip.decompress(TEXT.read_bytes()).decode().splitlines()
    split = [line.replace(".", " .").replace(",", " ,").replace("?", " ?").split() for line in lines]
    words = {word: number for number, word in enumerate(sorted({w for line in split for w in line}), start=2)}
    rows = [[1, *(words[word] for word in line), 1] for line in split]
    longest = max(map(len, rows))
    return torch.tensor([row + [PAD] * (longest - len(row)) for row in rows]), len(words) + 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--plain", action="store_true", help="without GradInit")
    parser.add_argument("--layers", type=int, default=12)
    parser.add_argument("--updates", type=int, default=300)
    parser.add_argument("--lr", type=float, default=2e-3)
    options = parser.parse_args()
    torch.manual_seed(1)
    text, words = sentences()
    model = LanguageModel(words, options.layers)
    optimizer = torch.optim.Adam(model.parameters(), lr=options.lr, betas=(0.9, 0.98))
    order = torch.randperm(len(text))
    batches = [text[order[start : start + 128]] for start in range(0, len(text), 128)]
    batches = [batch[:, : int((batch != PAD).sum(1).max())] for batch in batches]

    if not options.plain:
        report = gradinit_mt.gradinit(model, summed_loss, batches, optimizer)
        print(f"GradInit: {report.state.iteration} iterations in {report.state.seconds:.0f} s")

    for update in range(options.updates):
        loss, size = summed_loss(model, batches[update % len(batches)])
        optimizer.zero_grad()
        (loss / size).backward()
        optimizer.step()
        if (update + 1) % 50 == 0:
            print(f"update {update + 1}: {loss.item() / size / math.log(2):.2f} bits a word", flush=True)


if __name__ == "__main__":
    main()
