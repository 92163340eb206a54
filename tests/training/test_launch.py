"""Devices and processes, the environment of the training process, and the status of a stopped run."""

import hashlib
import json
import math
import shutil
import signal

import pytest
import torch

from gradinit_mt.common.errors import UserError
from gradinit_mt.plugin.watch import stop_note
from gradinit_mt.training import launch
from gradinit_mt.training.process import Outcome


def test_several_processes_start_under_torchrun():
    assert "--nproc_per_node=2" in launch.command_line(["data"], 2)
    assert "torch.distributed.run" not in launch.command_line(["data"], 1)


def test_machines_meet_at_machine_0():
    line = launch.command_line(["data"], 1, nodes=2, node=1, rendezvous="host:29500")
    expected = ["--nproc_per_node=1", "--nnodes=2", "--node_rank=1", "--master_addr=host", "--master_port=29500"]
    assert [part for part in line if part in expected] == expected
    assert "--standalone" not in line


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
    with pytest.raises(UserError, match="3 GPUs requested, this machine has 1"):
        launch.devices("gpu", 3)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    with pytest.raises(UserError, match="no GPU found; use --device cpu"):
        launch.devices("gpu", None)


def test_on_a_cpu_memory_is_kept_unless_the_user_decided_otherwise(monkeypatch):
    monkeypatch.delenv("GLIBC_TUNABLES", raising=False)
    assert "mmap_max=0" in launch.environment(gpus=0, processes=1)["GLIBC_TUNABLES"]
    assert "GLIBC_TUNABLES" not in launch.environment(gpus=1, processes=1)
    monkeypatch.setenv("GLIBC_TUNABLES", "glibc.malloc.check=1")
    assert launch.environment(gpus=0, processes=1)["GLIBC_TUNABLES"] == "glibc.malloc.check=1"


def test_on_a_cpu_the_processes_share_the_cores_and_see_no_gpu(monkeypatch):
    monkeypatch.setattr("os.sched_getaffinity", lambda _: set(range(6)))
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1")
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    variables = {processes: launch.environment(gpus=0, processes=processes) for processes in (1, 3, 4, 9)}
    assert {processes: here["OMP_NUM_THREADS"] for processes, here in variables.items()} == {
        1: "6",
        3: "2",
        4: "1",
        9: "1",
    }
    assert {here["CUDA_VISIBLE_DEVICES"] for here in variables.values()} == {""}
    monkeypatch.setenv("LOGLEVEL", "WARNING")
    on_gpus = launch.environment(gpus=2, processes=2)
    assert on_gpus["LOGLEVEL"] == launch.environment(gpus=0, processes=1)["LOGLEVEL"] == "INFO", "or nothing is shown"
    assert on_gpus["CUDA_VISIBLE_DEVICES"] == "0,1"
    assert "OMP_NUM_THREADS" not in on_gpus
    monkeypatch.setenv("OMP_NUM_THREADS", "5")
    assert launch.environment(gpus=0, processes=3)["OMP_NUM_THREADS"] == "5"


def fails(status, interrupted_by=None):
    """A stand-in for the training process, which leaves the note of a stopped run unless it has been interrupted."""

    def run(_line, _environment, log_file, *_arguments, **_options) -> Outcome:
        if interrupted_by is None:
            stop_note.write(log_file.parent.with_name("run"), {"message": "stopped after update 400: why"})
        return Outcome(status, interrupted_by, [])

    return run


def start(toy_corpus, directory, *arguments):
    with pytest.raises((SystemExit, UserError)) as caught:
        launch.train([str(toy_corpus), "--save-dir", str(directory), "--device", "cpu", *arguments])
    return caught.value.code if isinstance(caught.value, SystemExit) else str(caught.value)


def test_a_stopped_run_has_its_own_status_on_every_machine(toy_corpus, tmp_path, monkeypatch, capsys):
    machine = ("--nodes", "2", "--rendezvous", "host:29500", "--node")
    for status, arguments in ((3, ()), (1, ("--processes", "2")), (1, (*machine, "0")), (1, (*machine, "1"))):
        monkeypatch.setattr(launch, "run_logged", fails(status))
        assert start(toy_corpus, tmp_path / "run", *arguments) == stop_note.STATUS
    text = capsys.readouterr().err
    assert text.count("run was stopped; other settings need another --save-dir") == 4
    assert text.count("=> stopped after update 400: why") == 1, "where the first process did not show it"


def save(path, updates):
    """Writes what the launcher reads of a checkpoint."""
    cfg = {"checkpoint": {"best_checkpoint_metric": "loss"}, "model": {"_name": "x"}, "task": {}}
    extra_state = {"val_loss": None, "previous_training_time": 1.0}
    state = {"model": {}, "cfg": cfg, "extra_state": extra_state, "optimizer_history": [{"num_updates": updates}]}
    torch.save(state, path)


