"""Which checkpoint a run starts from, so that its parameters are left alone."""

from types import SimpleNamespace

import pytest

from gradinit_mt.plugin.initialize import restored_from

NOTHING = {"restore_file": "checkpoint_last.pt", "checkpoint_suffix": ""}
NOTHING |= {"continue_once": None, "finetune_from_model": None}


@pytest.mark.parametrize(
    ("there", "options", "found"),
    [
        ((), {}, None),
        (("run/checkpoint_last.pt",), {"finetune_from_model": "other.pt"}, "run/checkpoint_last.pt"),
        (("other.pt",), {"finetune_from_model": "other.pt"}, "other.pt"),
        (("once.pt", "other.pt"), {"continue_once": "once.pt", "finetune_from_model": "other.pt"}, "once.pt"),
        (("other.pt", "run/checkpoint_last.pt"), {"restore_file": "other.pt"}, "other.pt"),
        (("run/checkpoint_last.pt",), {"checkpoint_suffix": "_x"}, None),
        (("run/checkpoint_last_x.pt",), {"checkpoint_suffix": "_x"}, "run/checkpoint_last_x.pt"),
        (("other_x.pt",), {"checkpoint_suffix": "_x", "restore_file": "other.pt"}, "other_x.pt"),
        ((), {"restore_file": "run"}, None),  # a directory
    ],
)
def test_it_is_the_file_that_fairseq_loads(tmp_path, monkeypatch, there, options, found):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "run").mkdir()
    for name in there:
        (tmp_path / name).touch()
    cfg = SimpleNamespace(save_dir="run", **NOTHING | options)
    assert restored_from(cfg) == found
