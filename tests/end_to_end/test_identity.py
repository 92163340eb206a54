"""Scales that cannot move: GradInit runs, and training is bit for bit as if it had not."""

import pytest
import torch
from short_runs import ADAM, GRADINIT, MODEL, TRAINING

from gradinit_mt.plugin import compat  # noqa: F401 - for loading checkpoints
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


@pytest.mark.parametrize(
    ("model", "form"), [(MODEL, "signal"), (MODEL, "paper"), (STOCK_WITH_LAYERDROP, "signal")], ids=str
)
def test_scales_held_at_one_leave_training_as_it_is_without_gradinit(fairseq, tmp_path, model, form):
    """Dropout, LayerDrop and the order of batches included: GradInit draws nothing that training draws."""

    def train(name, *arguments):
        paths = ["--max-update", "3", "--save-dir", tmp_path / name]
        fairseq.run("train", *model, *TRAINING, *ADAM, *GRADINIT, "--dropout", "0.3", *paths, *arguments)
        return torch.load(tmp_path / name / "checkpoint_last.pt", weights_only=True)["model"]

    with_scales, without = train("with", "--gradinit-form", form, *AT_ONE), train("without", "--no-gradinit")
    assert Record.load(tmp_path / "with").state.iteration == 6
    assert set(Record.load(tmp_path / "with").state.scales.tolist()) == {1.0}
    assert all(torch.equal(value, without[name]) for name, value in with_scales.items())
