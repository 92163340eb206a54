"""The benchmark of interruptions: what it sees of a run, what it sends to whom, and what it counts as a fault."""

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from types import SimpleNamespace

import interrupting
import kill
import pytest
import run_ends
import torch

LINES = {
    "2026 | INFO | fairseq_cli.train | Start iterating over samples": "start",
    "2026 | INFO | gradinit_mt.plugin.learning | GradInit: looks 8 steps of adam ahead, eta 0.0005": "GradInit",
    "2026 | INFO | gradinit_mt.common.progress | GradInit: 3/30, 2 s left": "GradInit",
    "2026 | INFO | gradinit_mt.plugin.learning | GradInit: 30 iterations in 1.9 s": "updates",
    '2026 | INFO | fairseq_cli.train | begin validation on "valid" subset': "validation",
    "2026 | INFO | fairseq.checkpoint_utils | Preparing to save checkpoint for epoch 1 @ 5 updates": "saving",
    "2026 | INFO | fairseq.checkpoint_utils | Saved checkpoint run/checkpoint1.pt (epoch 1 @ 5 updates)": "updates",
    "2026 | INFO | fairseq_cli.train | end of epoch 1 (average epoch stats below)": "epoch end",
    "2026 | INFO | fairseq.trainer | begin training epoch 2": "updates",
    "2026 | INFO | fairseq_cli.train | done training in 2.9 seconds": "leaving",
}
GOOD = {"hit": True, "signal": "SIGTERM", "target": "launcher", "phase": "updates", "status": 143, "kept": True}
GOOD |= {"orphans": 0, "half_written": [], "differences": [], "temporary_files": []}


def test_the_phase_of_a_run_is_that_of_the_last_whole_line_of_its_log(tmp_path):
    path = tmp_path / "train.log"
    log = interrupting.Follower(path)
    log.read()  # there is none yet
    seen = []
    with path.open("w") as file:
        for line in LINES:
            file.write(line)
            file.flush()
            log.read()
            assert log.phase == (seen[-1] if seen else "start")
            file.write("\n")
            file.flush()
            log.read()
            seen.append(log.phase)
    assert seen == list(LINES.values())
    assert log.saved == 5
    assert log.count("updates") == 3
    lengths = kill.spans(log.entries)
    assert {phase: len(found) for phase, found in lengths.items()} == Counter(phase for phase, _ in log.entries[:-1])


