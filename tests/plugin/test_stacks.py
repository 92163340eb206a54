"""The stacks whose signal GradInit preserves, in this package's models and in fairseq's."""

import argparse

import pytest
import torch
from fairseq.models import build_model

from gradinit_mt.core.signal import SignalLoss, signal
from gradinit_mt.plugin.stacks import stacks_of

SIZES = {"encoder_layers": 2, "decoder_layers": 3, "encoder_embed_dim": 16, "encoder_ffn_embed_dim": 16}
SIZES |= {"encoder_attention_heads": 2, "decoder_embed_dim": 16, "decoder_ffn_embed_dim": 16}
SIZES |= {"decoder_attention_heads": 2, "max_source_positions": 9, "max_target_positions": 9, "dropout": 0.0}


def test_convolutions_have_stacks_too(task, dictionary):
    torch.manual_seed(0)
    kinds = {"encoder_conv_type": "lightweight", "decoder_conv_type": "lightweight"}
    kinds |= {"encoder_glu": True, "decoder_glu": True, "weight_softmax": True, "weight_dropout": 0.0}
    kernels = {"encoder_kernel_size_list": [3, 3], "decoder_kernel_size_list": [3, 3, 3]}
    model = build_model(argparse.Namespace(_name="lightconv", **SIZES, **kinds, **kernels), task)
    tokens = torch.randint(4, 40, (5, 7))
    padded = tokens.clone()
    padded[2, :3] = dictionary.pad()
    watch, found = SignalLoss(stacks_of(model)), []
    for source in (tokens, padded):
        sample = {"net_input": {"src_tokens": source, "src_lengths": torch.full((5,), 7), "prev_output_tokens": tokens}}
        with watch.watching():
            model(**sample["net_input"])
            found.append(torch.stack(watch.signals(sample, 0)))
    assert torch.isfinite(torch.stack(found)).all()
    assert len(found[0]) == 3 and not torch.equal(*found)


@pytest.mark.parametrize("arch", ["post_ln_transformer", "transformer"])
def test_the_signal_is_that_of_real_tokens_between_layers(task, dictionary, arch):
    torch.manual_seed(0)
    model = build_model(argparse.Namespace(_name=arch, **SIZES), task)
    source, target = torch.randint(4, 40, (5, 7)), torch.randint(4, 40, (5, 6))
    source[2, :3], target[3, 4:] = dictionary.pad(), dictionary.pad()
    sample = {"net_input": {"src_tokens": source, "src_lengths": None, "prev_output_tokens": target}}
    watch = SignalLoss(stacks_of(model))
    with watch.watching():
        _, extra = model(**sample["net_input"])
        hidden = model.encoder(source, None, return_all_hiddens=True)["encoder_states"]
        found = [watch.signals(sample, index) for index in (0, 1)]
    for signals, tokens, states in ((found[0], source, hidden), (found[1], target, extra["inner_states"])):
        real = tokens.ne(dictionary.pad())
        expected = [signal(state.transpose(0, 1)[real]) for state in states]  # outside, states are [time, batch, ...]
        assert torch.allclose(torch.stack(signals), torch.stack(expected), rtol=1e-5)
