"""scripts/train.sh: a run, its continuation, refused commands, and the plot of its scales.

What starts no training is run in this process, and most of the rest in a fork, which saves seconds of imports.
"""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from gradinit_mt.common.errors import UserError
from gradinit_mt.record.record import Record
from gradinit_mt.training import launch, save_dir

SMALL = [
    *("--encoder-layers", "1", "--encoder-embed-dim", "16", "--encoder-ffn-embed-dim", "16"),
    *("--gradinit-iterations", "3", "--log-interval", "1", "--total-num-update", "4"),
]


LAUNCH = "gradinit_mt.training.launch"


def launch_here(*arguments):
    launch.train([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def run_dir(root, forks, toy_corpus, tmp_path_factory):
    """A run whose first command failed, stopped after 2 of 4 updates; by the script from another directory."""
    save_dir = tmp_path_factory.mktemp("train") / "a run"
    here = (toy_corpus, "--save-dir", save_dir, "--", *SMALL, "--max-update", "2")
    status, output = forks.run(LAUNCH, *here, "--valid-subset", "none")
    assert status == 2
    assert "Dataset not found: none" in output
    assert "fairseq-train ended with status 1" in output
    # a corrected command may follow, since nothing was computed
    variables = {"GRADINIT_MT_PYTHON": sys.executable, "OMP_NUM_THREADS": "1"}
    line = [root / "scripts/train.sh", *map(str, here)]
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    done = subprocess.run(line, cwd=elsewhere, env=os.environ | variables, capture_output=True, text=True)
    output = done.stderr
    assert done.returncode == 0, output
    assert done.stdout == ""
    assert "training on toy (preset other: post_ln_transformer_small, lr 0.0005, 2 updates; CPU, 1 process)" in output
    assert "GradInit: 3 iterations" in output
    assert "update 2/2: loss" in output
    assert f"done; next: scripts/evaluate.sh '{save_dir}'" in output, "can be pasted into a shell"
    return save_dir


def test_a_run_records_its_command_and_log(run_dir, toy_corpus):
    run = json.loads((run_dir / "run.json").read_text())
    assert run["data"] == str(toy_corpus)
    assert len(run["starts"]) == 1
    assert "fairseq_cli.train" in run["starts"][0]["command"]
    assert "train_inner" in (run_dir / "train.log").read_text()
    assert list((run_dir / "tensorboard").rglob("events.*"))


def test_the_same_command_continues_the_run(run_dir, forks, toy_corpus):
    status, output = forks.run(LAUNCH, toy_corpus, "--save-dir", run_dir, "--", *SMALL, "--max-update", "4")
    assert status == 0, output
    assert "GradInit:" not in output
    assert "update 3/4" in output
    assert "update 4/4" in output
    assert len(json.loads((run_dir / "run.json").read_text())["starts"]) == 2


def test_a_complete_run_is_not_changed(run_dir, toy_corpus, capsys):
    """A different path to the same run makes no difference."""
    before = {path.name: path.read_bytes() for path in run_dir.glob("*.pt")}
    launch_here(toy_corpus, "--save-dir", run_dir / ".." / run_dir.name, "--", *SMALL, "--max-update", "4")
    assert "is complete; next: scripts/evaluate.sh" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in run_dir.glob("*.pt")} == before
    assert len(json.loads((run_dir / "run.json").read_text())["starts"]) == 2


def test_other_settings_in_the_same_save_dir_are_refused(run_dir, toy_corpus):
    before = (run_dir / "run.json").read_bytes()
    with pytest.raises(UserError, match=r"holds a run with other settings \(lr 0\.0005 there, 0\.5 here\)[^\n]*$"):
        launch_here(toy_corpus, "--save-dir", run_dir, "--", *SMALL, "--max-update", "4", "--lr", "0.5")
    assert (run_dir / "run.json").read_bytes() == before


def test_interrupting_or_killing_only_the_launcher_ends_the_run(forks, toy_corpus, tmp_path):
    """A run is interrupted and continued. Another launcher is refused, then the run is killed."""
    endless = [*SMALL, "--max-update", "99999", "--total-num-update", "100000", "--no-epoch-checkpoints"]
    here = (toy_corpus, "--save-dir", tmp_path / "run", "--", *endless, "--disable-validation", "--no-save")
    log = tmp_path / "run" / "train.log"

    def updates():
        return log.read_text().count("train_inner | {") if log.exists() else 0

    def wait_for(condition):
        end = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < end, log.read_text()[-2000:]
            time.sleep(0.1)

    launcher = forks.start(LAUNCH, *here)
    wait_for(lambda: updates() > 3)
    launcher.send(signal.SIGINT)
    status, output = launcher.ended(60)
    assert status == 130
    assert "interrupted: the same command continues the run" in output
    said = "interrupted by SIGINT: nothing was saved, as --no-save asks after update"
    assert said in output
    assert said in log.read_text(), "the last output of fairseq-train is logged"

    before = updates()
    launcher = forks.start(LAUNCH, *here)
    wait_for(lambda: updates() > before)
    with pytest.raises(UserError, match=r"is in use by another run; wait until it has ended[^\n]*$"):
        launch_here(*here)
    launcher.send(signal.SIGKILL)
    launcher.ended()
    wait_for(lambda: not in_use(tmp_path / "run"))
    logged = log.stat().st_size
    time.sleep(2)
    assert log.stat().st_size == logged, "no training continues without its launcher"


def in_use(directory) -> bool:
    try:
        with save_dir.locked(directory):
            return False
    except UserError:
        return True


def test_a_link_whose_path_fairseq_would_split_is_resolved_first(toy_corpus, tmp_path, capsys):
    (tmp_path / "a:b").symlink_to(toy_corpus)
    launch_here(tmp_path / "a:b", "--dry-run")
    assert f" {toy_corpus}/bin " in capsys.readouterr().out


def test_a_full_disk_ends_the_run_in_one_line(forks, toy_corpus, tmp_path):
    """The log is on a full device."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run/run.json").write_text(json.dumps({"data": str(toy_corpus), "options": [], "starts": []}))
    (tmp_path / "run/train.log").symlink_to("/dev/full")
    status, output = forks.run(LAUNCH, toy_corpus, "--save-dir", tmp_path / "run", "--", *SMALL, "--max-update", "1")
    assert status == 2
    assert output.splitlines()[-1] == (
        f"error: {tmp_path}/run/train.log: cannot be written (No space left on device), and training was ended: make "
        "room, and the same command continues the run"
    )
    assert "Traceback" not in output


def test_a_model_that_cannot_be_built_is_refused_before_fairseq_train_is_started(toy_corpus, tmp_path):
    here = (toy_corpus, "--save-dir", tmp_path / "run", "--", *SMALL, "--max-update", "1")
    with pytest.raises(UserError, match="For pre-norm use fairseq's own model"):
        launch_here(*here, "--encoder-normalize-before")
    assert not (tmp_path / "run").exists()


def test_the_scales_of_a_run_are_printed_and_drawn(run_dir, tmp_path, root):
    command = [root / "scripts/report.sh", run_dir, "--output", tmp_path / "scales.png"]
    environment = os.environ | {"GRADINIT_MT_PYTHON": sys.executable}
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "scales.png").read_bytes().startswith(b"\x89PNG")
    record = Record.load(run_dir)
    scales = {block["name"]: scale for block, scale in zip(record.blocks, record.state.scales.tolist(), strict=True)}
    rows = [line.split() for line in done.stdout.splitlines()]
    fc1 = next(row for row in rows if row[:1] == ["fc1"])
    assert float(fc1[1]) == pytest.approx(scales["encoder.layers.0.fc1.weight"], abs=5e-4)
    assert f"{record.state.steps[0]} objective, {record.state.steps[1]} constraint steps" in done.stdout


def test_a_run_that_stands_still_is_stopped_with_its_own_status(forks, toy_corpus, tmp_path):
    """torchrun knows no other status than 1. TensorBoard shows the collapse."""
    directory = tmp_path / "run"
    stuck = (*SMALL, "--no-gradinit", "--lr", "0.2", "--max-update", "100", "--log-interval", "2")
    stuck = (*stuck, "--total-num-update", "100")
    here = (toy_corpus, "--save-dir", directory, "--processes", "2", "--", *stuck)
    status, output = forks.run(LAUNCH, *here, "--watch-updates", "4")
    assert status == 3, output
    stopped, last = output.splitlines()[-2:]
    assert "for 4 updates the training loss" in stopped
    assert "Try GradInit (without --no-gradinit), or a lower --lr than 0.2, or warmup" in stopped
    assert f"=> {directory} was stopped; other settings need another --save-dir" in last
    assert "Traceback" not in output
    note = json.loads((directory / "stopped.json").read_text())
    assert stopped == f"watch: {note['message']}"
    events = EventAccumulator(str(directory / "tensorboard" / "train_inner"))
    events.Reload()
    for name in ("gnorm_encoder", "gnorm_decoder", "signal_encoder_1", "source_gain"):
        assert [event.step for event in events.Scalars(name)] == list(range(2, note["update"] + 1, 2))