@pytest.mark.parametrize("processes", [1, 2])
def test_the_plans_of_a_series_have_every_signal_target_and_phase_equally_often(processes):
    spans = {phase: [0.1, 0.2, 0.3] for phase in interrupting.PHASES}
    plans = [kill.Plan(index, processes, spans) for index in range(60)]
    assert Counter(plan.signal for plan in plans) == dict.fromkeys(kill.SIGNALS, 20)
    targets = interrupting.TARGETS[: 3 + processes]
    assert Counter(plan.target for plan in plans) == dict.fromkeys(targets, 60 // len(targets))
    assert Counter(plan.phase for plan in plans) == {phase: 6 * kill.AIMS.count(phase) for phase in set(kill.AIMS)}
    again = [kill.Plan(index, processes, spans).delay for index in range(60)]
    assert again == [plan.delay for plan in plans]


@pytest.mark.parametrize(
    "fault",
    [
        *({"orphans": 1}, {"half_written": ["checkpoint1.pt"]}, {"differences": ["model"]}, {"temporary_files": ["a"]}),
        *({"kept": False}, {"status": 0}, {"status": 130}, {"status": -15}, {"status": None}),
        *({"target": "training", "status": None}, {"signal": "SIGKILL"}, {"phase": "start", "status": -9}),
    ],
    ids=str,
)
def test_a_trial_with_any_fault_is_not_good(fault):
    assert kill.good(GOOD)
    assert not kill.good(GOOD | fault)


@pytest.mark.parametrize(
    "change",
    [
        *({"signal": "SIGKILL", "status": -9}, {"phase": "start", "status": -15}, {"signal": "SIGINT", "status": 130}),
        *({"target": "training", "status": 2}, {"hit": False, "status": 0}),
    ],
    ids=str,
)
def test_the_documented_statuses_are_good(change):
    assert kill.good(GOOD | change)


def test_the_table_has_every_trial_in_its_row_and_column():
    trials = [
        GOOD | {"processes": 1},
        GOOD | {"processes": 1, "kept": False},
        GOOD | {"processes": 2, "phase": "saving"},
    ]
    assert kill.table(trials).splitlines()[2:] == [
        "| 1 | SIGTERM | launcher |  |  | 1/2 |  |  |  | 1/2 |",
        "| 2 | SIGTERM | launcher |  |  |  |  | 1/1 |  | 1/1 |",
        "| all |  |  |  |  | 1/2 |  | 1/1 |  | 2/3 |",
    ]


def test_a_series_continues_after_the_trials_that_are_there(tmp_path, monkeypatch):
    """A line that a killed series has cut is repeated, and so is a trial whose run had ended before the signal."""
    monkeypatch.setattr(kill.Runs, "spans", lambda self: {phase: [0.1, 0.2] for phase in interrupting.PHASES})
    early = {"hit": False, "status": 0}

    def trial(self, number, plan):
        done = {"number": number, "processes": self.processes, "seconds": 1.0}
        return GOOD | done | (early if number == 1 else {})

    monkeypatch.setattr(kill.Runs, "trial", trial)
    options = SimpleNamespace(data=tmp_path, output=tmp_path / "series", processes=[1, 2], phases=kill.AIMS, count=2)
    assert kill.run(options)
    known = options.output / "trials.jsonl"
    first = known.read_text()
    known.write_text(first + '{"number"')
    options.count = 4
    assert kill.run(options)
    assert known.read_text().startswith(first)
    assert [trial["number"] for trial in map(json.loads, known.read_text().splitlines())] == [0, 1, 2, 3, 4]
    report = json.loads((options.output / "report.json").read_text())
    assert (report["trials"], report["good"], report["ended_before_the_signal"]) == (4, 4, 1)
    assert "| all |  |  |  |  | 4/4 |" in (options.output / "table.md").read_text()


@pytest.fixture
def hanging(tmp_path):
    """Runs whose launcher does nothing."""
    launcher = tmp_path / "launcher.py"
    launcher.write_text("import time\ntime.sleep(60)\n")
    runs = kill.Runs(tmp_path, tmp_path, 1)
    runs.command = [sys.executable, str(launcher)]
    yield runs
    interrupting.kill(interrupting.remaining(runs.whole, 0))


def test_an_undisturbed_run_starts_afresh_and_ends_with_the_benchmark(hanging, monkeypatch):
    hanging.whole.mkdir()
    (hanging.whole / "checkpoint_last.pt").touch()  # of an attempt that was cut off
    started = []

    def read(log):
        started.extend(interrupting.remaining(hanging.whole, 0))
        if started:  # a new process has no command line for a moment
            raise KeyboardInterrupt

    monkeypatch.setattr(kill.Follower, "read", read)
    with pytest.raises(KeyboardInterrupt):
        hanging.spans()
    assert started
    assert interrupting.remaining(hanging.whole, 10) == []
    assert not hanging.whole.exists()


def test_a_continued_run_that_hangs_is_ended(hanging, monkeypatch):
    monkeypatch.setattr(kill, "HANGS", 0.5)
    with pytest.raises(kill.UserError, match="not ended within"):
        hanging.finish(hanging.whole)
    assert interrupting.remaining(hanging.whole, 10) == []


def test_a_signal_reaches_its_target_and_what_is_left_of_a_run_is_found(tmp_path):
    waiting = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)", str(tmp_path)]
    with subprocess.Popen(waiting, stdout=subprocess.PIPE, start_new_session=True) as process:
        process.stdout.readline()
        assert interrupting.remaining(tmp_path, 0) == [process.pid]
        run = interrupting.Started(process, 1, interrupting.Follower(tmp_path / "train.log"))
        assert run.hit(signal.SIGTERM, "group", random.Random(1))
        assert process.wait(30) == -signal.SIGTERM
        assert interrupting.remaining(tmp_path, 1) == []
        assert not run.hit(signal.SIGTERM, "launcher", random.Random(1))


def test_halted_ranks_are_released_although_their_torchrun_is_killed(tmp_path):
    """They are then children of another process, where they are not looked for."""
    rank = "sh -c 'sleep 60; :' fairseq_cli.train"
    torchrun = ["sh", "-c", f"{rank} & {rank} & wait"]
    launcher = [sys.executable, "-c", f"import subprocess, time; subprocess.call({torchrun}); time.sleep(60)"]
    with subprocess.Popen(launcher, start_new_session=True) as process:
        run = interrupting.Started(process, 2, interrupting.Follower(tmp_path / "train.log"))
        while len(ranks := run.ranks()) < 2:
            time.sleep(0.01)
        try:
            run.approach("start", 1, 0.0)
            assert run.hit(signal.SIGKILL, "torchrun", random.Random(1))
            assert all(interrupting.state(number) != "T" for number in ranks)
        finally:
            interrupting.kill([*(child for number in ranks for child in interrupting.children(number)), *ranks])
            process.kill()


def test_files_that_were_cut_are_half_written(tmp_path):
    state = {"model": {"weight": torch.ones(500)}, "extra_state": {}, "optimizer_history": [], "cfg": {}}
    for name in ("checkpoint1.pt", "checkpoint2.pt"):
        torch.save(state, tmp_path / name)
    (tmp_path / "run.json").write_text(json.dumps({"a": 1}))
    (tmp_path / ".checkpoint3.pt.tmp").write_bytes(b"temporary")
    assert run_ends.half_written(tmp_path) == []
    for name in ("checkpoint2.pt", "run.json"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    assert run_ends.half_written(tmp_path) == ["checkpoint2.pt", "run.json"]


def test_losses_of_an_update_that_was_repeated_differently_are_told_apart(tmp_path):
    line = '2026 | INFO | train_inner | {{"loss": "{}", "wps": "{}", "num_updates": "2"}}\n'
    (tmp_path / "train.log").write_text(line.format(7.5, 100) + line.format(7.5, 200))
    assert [len(texts) for texts in run_ends.losses(tmp_path).values()] == [1]
    (tmp_path / "train.log").write_text(line.format(7.5, 100) + line.format(7.4, 100))
    assert [len(texts) for texts in run_ends.losses(tmp_path).values()] == [2]
