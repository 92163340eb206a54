"""Checkpoints with nonsense in them, and training that recomputes activations."""

import pytest
import torch
from short_runs import ADAM, GRADINIT

from gradinit_mt.common.errors import UserError
from gradinit_mt.training import checkpoints


def spoiled(trained, tmp_path, spoil):
    """The path of the trained checkpoint after ``spoil`` has changed it."""
    state = checkpoints.load(trained / "checkpoint_last.pt")
    spoil(state)
    torch.save(state, tmp_path / "spoiled.pt")
    return tmp_path / "spoiled.pt"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda state: state.update(cfg="text"), r"not a fairseq checkpoint \(no settings in 'cfg' or 'args'\)"),
        (lambda state: state.pop("extra_state"), r"not a fairseq checkpoint \(it lacks one of .*extra_state"),
        (lambda state: state.update(model=[1]), r"not a fairseq checkpoint \(it lacks one of model"),
        (lambda state: state["extra_state"].pop("previous_training_time"), r"KeyError\('previous_training_time'\)"),
        (lambda state: state.update(optimizer_history=[]), r"IndexError\('list index out of range'\)"),
    ],
    ids=["cfg is text", "no extra_state", "model is a list", "no training time", "no optimizer history"],
)
def test_a_file_that_is_no_checkpoint_is_an_error_with_its_name_and_reason(trained, tmp_path, spoil, message):
    with pytest.raises(UserError, match=rf"spoiled\.pt: .*{message}"):
        checkpoints.facts(spoiled(trained, tmp_path, spoil))


@pytest.mark.parametrize(
    ("settings", "model", "longest"),
    [
        ({"model": "text"}, "None", 1024),
        ({"model": {"_name": ["transformer"]}, "task": [1]}, "['transformer']", None),
    ],
    ids=["model is text", "task is a list"],
)
def test_settings_that_cannot_be_read_count_as_absent(trained, tmp_path, settings, model, longest):
    expected = checkpoints.facts(trained / "checkpoint_last.pt")
    facts = checkpoints.facts(spoiled(trained, tmp_path, lambda state: state["cfg"].update(settings)))
    assert (facts.model, facts.max_source_positions) == (model, longest)
    assert (facts.updates, facts.training_seconds) == (expected.updates, expected.training_seconds)
    assert facts.validation_value == expected.validation_value


def test_recomputed_activations_are_an_error_whose_remedy_works(fairseq, trained, tmp_path):
    stock = [
        *("--arch", "transformer", "--decoder-layers", "2", "--decoder-embed-dim", "32"),
        *("--decoder-ffn-embed-dim", "64", "--decoder-attention-heads", "2", "--checkpoint-activations"),
    ]
    output = fairseq.train(tmp_path / "run", 1, *GRADINIT, *ADAM, *stock, fails=True)
    assert "derivatives that --checkpoint-activations and --offload-activations cannot give: learn the scales" in output
    output = fairseq.train(tmp_path / "run", 1, *GRADINIT, *ADAM, *stock, "--gradinit-from", trained)
    assert "scales taken from" in output
