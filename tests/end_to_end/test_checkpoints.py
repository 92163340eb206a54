"""Checkpoints that nobody should load, and a way of training that leaves GradInit no derivatives."""

import argparse

import pytest
import torch
from short_runs import ADAM, GRADINIT

from gradinit_mt.training import checkpoints


@pytest.fixture
def crafted(trained, tmp_path):
    """A function that writes the trained checkpoint with other settings of its model."""

    def write(**options):
        state = checkpoints.load(trained / "checkpoint_last.pt")
        state["cfg"]["model"] = argparse.Namespace(**vars(_as_namespace(state["cfg"]["model"])) | options)
        torch.save(state, tmp_path / "crafted.pt")
        return tmp_path / "crafted.pt"

    return write


def _as_namespace(settings):
    return settings if isinstance(settings, argparse.Namespace) else argparse.Namespace(**settings)


def touching(path):
    return f"[__import__('pathlib').Path({str(path)!r}).touch()]"


@pytest.mark.parametrize("name", ["adaptive_softmax_cutoff", "encoder_layers", "xformers_att_config"])
def test_code_in_the_settings_is_not_run(fairseq, crafted, tmp_path, name):
    """fairseq would evaluate each of them when it builds some model; fconv is one for encoder_layers."""
    model = {"_name": "fconv", "arch": "fconv"} if name == "encoder_layers" else {}
    path = crafted(**{name: touching(tmp_path / "run")}, **model)
    with pytest.raises(checkpoints.CheckpointError, match=r"its model is|is code, which fairseq would run"):
        checkpoints.load(path)
    output = fairseq.run("generate", "--path", path, "--cpu", status=1)
    assert f"crafted.pt: {name}=\"[__import__('pathlib')" in output
    output = fairseq.train(tmp_path / "resumed", 9, *GRADINIT, *ADAM, "--restore-file", path, status=1)
    assert "is code, which fairseq would run" in output
    assert not (tmp_path / "run").exists()


def test_a_model_that_is_not_known_is_refused_by_name(crafted):
    with pytest.raises(
        checkpoints.CheckpointError, match=r"its model is 'fconv'; expected one of post_ln_transformer, "
    ):
        checkpoints.load(crafted(_name="fconv", arch="fconv"))
    with pytest.raises(checkpoints.CheckpointError, match=r"its model is 'fconv' or 'post_ln_transformer'; expected"):
        checkpoints.load(crafted(_name="fconv", arch="post_ln_transformer"))


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
