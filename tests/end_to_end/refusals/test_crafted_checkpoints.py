"""Checkpoints and options with code in them are refused by every command, and nothing of them runs.

Each payload creates ``ran``.
"""

import argparse
import json
import os
import pickle
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from short_runs import ADAM, GRADINIT
from unchanged import unchanged

from gradinit_mt.common.errors import UserError
from gradinit_mt.evaluation import average, export, run
from gradinit_mt.training import checkpoints, launch

CODE = "__import__('pathlib').Path({!r}).touch()"
NOT_PLAIN = "is not a plain value, and fairseq would run it as code"

FCONV = {
    "_name": "fconv",
    "arch": "fconv",
    "dropout": 0.1,
    "encoder_embed_dim": 16,
    "encoder_embed_path": None,
    "decoder_embed_dim": 16,
    "decoder_embed_path": None,
    "decoder_out_embed_dim": 16,
    "decoder_layers": "[(16, 3)]",
    "decoder_attention": "True",
    "share_input_output_embed": False,
    "max_source_positions": 99,
    "max_target_positions": 99,
}


class MakesFolder:
    """Pickled as the call that makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def options(**settings) -> argparse.Namespace:
    return argparse.Namespace(_name="transformer", arch="transformer", **settings)


def pickled(state, code, ran):
    state["task_state"] = MakesFolder(ran)


def option(state, code, ran):
    state["cfg"]["model"] = options(adaptive_softmax_cutoff=code)


def prefixed_option(state, code, ran):
    """fairseq copies it and drops the prefix."""
    state["cfg"]["model"] = options(encoder_xformers_att_config=code)


def option_of_the_optimizer(state, code, ran):
    state["cfg"]["optimizer"] |= {"adam_betas": code}


def resolver(state, code, ran):
    reference = '${oc.create:{xformers_att_config:"' + code.replace('"', "'") + '"}}'
    state["cfg"]["model"] = dict(state["cfg"]["model"]) | {"_name": "transformer", "encoder": reference}


def another_model(state, code, ran):
    state["cfg"]["model"] = argparse.Namespace(**FCONV, encoder_layers=code)


def bytes_for_text(state, code, ran):
    state["cfg"]["model"] = argparse.Namespace(**FCONV, encoder_layers=code.encode())


def args(state, code, ran):
    """fairseq prefers them to "cfg"."""
    state["args"] = argparse.Namespace(**FCONV, encoder_layers=code, task="translation", data="")


def path(state, code, ran):
    """Of embeddings, here a file that cannot even be opened."""
    state["cfg"]["model"] = options(encoder_embed_path=str(ran))


CRAFTED = {
    pickled: r"cannot be read as a checkpoint: it holds objects of type \S*\.mkdir",
    option: f"adaptive_softmax_cutoff: .*{NOT_PLAIN}",
    prefixed_option: f"encoder_xformers_att_config: .*{NOT_PLAIN}",
    option_of_the_optimizer: f"adam_betas: .*{NOT_PLAIN}",
    resolver: r"encoder: '\$\{oc\.create.* is a reference, and fairseq would resolve it",
    another_model: f"encoder_layers: .*{NOT_PLAIN}",
    bytes_for_text: "encoder_layers: .*expected an option's value as text, got bytes",
    args: f"encoder_layers: .*{NOT_PLAIN}",
    path: "encoder_embed_path: .* is a file, and fairseq would read it",
}


TRAINED_FROM = (pickled, option, resolver, args, path)  # one of each kind


@pytest.fixture(params=CRAFTED, ids=lambda way: way.__name__)
def crafted(request, trained, tmp_path):
    """A checkpoint in a save dir: in which way, the message that refuses it, and what its payload would create."""
    state, ran = checkpoints.load(trained / "checkpoint_last.pt"), tmp_path / "ran"
    request.param(state, CODE.format(str(ran)), ran)
    (tmp_path / "run").mkdir()
    torch.save(state, tmp_path / "run" / "checkpoint_last.pt")
    file, message = tmp_path / "run" / "checkpoint_last.pt", rf"checkpoint_last\.pt: {CRAFTED[request.param]}"
    return SimpleNamespace(way=request.param, file=file, message=message, ran=ran)


def test_the_payloads_do_run_where_nothing_stops_them(tmp_path):
    eval(CODE.format(str(tmp_path / "code")))
    pickle.loads(pickle.dumps(MakesFolder(tmp_path / "pickle")))
    assert sorted(file.name for file in tmp_path.iterdir()) == ["code", "pickle"]


def test_every_command_refuses_them(fairseq, crafted, tmp_path, monkeypatch):
    file = crafted.file
    monkeypatch.setattr(launch, "run_logged", None)  # fairseq-train is not even started
    save_dir, corpus = str(file.parent), ["--data", str(fairseq.corpus)]
    resume = [str(fairseq.corpus), "--save-dir", save_dir, "--device", "cpu"]
    note_run(file.parent, fairseq.corpus, resume)
    commands = {
        "evaluate.sh": lambda: run.evaluate(run.parse_arguments([save_dir, "--checkpoint", "last", "--cpu", *corpus])),
        "export.sh": lambda: export.export(
            export.parse_arguments([save_dir, "--checkpoint", "last", "--output", str(tmp_path / "model"), *corpus])
        ),
        "average": lambda: average.average_checkpoint(averaged(file), tmp_path / "average.pt"),
        "train.sh": lambda: launch.train(resume),
    }
    for name, command in commands.items():
        with unchanged(tmp_path, besides=["run/.lock", "other.pt"]), pytest.raises(UserError, match=crafted.message):
            command()
        assert not crafted.ran.exists(), name


def note_run(save_dir, corpus, arguments):
    """Makes the save dir that of a run with these arguments."""
    chosen = launch.parse_arguments(arguments)
    line = launch.options.compose("other", launch.PreparedCorpus.load(corpus), save_dir, chosen.seed, [])
    (save_dir / "run.json").write_text(json.dumps({"data": str(corpus), "options": line, "starts": []}))


def averaged(file):
    """The checkpoint and another one."""
    other = file.parent.parent / "other.pt"
    other.write_bytes(b"is read later")
    return [file, other]


def test_stock_fairseq_refuses_them(fairseq, crafted, tmp_path):
    with unchanged(tmp_path):
        expect(crafted.message, fairseq.run("generate", "--path", crafted.file, "--cpu", fails=True))
    assert not crafted.ran.exists()
    if crafted.way in TRAINED_FROM:
        with unchanged(tmp_path, besides=["new"]):
            training = [*GRADINIT, *ADAM, "--restore-file", crafted.file, "--no-save"]
            expect(crafted.message, fairseq.train(tmp_path / "new", 9, *training, fails=True))
        assert not crafted.ran.exists() and not list(tmp_path.glob("new/*"))


def expect(message, output):
    assert re.search(message, output), output[-3000:]


def test_no_path_in_a_checkpoint_is_followed(fairseq, trained, tmp_path):
    """Not even a user dir, or checkpoints to start from, by a command that builds its task from the checkpoint."""
    state, ran = checkpoints.load(trained / "checkpoint_last.pt"), tmp_path / "ran"
    (tmp_path / "plugin").mkdir()
    (tmp_path / "plugin" / "__init__.py").write_text(CODE.format(str(ran)))
    torch.save({"task_state": MakesFolder(ran)}, tmp_path / "pickled.pt")
    state["cfg"]["common"]["user_dir"] = str(tmp_path / "plugin")
    state["cfg"]["checkpoint"] |= dict.fromkeys(["restore_file", "finetune_from_model"], str(tmp_path / "pickled.pt"))
    state["cfg"]["task"] |= {"data": "/nowhere", "gradinit_from": "/nowhere"}
    torch.save(state, tmp_path / "named.pt")
    here = ["--path", tmp_path / "named.pt", "--cpu", "--task", "gradinit_translation", "--max-tokens", "4000"]
    assert "valid on 'valid'" in fairseq.run("validate", *here)
    assert not ran.exists()


def test_training_resumes_with_the_pretrained_embeddings_of_its_own_command_line(fairseq, tmp_path):
    """Whose file the checkpoint names: evaluation would read it, and refuses it."""
    (tmp_path / "words.txt").write_text("0 32\n")
    stock = ["--arch", "transformer", "--decoder-embed-dim", "32", "--decoder-layers", "1", "--disable-validation"]
    own = [*ADAM, *stock, "--encoder-embed-path", tmp_path / "words.txt"]
    fairseq.train(tmp_path / "run", 1, *own)
    output = fairseq.train(tmp_path / "run", 2, *own)
    assert re.search(r"checkpoint_last\.pt \(epoch 1 @ 1 updates\)", output)
    with pytest.raises(UserError, match=CRAFTED[path]):
        checkpoints.load(tmp_path / "run" / "checkpoint_last.pt")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--arch", "lightconv", "--encoder-glu"], "invalid eval_bool value"),
        (["--arch", "transformer", "--optimizer", "adam", "--cpu", "--max-tokens", "99", "--adam-betas"], NOT_PLAIN),
    ],
    ids=["while parsing", "in training"],
)
def test_fairseq_train_refuses_code_on_its_command_line(fairseq, tmp_path, arguments, message):
    code = CODE.format(str(tmp_path / "ran"))
    output = fairseq.run("train", *arguments, code, "--save-dir", tmp_path / "run", fails=True)
    assert message in output
    assert not list(tmp_path.glob("ran")) and not list(tmp_path.glob("run/*"))


def test_the_launcher_refuses_code_before_it_writes_anything(fairseq, tmp_path):
    with unchanged(tmp_path), pytest.raises(UserError, match=f"adam_betas: .*{NOT_PLAIN}"):
        launch.train([str(fairseq.corpus), "--save-dir", str(tmp_path / "run"), "--", "--adam-betas", CODE])
