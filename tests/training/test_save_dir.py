"""Save dirs: whose they are, whether they are complete, and the checkpoint to resume from."""

import argparse
import json

import pytest
import torch

from gradinit_mt.common.errors import UserError
from gradinit_mt.training import save_dir


@pytest.fixture
def trained_checkpoint():
    """Writes a file with the progress that a fairseq checkpoint records."""

    def write(path, updates, **settings):
        extra = {"val_loss": None, "previous_training_time": 1.0}
        history = [{"num_updates": updates}]
        model = argparse.Namespace(_name="transformer", **settings)
        cfg = {"checkpoint": {"best_checkpoint_metric": "loss"}, "model": model, "task": {}}
        torch.save({"model": {}, "cfg": cfg, "optimizer_history": history, "extra_state": extra}, path)

    return write


def test_one_launcher_at_a_time(tmp_path):
    with (
        save_dir.locked(tmp_path / "run"),
        pytest.raises(UserError, match=r"run is in use by another run"),
        save_dir.locked(tmp_path / "run"),
    ):
        raise AssertionError
    with save_dir.locked(tmp_path / "run"):
        pass


def test_a_save_dir_whose_launcher_was_killed_before_it_described_its_run_is_usable(tmp_path):
    with save_dir.locked(tmp_path):
        (tmp_path / ".run.json.tmp").write_text("{")
    save_dir.require_usable(tmp_path)
    (tmp_path / "notes").touch()
    with pytest.raises(UserError, match=r"is not empty and holds no run\.json; use another --save-dir"):
        save_dir.require_usable(tmp_path)


@pytest.mark.parametrize("kind", ["file", "dangling"])
def test_a_save_dir_that_is_not_a_directory_is_named(tmp_path, kind):
    path = tmp_path / "run"
    path.touch() if kind == "file" else path.symlink_to(tmp_path / "gone")
    with pytest.raises(UserError, match="run: exists and is not a directory"), save_dir.locked(path):
        raise AssertionError
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"data": 1, "options": [], "starts": []}', "\udcff"])
def test_a_corrupt_description_is_an_error_that_names_it(tmp_path, text):
    (tmp_path / "run.json").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UserError, match=r"run.json: cannot be read .*use another save dir"):
        save_dir.read_run(tmp_path)


def test_a_description_is_read_as_it_was_written(tmp_path):
    assert save_dir.read_run(tmp_path) is None
    run = {"data": "corpus", "options": ["--lr", "1"], "starts": []}
    save_dir.note_start(tmp_path, run, ["fairseq-train", "a b"])
    assert save_dir.read_run(tmp_path) == json.loads(json.dumps(run))
    assert run["starts"][0]["command"] == "fairseq-train 'a b'"
    assert "fairseq" in run["starts"][0]["versions"]["fairseq"]


def test_after_a_failed_first_save_a_run_has_not_begun(tmp_path):
    """A failing fairseq leaves a crash.pt, and after a full disk a temporary file."""
    for name in ("crash.pt", "checkpoint_last.pt.tmp", "train.log"):
        (tmp_path / name).touch()
    assert not save_dir.has_begun(tmp_path)
    (tmp_path / "checkpoint_1_1000.pt").touch()
    assert save_dir.has_begun(tmp_path)


def test_a_complete_run_is_recognized_by_its_last_checkpoint(tmp_path, trained_checkpoint):
    trained_checkpoint(tmp_path / "checkpoint_last.pt", updates=8)
    assert save_dir.is_complete(tmp_path, {"max_update": 8})
    assert not save_dir.is_complete(tmp_path, {"max_update": 9})
    assert not save_dir.is_complete(tmp_path, {})
    assert not save_dir.is_complete(tmp_path / "none", {"max_update": 8})


def test_a_run_with_pretrained_embeddings_may_name_their_file_again(tmp_path, trained_checkpoint):
    trained_checkpoint(tmp_path / "checkpoint_last.pt", updates=8, encoder_embed_path="a.txt")
    options = {"max_update": 8, "lr": [0.1], "encoder_embed_path": "a.txt"}
    assert save_dir.is_complete(tmp_path, options)
    for other in ({"encoder_embed_path": "b.txt"}, {"encoder_embed_path": None, "decoder_embed_path": "a.txt"}):
        with pytest.raises(UserError, match=r"encoder_embed_path: 'a\.txt' is a file"):
            save_dir.is_complete(tmp_path, options | other)
