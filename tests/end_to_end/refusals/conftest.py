"""What a command can be given: a corpus, a run and an exported model, for a test to spoil."""

import json
import shutil
from pathlib import Path

import pytest
from refusing import BEST, LAST, RECORD, described

from gradinit_mt.corpora.layout import SUBWORD_FILES
from gradinit_mt.training import launch


@pytest.fixture
def folder(toy_corpus, trained, tmp_path, monkeypatch) -> Path:
    """A corpus, a finished run on it and an exported model without weights. Nothing may start fairseq."""
    for module, name in ((launch, "run_logged"), (launch.newest, "_set_aside")):
        monkeypatch.setattr(module, name, lambda *_, **__: pytest.fail("nothing may be started or moved"))
    monkeypatch.setattr("gradinit_mt.evaluation.generate.run", lambda *_: pytest.fail("nothing may be started"))
    shutil.copytree(toy_corpus, tmp_path / "corpus")
    (tmp_path / "run").mkdir()
    for name in (BEST, LAST, RECORD):
        shutil.copy(trained / Path(name).name, tmp_path / name)
    (tmp_path / "run" / ".lock").touch()
    corpus = launch.PreparedCorpus.load(tmp_path / "corpus")
    line = launch.options.compose("other", corpus, tmp_path / "run", 1, [])
    started = {"data": str(tmp_path / "corpus"), "options": line, "starts": []}
    (tmp_path / "run" / "run.json").write_text(json.dumps(started))
    (tmp_path / "model").mkdir()
    for name in SUBWORD_FILES["sentencepiece"]:
        shutil.copy(tmp_path / "corpus" / name, tmp_path / "model")
    described(lambda _: None)(tmp_path)
    (tmp_path / "model" / "model.bin").touch()
    return tmp_path
