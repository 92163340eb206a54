"""Compiled layers, as far as tracing goes: code is generated for GPUs, and takes minutes on a CPU."""

import argparse

import pytest
import torch
from fairseq.models import build_model
from torch import nn

from gradinit_mt.core import GradInitError
from gradinit_mt.plugin.compiling import compile_layers

SIZES = {"encoder_layers": 1, "encoder_embed_dim": 16, "encoder_ffn_embed_dim": 16, "encoder_attention_heads": 2}
SIZES |= {"decoder_layers": 1, "dropout": 0.0, "max_source_positions": 9, "max_target_positions": 9}


@pytest.fixture
def traced(monkeypatch):
    monkeypatch.setattr(nn.Module, "compile", trace)


def trace(module):
    module._compiled_call_impl = torch.compile(module._call_impl, backend="aot_eager")


@pytest.mark.parametrize("weights", ["none", "fixed", "trainable"])
def test_they_compute_the_same_from_the_same_parameters(task, traced, weights):
    models = []
    for _ in range(2):
        torch.manual_seed(0)
        options = argparse.Namespace(_name="post_ln_transformer_tiny", residual_weights=weights, **SIZES)
        models.append(build_model(options, task))
    compile_layers(models[1])
    assert models[0].state_dict().keys() == models[1].state_dict().keys()
    for length in (4, 7, 5):
        source, target = torch.randint(4, 40, (3, length)), torch.randint(4, 40, (3, length + 1))
        logits = [model(source, None, target)[0] for model in models]
        assert torch.allclose(*logits, atol=1e-6)
        gradients = [
            torch.autograd.grad(logit.square().sum(), list(model.parameters()))
            for logit, model in zip(logits, models, strict=True)
        ]
        assert all(torch.allclose(a, b, atol=1e-3) for a, b in zip(*gradients, strict=True))


def test_other_models_are_refused(task):
    model = build_model(argparse.Namespace(_name="transformer", **SIZES), task)
    with pytest.raises(GradInitError, match="--compile-layers is for post_ln_transformer models, not TransformerModel"):
        compile_layers(model)
