"""While fairseq-train runs: its log, its progress, and how it and the launcher end together."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from gradinit_mt.common.errors import UserError
from gradinit_mt.training.process import run_logged

# A stand-in for fairseq-train: prints its process id, and exits with a message when interrupted.
PATIENT = """
import os, signal, sys, time
try:
    print("pid", os.getpid(), flush=True)
    time.sleep(60)
except KeyboardInterrupt:
    print("saved", flush=True)
    sys.exit(3)
"""
# Another one, which only says so.
STUBBORN = """
import os, signal, time
signal.signal(signal.SIGINT, lambda *_: print("not now", flush=True))
print("pid", os.getpid(), flush=True)
time.sleep(60)
"""
DRIVER = """
import os, sys
from pathlib import Path
from gradinit_mt.training.process import run_logged
outcome = run_logged([sys.executable, "-c", sys.argv[1]], dict(os.environ), Path(sys.argv[2]), None)
print("status", outcome.status, "interrupted by", outcome.interrupted_by)
"""


def printed(*lines: str) -> list[str]:
    return [sys.executable, "-c", f"print({chr(10).join(lines)!r})"]


def run(command, tmp_path, max_update=None):
    return run_logged(command, dict(os.environ), tmp_path / "train.log", max_update)


def test_everything_is_logged_and_what_matters_is_shown(tmp_path, capsys):
    said = [
        "2026-01-01 00:00:00 | INFO | gradinit_mt.tasks.gradinit_translation | GradInit: 3 iterations",
        "2026-01-01 00:00:00 | INFO | fairseq.trainer | begin training epoch 1",
        '2026-01-01 00:00:00 | INFO | train_inner | {"num_updates": "7", "nll_loss": "8.5", "source_gain": "0.2"}',
    ]
    outcome = run(printed(*said), tmp_path, max_update=20)
    assert (outcome.status, outcome.interrupted_by, outcome.last_lines) == (0, None, said)
    assert outcome.source_gain == 0.2
    assert (tmp_path / "train.log").read_text().splitlines() == said
    first, second = capsys.readouterr().err.splitlines()
    assert first == "GradInit: 3 iterations"
    assert second.startswith("update 7/20: loss 8.50 bits")


def test_a_failure_gives_its_status_and_its_last_lines(tmp_path):
    command = [sys.executable, "-c", "import sys; [print(n) for n in range(40)]; sys.exit(4)"]
    outcome = run(command, tmp_path)
    assert outcome.status == 4
    assert outcome.last_lines == [str(number) for number in range(25, 40)]


def test_the_last_lines_are_the_workers_and_not_those_of_torchruns_report(tmp_path):
    where = "torch/distributed/elastic/multiprocessing/api.py:1002]"
    said = ["starting", "[rank1]: ValueError: too long"]
    report = [f"E1128 08:38:46.297000 3023 /site-packages/{where} failed (exitcode: 1) local_rank: 0", "Failures:"]
    assert run(printed(*said, *report), tmp_path).last_lines == said
    report[0] = f"W1128 08:38:46.297000 3023 {where} Sending process 3062 closing signal SIGTERM"
    assert run(printed(*said, *report), tmp_path).last_lines == said


def test_the_command_inherits_what_is_to_stay_open(tmp_path):
    """Such as the lock of the save dir."""
    reading, writing = os.pipe()
    command = [sys.executable, "-c", f"import os; os.write({writing}, b'here')"]
    outcome = run_logged(command, dict(os.environ), tmp_path / "train.log", None, keep_open=[writing])
    os.close(writing)
    assert outcome.status == 0
    with open(reading, "rb") as pipe:
        assert pipe.read() == b"here"


def test_the_log_of_an_earlier_start_stays(tmp_path):
    run(printed("one"), tmp_path)
    run(printed("two"), tmp_path)
    assert (tmp_path / "train.log").read_text() == "one\ntwo\n"


@pytest.fixture
def driven(root, tmp_path):
    """Starts a process that watches a stand-in; returns it and the stand-in's process id."""
    drivers = []

    def start(child):
        log = tmp_path / "train.log"
        driver = subprocess.Popen(
            [sys.executable, "-c", DRIVER, child, str(log)],
            env=os.environ | {"PYTHONPATH": str(root)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        drivers.append(driver)
        wait_for(lambda: log.exists() and log.read_text().startswith("pid") and log.read_text().endswith("\n"))
        return driver, int(log.read_text().split()[1])

    yield start
    for driver in drivers:
        driver.kill()
        driver.wait()


def wait_for(condition, seconds=30):
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.05)


def is_alive(number: int) -> bool:
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    # a zombie no longer runs
    with open(f"/proc/{number}/stat") as file:
        return file.read().rpartition(")")[2].split()[0] != "Z"


@pytest.mark.parametrize("interrupted", [False, True])
def test_a_command_outlives_what_shows_its_progress(root, tmp_path, interrupted):
    """A pipe to tee, which Ctrl-C ends, or a terminal that is gone."""
    shown = '2026-01-01 00:00:00 | INFO | train_inner | {"num_updates": "7", "loss": "9"}'
    child = f"""
import time
try:
    print("pid", flush=True)
    time.sleep({60 if interrupted else 0})
except KeyboardInterrupt:
    pass
for _ in range(3):
    print({shown!r}, flush=True)
"""
    log = tmp_path / "train.log"
    environment = os.environ | {"PYTHONPATH": str(root)}
    piped = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment}
    with subprocess.Popen([sys.executable, "-c", DRIVER, child, str(log)], **piped) as driver:
        driver.stderr.close()
        if interrupted:
            wait_for(lambda: log.exists() and "pid" in log.read_text())
            driver.send_signal(signal.SIGINT)
        output = driver.stdout.read()
    assert f"status 0 interrupted by {int(signal.SIGINT) if interrupted else None}" in output
    assert log.read_text().splitlines() == ["pid", *[shown] * 3]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupt_of_this_process_alone_is_passed_on_and_later_output_is_logged(driven, tmp_path, number):
    driver, child = driven(PATIENT)
    driver.send_signal(number)
    output, _ = driver.communicate(timeout=30)
    status, last = (3, "saved\n") if number == signal.SIGINT else (-signal.SIGTERM, f"pid {child}\n")
    assert f"status {status} interrupted by {int(number)}" in output
    assert "interrupt again to kill it" in output
    assert (tmp_path / "train.log").read_text().endswith(last)
    assert not is_alive(child)


