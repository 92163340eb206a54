"""scripts/slurm_train.sh, with stand-ins for SLURM's commands: what is started where, and when it is queued again."""

import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest

# What slurmstepd sends to the launchers is SIGUSR2 here. SIGTERM to srun itself kills them, as in SLURM.
SRUN = """#!/bin/bash
shift
trap 'exit "$(cat interrupted)"' USR2
trap 'exit 137' TERM
echo $$ > srun.pid
echo "$@" > started
if [ -e wait ]; then sleep 30 & wait; fi
exit "$(cat status)"
"""
SCANCEL = """#!/bin/bash
[ "$*" = "--signal=TERM 40123.0" ] && kill -USR2 "$(cat srun.pid)"
"""
SCONTROL = """#!/bin/bash
if [ "$1 $2" = "show hostnames" ]; then printf 'node7\\nnode8\\n'; else echo "$@" >> scontrol.txt; fi
"""


@pytest.fixture
def job(root, tmp_path):
    """Starts the script as sbatch does, on two machines."""
    for name, text in (("srun", SRUN), ("scancel", SCANCEL), ("scontrol", SCONTROL)):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    (tmp_path / "status").write_text("0")
    slurm = {"SLURM_JOB_ID": "40123", "SLURM_JOB_NODELIST": "node[7-8]", "SLURM_JOB_NUM_NODES": "2"}

    def start():
        return subprocess.Popen(
            [root / "scripts/slurm_train.sh", "corpora/x", "--save-dir", "runs/x", "--", "--lr", "1e-3"],
            cwd=tmp_path,
            env=os.environ | slurm | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        )

    return start


def test_every_machine_starts_the_launcher_and_meets_at_the_first(job, tmp_path):
    assert job().wait() == 0
    started = (tmp_path / "started").read_text()
    assert 'exec scripts/train.sh --node "$SLURM_NODEID" "$@"' in started
    assert "--nodes 2 --rendezvous node7:20123 corpora/x --save-dir runs/x -- --lr 1e-3" in started
    assert not (tmp_path / "scontrol.txt").exists()


def test_a_failure_is_the_jobs_status_and_not_queued_again(job, tmp_path):
    (tmp_path / "status").write_text("3")
    assert job().wait() == 3
    assert not (tmp_path / "scontrol.txt").exists()


def catches(process: int, number: signal.Signals) -> bool:
    """Whether a process has a handler for a signal, as Linux says."""
    mask = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{process}/status").read_text())[1]
    return bool(int(mask, 16) & 1 << (number - 1))


@pytest.mark.parametrize(
    ("status", "requeued"), [(143, "requeue 40123\n"), (0, ""), (3, "")], ids=["interrupted", "complete", "watch"]
)
def test_a_job_is_queued_again_if_the_time_limit_interrupts_it(job, tmp_path, status, requeued):
    """A run that has come to its end by then, or was stopped by the watch, keeps its status."""
    (tmp_path / "wait").touch()
    (tmp_path / "interrupted").write_text(str(status))
    (tmp_path / "scontrol.txt").touch()
    process = job()
    deadline = time.monotonic() + 20
    while not ((tmp_path / "started").exists() and catches(process.pid, signal.SIGUSR1)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGUSR1)
    assert process.wait(timeout=20) == status
    assert (tmp_path / "scontrol.txt").read_text() == requeued


def test_outside_a_job_it_says_how_to_start_it(root):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("SLURM")}
    done = subprocess.run([root / "scripts/slurm_train.sh"], env=environment, capture_output=True, text=True)
    assert done.returncode
    assert "start this script with sbatch" in done.stderr
