"""Checkpoints that nobody should load, and a way of training that leaves GradInit no derivatives."""

import argparse

import pytest
import torch
from short_runs import ADAM, GRADINIT

from gradinit_mt.training import checkpoints

SMALL = {"encoder_embed_dim": 16, "decoder_embed_dim": 16, "decoder_out_embed_dim": 16, "dropout": 0.1}
FCONV = {
    "_name": "fconv",
    "arch": "fconv",
    "decoder_layers": "[(16, 3)]",
    "decoder_attention": "True",
    **SMALL,
    "encoder_embed_path": None,
    "decoder_embed_path": None,
    "share_input_output_embed": False,
    "max_source_positions": 99,
    "max_target_positions": 99,
}


def code_in(state: dict, way: str, code: str) -> None:
    """Puts code where fairseq would evaluate it when it builds the model of a checkpoint."""
    cfg, model = state["cfg"], dict(state["cfg"]["model"])
    if way == "option":
        cfg["model"] = argparse.Namespace(_name="transformer", arch="transformer", adaptive_softmax_cutoff=code)
    elif way == "prefixed option":  # copied without its prefix
        cfg["model"] = argparse.Namespace(_name="transformer", arch="transformer", encoder_xformers_att_config=code)
    elif way == "resolver":
        resolver = '${oc.create:{xformers_att_config:"' + code.replace('"', "'") + '"}}'
        cfg["model"] = model | {"_name": "transformer", "encoder": resolver}
    elif way == "another model":
        cfg["model"] = argparse.Namespace(**FCONV, encoder_layers=code)
    elif way == "bytes":
        cfg["model"] = argparse.Namespace(**FCONV, encoder_layers=code.encode())
    else:  # fairseq takes the settings from there first
        state["args"] = argparse.Namespace(**FCONV, encoder_layers=code, task="translation", data="")


@pytest.mark.parametrize("way", ["option", "prefixed option", "resolver", "another model", "bytes", "args"])
def test_code_in_the_settings_is_not_run(fairseq, trained, tmp_path, way):
    """Neither by fairseq-generate, which evaluate.sh starts, nor by fairseq-train."""
    state = checkpoints.load(trained / "checkpoint_last.pt")
    code_in(state, way, f"__import__('pathlib').Path({str(tmp_path / 'run')!r}).touch()")
    torch.save(state, tmp_path / "crafted.pt")
    fairseq.run("generate", "--path", tmp_path / "crafted.pt", "--cpu", status=1)
    assert not (tmp_path / "run").exists()
    if way == "option":
        output = fairseq.run("generate", "--path", tmp_path / "crafted.pt", "--cpu", status=1)
        assert "is no plain value, and fairseq would run it as code" in output
        output = fairseq.train(tmp_path / "resumed", 9, *GRADINIT, *ADAM, "--restore-file", tmp_path / "crafted.pt")
        assert "Loaded checkpoint" in output, "training takes its settings from the command line"
        assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "spoil",
    [
        lambda state: state.update(cfg="text"),
        lambda state: state["cfg"].update(model="text"),
        lambda state: state["cfg"].update(model={"_name": ["transformer"]}, task=[1]),
        lambda state: state.pop("extra_state"),
        lambda state: state["extra_state"].pop("previous_training_time"),
        lambda state: state.update(optimizer_history=[]),
        lambda state: state.update(model=[1]),
    ],
)
def test_a_checkpoint_that_is_none_is_named_or_known_by_no_name(trained, tmp_path, spoil):
    state = checkpoints.load(trained / "checkpoint_last.pt")
    spoil(state)
    torch.save(state, tmp_path / "spoiled.pt")
    try:
        assert checkpoints.facts(tmp_path / "spoiled.pt").model in ("None", "['transformer']")
    except checkpoints.CheckpointError as error:
        assert "spoiled.pt: " in str(error)


def test_activations_that_are_recomputed_are_an_error_with_a_remedy_that_works(fairseq, trained, tmp_path):
    stock = [
        *(
            "--arch",
            "transformer",
            "--decoder-layers",
            "2",
            "--decoder-embed-dim",
            "32",
            "--decoder-ffn-embed-dim",
            "64",
        ),
        *("--decoder-attention-heads", "2", "--checkpoint-activations"),
    ]
    output = fairseq.train(tmp_path / "run", 1, *GRADINIT, *ADAM, *stock, status=1)
    assert "derivatives that --checkpoint-activations and --offload-activations cannot give: learn the scales" in output
    output = fairseq.train(tmp_path / "run", 1, *GRADINIT, *ADAM, *stock, "--gradinit-from", trained)
    assert "scales taken from" in output