def test_only_a_run_with_a_checkpoint_is_said_to_be_done(toy_corpus, tmp_path, monkeypatch, capsys):
    """One with --no-save has none, nor one whose --restore-file is of a run that was complete."""

    def run(_line, _environment, log_file, *_arguments, **_options) -> Outcome:
        if log_file.parent.name == "saved":
            save(log_file.with_name("checkpoint_best.pt"), 9)
        return Outcome(0, None, [])

    monkeypatch.setattr(launch, "run_logged", run)
    for name, option in (("none", "--no-save"), ("saved", "--no-last-checkpoints")):
        launch.train([str(toy_corpus), "--save-dir", str(tmp_path / name), "--device", "cpu", "--", option])
    first, second = capsys.readouterr().err.strip().splitlines()[1::2]
    assert first == f"=> ended without a checkpoint in {tmp_path / 'none'}"
    assert second == f"=> done; next: scripts/evaluate.sh {tmp_path / 'saved'}"


@pytest.fixture
def lines(monkeypatch):
    """The command lines of training processes, which save a checkpoint of 5 updates and end with status 1."""
    started = []

    def run(line, _environment, log_file, *_arguments, **_options) -> Outcome:
        started.append(line)
        save(log_file.with_name("checkpoint_last.pt"), 5)
        return Outcome(1, None, [])

    monkeypatch.setattr(launch, "run_logged", run)
    return started


def test_a_run_that_began_from_another_checkpoint_continues_from_its_own(toy_corpus, tmp_path, lines, capsys):
    save(tmp_path / "other.pt", 9)
    restore = ["--restore-file", str(tmp_path / "other.pt"), "--reset-optimizer"]
    for _ in range(2):
        start(toy_corpus, tmp_path / "run", "--", *restore)
    first, second = lines
    assert [part for part in first if part not in second] == restore
    assert "--restore-file and --reset-* applied to the first start" in capsys.readouterr().err
    assert "holds a run with other settings (reset-optimizer set there" in start(toy_corpus, tmp_path / "run")


def test_a_run_continues_on_a_corpus_that_has_moved_if_its_data_is_the_same(toy_corpus, tmp_path, lines):
    run, corpus = tmp_path / "run", tmp_path / "corpus"
    shutil.copytree(toy_corpus, corpus)
    start(corpus, run)
    moved = corpus.rename(tmp_path / "moved")
    start(moved, run)
    assert [str(moved / "bin") in line for line in lines] == [False, True]
    noted = json.loads((run / "run.json").read_text())
    assert (noted["data"], len(noted["starts"])) == (str(moved), 2), "evaluate.sh finds the corpus, too"

    described = json.loads((moved / "corpus.json").read_text())
    (moved / "bin/valid.de-en.de.bin").write_bytes(b"another")
    described["sha256"]["bin/valid.de-en.de.bin"] = hashlib.sha256(b"another").hexdigest()
    (moved / "corpus.json").write_text(json.dumps(described))
    assert f"(data of {moved} there, other data in {moved} here)" in start(moved, run)

    del noted["data_sha256"]
    (run / "run.json").write_text(json.dumps(noted))
    assert f"(data {moved}/bin there, {toy_corpus}/bin here)" in start(toy_corpus, run), "noted by an earlier version"
    assert len(lines) == 2


def test_an_earlier_stop_is_not_taken_for_the_end_of_this_start(toy_corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(launch, "run_logged", fails(1))
    assert start(toy_corpus, tmp_path / "run") == stop_note.STATUS
    monkeypatch.setattr(launch, "run_logged", lambda *_arguments, **_options: Outcome(1, None, ["out of memory"]))
    assert "out of memory" in start(toy_corpus, tmp_path / "run")
    monkeypatch.setattr(launch, "run_logged", fails(143, signal.SIGTERM))
    assert start(toy_corpus, tmp_path / "run") == 128 + signal.SIGTERM


def test_a_model_that_ignores_its_source_is_named_at_the_end(toy_corpus, tmp_path, monkeypatch, capsys):
    def said(gain: float) -> str:
        monkeypatch.setattr(launch, "run_logged", lambda *_arguments, **_options: Outcome(0, None, [], gain))
        launch.train([str(toy_corpus), "--save-dir", str(tmp_path / "run"), "--device", "cpu"])
        return capsys.readouterr().err

    assert "the loss is only 0.08 bits per token higher" in said(0.08)
    for gain in (3.0, math.nan):
        assert "another source" not in said(gain)
