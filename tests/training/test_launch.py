"""What the launcher decides: arguments, devices, what may change in a continued run, and mending of checkpoints."""

import os
from pathlib import Path
from types import SimpleNamespace

import fairseq.options as fairseq_options
import pytest
import torch

from gradinit_mt import lr_schedulers, models, tasks  # noqa: F401 - for fairseq's parser
from gradinit_mt.corpora.layout import PreparedCorpus
from gradinit_mt.training import launch
from gradinit_mt.training.presets import PRESETS, preset_for


def options(corpus, **changes):
    values = {"preset": None, "tokens_per_update": None, "seed": 1, "save_dir": Path("runs/x"), "further": []}
    return SimpleNamespace(**values | {"data": corpus.directory} | changes)


@pytest.fixture
def trained_checkpoint():
    """Writes a file with what a fairseq checkpoint says of its progress."""

    def write(path, updates):
        extra = {"val_loss": None, "previous_training_time": 1.0}
        history = [{"num_updates": updates}]
        cfg = {"checkpoint": {"best_checkpoint_metric": "loss"}}
        torch.save({"model": {}, "cfg": cfg, "optimizer_history": history, "extra_state": extra}, path)

    return write


@pytest.fixture(scope="module")
def corpus(toy_corpus):
    return PreparedCorpus.load(toy_corpus)


def value_of(arguments, name):
    """The last value of an option: the one that counts."""
    return arguments[len(arguments) - 1 - arguments[::-1].index(name) + 1]


@pytest.mark.parametrize("processes", [1, 3, 8])
def test_tokens_per_update_do_not_depend_on_the_number_of_processes(corpus, processes):
    arguments = launch.fairseq_options(options(corpus, preset="iwslt14.de-en"), corpus, processes, processes)
    preset = PRESETS["iwslt14.de-en"]
    for name, tokens in (("--max-tokens", preset.tokens_per_update), ("--gradinit-max-tokens", preset.gradinit_tokens)):
        assert tokens <= int(value_of(arguments, name)) * processes < tokens + processes
    assert value_of(arguments, "--distributed-world-size") == str(processes)


def test_what_the_user_adds_comes_last(corpus):
    arguments = launch.fairseq_options(options(corpus, further=["--lr", "0.25"]), corpus, 0, 1)
    assert value_of(arguments, "--lr") == "0.25"
    assert arguments.count("--lr") == 2


def test_what_the_launcher_sets_itself_is_refused_among_the_users_options(corpus):
    with pytest.raises(launch.TrainingError, match="--save-dir after --: the launcher sets it"):
        launch.fairseq_options(options(corpus, further=["--save-dir", "elsewhere"]), corpus, 0, 1)


def test_a_corpus_without_settings_of_its_own_gets_the_general_ones():
    assert preset_for("multi30k") == "multi30k"
    assert preset_for("mine") == "other"


def test_several_processes_on_a_cpu_talk_through_gloo(corpus):
    two = launch.fairseq_options(options(corpus), corpus, 0, 2)
    assert {"--cpu", "gloo", "legacy_ddp"} <= set(two)
    assert "--nproc_per_node=2" in launch.command_line(two, 2)
    one = launch.fairseq_options(options(corpus), corpus, 0, 1)
    assert "gloo" not in one
    assert "torch.distributed.run" not in launch.command_line(one, 1)


@pytest.mark.parametrize(
    ("present", "device", "processes", "expected"),
    [
        (0, "auto", None, (0, 1)),
        (0, "auto", 2, (0, 2)),
        (4, "auto", None, (4, 4)),
        (4, "gpu", 2, (2, 2)),
        (4, "cpu", None, (0, 1)),
    ],
)
def test_devices(monkeypatch, present, device, processes, expected):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: present)
    assert launch.devices(device, processes) == expected


