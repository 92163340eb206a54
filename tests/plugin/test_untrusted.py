"""What a checkpoint's settings may hold, at any depth, and what the user may override."""

from argparse import Namespace
from pathlib import Path

import pytest
import torch
from fairseq import checkpoint_utils
from omegaconf import OmegaConf

from gradinit_mt.common.errors import UserError
from gradinit_mt.plugin.checkpoints import untrusted

FILE = Path("a.pt")


@pytest.mark.parametrize(
    "settings",
    [
        {
            "adam_betas": "(0.9, 0.98)",
            "encoder_layers": 6,
            "decoder_layers": "[(512, 3)] * 20",
            "left_pad_source": "True",
        },
        {"adaptive_softmax_cutoff": None, "encoder": {"xformers_att_config": "{'name': 'x'}", "embed_path": ""}},
        {"save_dir": "runs/f(x)", "user_dir": "/somewhere", "eval_bleu_args": '{"beam": 5}', "data": "a:b"},
    ],
)
def test_settings_of_real_runs_are_harmless(settings):
    untrusted.require_harmless({"cfg": {"model": Namespace(**settings)}}, FILE)
    untrusted.require_harmless({"args": Namespace(**settings), "cfg": None}, FILE)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            (name, "f()")
            for name in ("adam_betas", "encoder_layers", "decoder_xformers_att_config", "character_filters")
        ),
        *((name, "x") for name in ("encoder_embed_path", "w2v_path", "pretrained_xlm_checkpoint", "embed_path")),
        *((name, "x") for name in ("load_pretrained_encoder_from", "pretrained_checkpoint")),
        ("anything", "${oc.env:HOME}"),
        ("list", ["a", ("b", "${x}")]),
    ],
)
def test_harm_is_found_at_any_depth_and_in_settings_that_hold_themselves(name, value):
    settings = {"model": {"deep": Namespace(more={name: value})}}
    settings["model"]["itself"] = settings
    with pytest.raises(UserError, match=rf"a\.pt: {name}: .*--model-overrides \"{{'{name}': None}}\""):
        untrusted.require_harmless({"cfg": settings}, FILE)
    untrusted.require_harmless({"cfg": settings}, FILE, {name})
    own = [(name, text) for text in ("x", "f()", "${x}", "${oc.env:HOME}")]
    untrusted.require_harmless({"cfg": settings}, FILE, own=own)
    with pytest.raises(UserError, match=rf"a\.pt: {name}: "):
        untrusted.require_harmless({"cfg": settings}, FILE, own=[(name, "other"), ("other", value)])


def test_fairseq_loads_a_checkpoint_whose_harm_the_user_overrides(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_utils, "load_checkpoint_to_cpu", checkpoint_utils.load_checkpoint_to_cpu)
    untrusted.refuse_harmful_checkpoints()
    history = {"num_updates": 1, "optimizer_name": "x", "lr_scheduler_state": {}}
    state = {"cfg": {"model": {"encoder_embed_path": "/nowhere"}}, "model": {}, "optimizer_history": [history]}
    torch.save(state | {"extra_state": {"train_iterator": None}}, tmp_path / "a.pt")
    with pytest.raises(UserError, match=r"encoder_embed_path: '/nowhere' is a file, and fairseq would read it"):
        checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / "a.pt"))
    loaded = checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / "a.pt"), {"encoder_embed_path": None})
    assert loaded["cfg"]["model"]["encoder_embed_path"] is None
    with untrusted.resuming(OmegaConf.create({"model": {"encoder_embed_path": "/nowhere"}})):
        checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / "a.pt"))
    with (
        untrusted.resuming(OmegaConf.create({"model": {"encoder_embed_path": "/other"}, "path": "/nowhere"})),
        pytest.raises(UserError, match="encoder_embed_path: '/nowhere' is a file"),
    ):
        checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / "a.pt"))
    with pytest.raises(UserError, match="train with the same value"):
        checkpoint_utils.load_checkpoint_to_cpu(str(tmp_path / "a.pt"))


def test_one_changed_bit_of_a_tensor_is_noticed(tmp_path):
    values = torch.arange(1.0, 65)
    torch.save({"x": values}, tmp_path / "a.pt")
    untrusted.require_undamaged(tmp_path / "a.pt")
    content = (tmp_path / "a.pt").read_bytes()
    start = content.index(values.numpy().tobytes())
    for position in range(start, start + 256, 37):
        (tmp_path / "a.pt").write_bytes(content[:position] + bytes([content[position] ^ 1]) + content[position + 1 :])
        with pytest.raises(UserError, match=r"damaged, its part \S+ differs from its checksum"):
            untrusted.require_undamaged(tmp_path / "a.pt")
