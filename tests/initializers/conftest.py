"""Small models of several shapes, and what their initializers are given."""

import argparse
import itertools

import pytest
import torch
import torch.nn.functional as F
from fairseq.models import build_model

from gradinit_mt.initializers import INITIALIZERS, Start

SMALL = {"encoder_embed_dim": 32, "encoder_ffn_embed_dim": 48, "encoder_attention_heads": 2, "encoder_layers": 3}
SHAPES = {
    "equal sides": {},
    "unequal sides": {"decoder_embed_dim": 24, "decoder_layers": 2, "decoder_ffn_embed_dim": 64},
    "shared embeddings": {"share_all_embeddings": True, "decoder_layers": 4},
}


@pytest.fixture
def make(task):
    """A function that builds a small model, always from the same seed."""

    def build(**options):
        sizes = {"max_source_positions": 64, "max_target_positions": 64}
        cfg = argparse.Namespace(_name="post_ln_transformer", **(SMALL | sizes | options))
        torch.manual_seed(0)
        return build_model(cfg, task).eval()

    return build


@pytest.fixture(params=SHAPES)
def shape(request):
    """The options of a model."""
    return SHAPES[request.param]


@pytest.fixture
def batches(dictionary):
    """Batches of eight random sentence pairs, sources padded on the left and targets on the right."""
    generator = torch.Generator().manual_seed(2)
    pad, found = dictionary.pad(), []
    for _ in range(3):
        source, target = (torch.randint(4, len(dictionary), (8, n), generator=generator) for n in (11, 9))
        for row in range(8):
            source[row, : row % 4] = pad
            target[row, 9 - row % 3 :] = pad
        inputs = {"src_tokens": source, "src_lengths": source.ne(pad).sum(1), "prev_output_tokens": target[:, :-1]}
        found.append({"net_input": inputs, "target": target[:, 1:]})
    return found


def divide(batch, choose):
    """Parts of one of these batches."""
    inputs, target = batch["net_input"], batch["target"]
    return [
        {"net_input": {name: value[list(part)] for name, value in inputs.items()}, "target": target[list(part)]}
        for part in choose(len(target))
    ]


@pytest.fixture
def initialize(dictionary, batches):
    """A function that applies an initializer to a model and returns the model."""

    def loss_fn(model, batch):
        logits, _ = model(**batch["net_input"])
        target = batch["target"].flatten()
        loss = F.cross_entropy(logits.flatten(0, 1), target, ignore_index=dictionary.pad(), reduction="sum")
        return loss, int(target.ne(dictionary.pad()).sum())

    def apply(name, model, seed=1, all_reduce=None):
        INITIALIZERS[name].initialize(Start(model, seed, loss_fn, itertools.cycle(batches), divide, all_reduce))
        return model

    return apply