def test_more_gpus_than_there_are_is_an_error(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(launch.TrainingError, match="3 GPUs asked for, this machine has 1"):
        launch.devices("gpu", 3)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(launch.TrainingError, match="no GPU found; use --device cpu"):
        launch.devices("gpu", None)


def test_changed_options_are_named_but_for_those_that_only_prolong_or_watch():
    before = ["corpus/bin", "--lr", "0.1", "--cpu", "--max-update", "10"]
    assert launch.changed_options(before, ["corpus/bin", "--cpu", "--lr=1e-1", "--max-update", "10"]) == []
    assert launch.changed_options(before, [*before, "--user-dir", "elsewhere", "--log-interval", "7"]) == []
    assert launch.changed_options(before, ["other/bin", "--lr", "0.2", "--max-update", "10", "--fp16"]) == [
        "cpu set there, unset now",
        "data corpus/bin there, other/bin now",
        "fp16 unset there, set now",
        "lr 0.1 there, 0.2 now",
    ]
    assert launch.changed_options(["d", "--lr", "1"], ["d", "--lr", "1", "--lr", "2"]) == ["lr 1 there, 2 now"]


def test_more_updates_are_another_run_unless_the_schedule_is_fixed():
    """The linear schedule ends at --max-update: more updates would raise the learning rate of the next one."""
    assert launch.changed_options(["d", "--max-update", "10"], ["d", "--max-update", "20"]) == [
        "max-update 10 there, 20 now"
    ]
    fixed = ["d", "--total-num-update", "20"]
    assert launch.changed_options([*fixed, "--max-update", "10"], [*fixed, "--max-update", "20"]) == []


@pytest.mark.parametrize(
    "further",
    [
        ["--optimizer", "sgd", "--momentum", "0.9", "--lr", "0.1"],
        ["--criterion", "cross_entropy"],
        ["--task", "translation", "--arch", "transformer_iwslt_de_en"],
        ["--no-gradinit", "--warmup-updates", "100", "--lr", "5e-4"],
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("preset", PRESETS)
def test_fairseqs_own_parser_takes_every_preset_with_every_documented_change(corpus, preset, further):
    arguments = launch.fairseq_options(options(corpus, preset=preset, further=further), corpus, 0, 1)
    parsed = fairseq_options.parse_args_and_arch(fairseq_options.get_training_parser(), arguments)
    assert parsed.max_update == PRESETS[preset].options["max-update"]


def test_a_complete_run_is_recognized_by_its_last_checkpoint(tmp_path, trained_checkpoint):
    trained_checkpoint(tmp_path / "checkpoint_last.pt", updates=8)
    assert launch.is_complete(tmp_path, ["d", "--max-update", "8"])
    assert not launch.is_complete(tmp_path, ["d", "--max-update", "8", "--max-update", "9"])
    assert not launch.is_complete(tmp_path / "none", ["d", "--max-update", "8"])


def test_a_truncated_last_checkpoint_gives_way_to_the_newest_whole_one(tmp_path):
    names = ("checkpoint1.pt", "checkpoint_2_1000.pt", "checkpoint_average2_epochs_1-2.pt", "checkpoint_last.pt")
    for number, name in enumerate(names):
        torch.save({"update": number}, tmp_path / name)
        os.utime(tmp_path / name, (number, number))
    whole = (tmp_path / "checkpoint_2_1000.pt").read_bytes()
    last = tmp_path / "checkpoint_last.pt"
    assert launch.mend_last_checkpoint(tmp_path) is None
    cut = last.read_bytes()[:-100]
    last.write_bytes(cut)
    assert "going on from checkpoint_2_1000.pt" in launch.mend_last_checkpoint(tmp_path)
    assert last.read_bytes() == whole
    assert (tmp_path / "checkpoint_last.broken").read_bytes() == cut


def test_without_a_whole_checkpoint_the_run_starts_again_and_the_broken_one_is_kept(tmp_path):
    (tmp_path / "checkpoint_last.pt").write_bytes(b"cut short")
    assert "starting again" in launch.mend_last_checkpoint(tmp_path)
    assert not (tmp_path / "checkpoint_last.pt").exists()
    assert (tmp_path / "checkpoint_last.broken").read_bytes() == b"cut short"


def test_on_a_cpu_memory_is_kept_and_what_the_user_set_is_left(monkeypatch):
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    assert "mmap_max=0" in launch.environment(gpus=0, processes=1)["GLIBC_TUNABLES"]
    assert "GLIBC_TUNABLES" not in launch.environment(gpus=1, processes=1)
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=1")
    assert launch.environment(gpus=0, processes=1)["GLIBC_TUNABLES"] == "glibc.malloc.check=1"