def test_a_terminal_that_is_closed_may_say_so_twice(driven, tmp_path):
    child = """
import os, signal, sys, time
def save(*_):
    print("saving", flush=True)
    time.sleep(1)
    print("saved", flush=True)
    sys.exit(3)
signal.signal(signal.SIGTERM, save)
print("pid", os.getpid(), flush=True)
time.sleep(60)
"""
    driver, _ = driven(child)
    driver.send_signal(signal.SIGHUP)
    wait_for(lambda: (tmp_path / "train.log").read_text().endswith("saving\n"))
    driver.send_signal(signal.SIGHUP)
    output, _ = driver.communicate(timeout=30)
    assert "status 3 interrupted by 1" in output
    assert (tmp_path / "train.log").read_text().endswith("saved\n")


def test_a_second_interrupt_kills(driven, tmp_path):
    driver, child = driven(STUBBORN)
    driver.send_signal(signal.SIGINT)
    wait_for(lambda: (tmp_path / "train.log").read_text().endswith("not now\n"))
    assert is_alive(child)
    driver.send_signal(signal.SIGINT)
    output, _ = driver.communicate(timeout=30)
    assert f"status {-signal.SIGKILL} interrupted by 2" in output
    assert not is_alive(child)


def test_a_second_interrupt_kills_workers_in_separate_sessions(driven, tmp_path):
    """torchrun starts them so. One hangs, and keeps the pipe open from which the log is read."""
    worker = [sys.executable, "-c", STUBBORN]
    parent = f"""
import subprocess, sys
worker = subprocess.Popen({worker!r}, start_new_session=True)
sys.exit(worker.wait())
"""
    driver, worker = driven(parent)
    driver.send_signal(signal.SIGINT)
    wait_for(lambda: "KeyboardInterrupt" in (tmp_path / "train.log").read_text())
    assert is_alive(worker)
    driver.send_signal(signal.SIGINT)
    driver.communicate(timeout=30)
    assert not is_alive(worker)


def test_a_signal_that_is_ignored_from_the_start_stays_ignored(root, tmp_path):
    """A script that starts the launcher with & makes it ignore SIGINT."""
    child = "import time; print('pid', flush=True); time.sleep(2); print('the end')"
    line = [sys.executable, "-c", DRIVER, child, str(tmp_path / "train.log")]
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        driver = subprocess.Popen(line, env=os.environ | {"PYTHONPATH": str(root)}, stdout=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    wait_for(lambda: (tmp_path / "train.log").exists() and "pid" in (tmp_path / "train.log").read_text())
    driver.send_signal(signal.SIGINT)
    output, _ = driver.communicate(timeout=30)
    assert "status 0 interrupted by None" in output
    assert (tmp_path / "train.log").read_text().endswith("the end\n")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ends a child with its parent")
def test_the_command_ends_when_this_process_is_killed(driven):
    driver, child = driven(PATIENT)
    driver.kill()
    driver.wait()
    wait_for(lambda: not is_alive(child))


def test_the_command_ends_when_the_log_cannot_be_written():
    """/dev/full acts like a full disk."""
    command = [sys.executable, "-c", "import time; print('word' * 9999, flush=True); time.sleep(60)"]
    began = time.monotonic()
    with pytest.raises(UserError, match=r"/dev/full: cannot be written \(No space left on device\).* make room"):
        run_logged(command, dict(os.environ), Path("/dev/full"), None)
    assert time.monotonic() - began < 30, "the command was ended early"
