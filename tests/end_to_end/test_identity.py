"""Scales that cannot move: GradInit runs, and training proceeds bit for bit as if it had not."""

import functools

import pytest
from short_runs import ADAM, GRADINIT, MODEL, TRAINING, same_model

from gradinit_mt.record.record import Record

AT_ONE = [
    *("--gradinit-lower-bound", "1", "--gradinit-upper-bound", "1"),
    *("--gradinit-vector-lower-bound", "1", "--gradinit-vector-upper-bound", "1"),
]
STOCK_WITH_LAYERDROP = [
    *("--arch", "transformer", "--encoder-layers", "2", "--encoder-embed-dim", "32", "--encoder-ffn-embed-dim", "64"),
    *("--encoder-attention-heads", "2", "--decoder-layers", "2", "--decoder-embed-dim", "32"),
    *("--decoder-ffn-embed-dim", "64", "--decoder-attention-heads", "2", "--encoder-layerdrop", "0.5"),
]


MODELS = {"post-ln": MODEL, "stock with LayerDrop": STOCK_WITH_LAYERDROP}


def train(fairseq, save_dir, model, *arguments):
    paths = ["--max-update", "3", "--save-dir", save_dir]
    fairseq.run("train", *MODELS[model], *TRAINING, *ADAM, *GRADINIT, "--dropout", "0.3", *paths, *arguments)


@pytest.fixture(scope="module")
def without(fairseq, tmp_path_factory):
    """A function that returns the save dir of a run without GradInit; it trains each model once."""

    @functools.cache
    def trained(model):
        save_dir = tmp_path_factory.mktemp("without") / "run"
        train(fairseq, save_dir, model, "--no-gradinit")
        return save_dir

    return trained


@pytest.mark.parametrize(
    ("model", "form"), [("post-ln", "signal"), ("post-ln", "paper"), ("stock with LayerDrop", "signal")]
)
def test_scales_held_at_one_leave_training_as_it_is_without_gradinit(fairseq, without, tmp_path, model, form):
    """Including dropout, LayerDrop and the order of batches: GradInit leaves training's random streams alone."""
    train(fairseq, tmp_path / "with", model, "--gradinit-form", form, *AT_ONE)
    state = Record.load(tmp_path / "with").state
    assert state.iteration == 6
    assert set(state.scales.tolist()) == {1.0}
    assert same_model(tmp_path / "with", without(model))
