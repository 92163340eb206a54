"""Weighted residual sums, from GradInit to a translation by the stock commands."""

import json

import pytest
from short_runs import ADAM, GRADINIT, last_model

OPTIONS = ["--gradinit-vector-upper-bound", "3", "--precision", "bfloat16", "--gradinit-precision", "full"]


@pytest.mark.parametrize("kind", ["fixed", "trainable"])
def test_they_are_trained_saved_and_used_in_translation(fairseq, tmp_path, kind):
    save_dir = tmp_path / "run"
    fairseq.train(save_dir, 2, *GRADINIT, *ADAM, *OPTIONS, "--residual-weights", kind)
    weights = {name: value for name, value in last_model(save_dir).items() if name.endswith("residual_weight")}
    assert len(weights) == 2 * 2 + 2 * 3
    blocks = json.loads((save_dir / "gradinit.json").read_text())["blocks"]
    scales = {block["name"]: block["scale"] for block in blocks if block["name"] in weights}
    if kind == "trainable":
        assert scales.keys() == weights.keys()
        assert any(scale > 1 for scale in scales.values())
        assert all(abs(weights[name] / scales[name] - 1).max() < 0.01 for name in weights), "two updates of 1e-3"
    else:
        assert not scales and all((value == 1).all() for value in weights.values())
    output = fairseq.run("generate", "--path", save_dir / "checkpoint_last.pt", "--cpu", "--max-len-b", "10")
    assert "H-0\t" in output
