"""The optimizers beside Adam and SGD, through fairseq-train."""

import json

import pytest
from short_runs import GRADINIT, losses, same_model

RATE = ["--lr", "1e-3", "--weight-decay", "0.01", "--total-num-update", "3"]
PLAIN = ["--task", "gradinit_translation", "--no-gradinit"]


@pytest.mark.parametrize(("name", "start"), [("gi_adam", GRADINIT), ("novograd", PLAIN)])
def test_an_interrupted_run_ends_with_the_same_bits(fairseq, tmp_path, name, start):
    arguments = [*start, *RATE, "--optimizer", name, "--adam-betas", "(0.9, 0.98)"]
    whole = losses(fairseq.train(tmp_path / "whole", 3, *arguments))
    begun, resumed = (losses(fairseq.train(tmp_path / "parts", updates, *arguments)) for updates in (2, 3))
    assert len({loss for _, loss in whole}) == 3
    assert [*begun, *resumed] == whole
    assert same_model(tmp_path / "whole", tmp_path / "parts")
    if start is GRADINIT:
        record = json.loads((tmp_path / "whole" / "gradinit.json").read_text())
        assert record["settings"]["step_from_gradient"] is True


def test_radam_trains_but_gradinit_refuses_it_by_name(fairseq, tmp_path):
    arguments = [*RATE, "--optimizer", "torch_radam"]
    output = fairseq.train(tmp_path / "run", 2, *GRADINIT, *arguments, fails=True)
    assert "not those of RAdam: give --gradinit-step adam or sgd" in output
    assert len(losses(fairseq.train(tmp_path / "run", 3, *PLAIN, *arguments))) == 3
