"""Shared command-line tools: argument ranges, arguments after ``--``, exit status, and messages of failed programs."""

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from gradinit_mt.common import command
from gradinit_mt.common.errors import UserError


@pytest.mark.parametrize(
    ("kind", "low", "high", "text", "value"),
    [(int, 1, float("inf"), "1", 1), (float, 0.98, 1, "0.98", 0.98), (float, 0.98, 1, "1", 1.0)],
)
def test_numbers_within_their_range_bounds_included(kind, low, high, text, value):
    found = command.number(kind, low, high)(text)
    assert (found, type(found)) == (value, kind)


@pytest.mark.parametrize(
    ("parse", "text", "message"),
    [
        (command.positive_int, "0", "0: expected a whole number of at least 1"),
        (command.positive_int, "1.5", "1.5: expected a whole number of at least 1"),
        (command.positive_int, "3000000000", "3000000000: expected a whole number of at most 2147483647"),
        (command.number(int, 2), "two", "two: expected a whole number of at least 2"),
        (command.number(float, 0.98, 1), "1.01", "1.01: expected a number from 0.98 to 1"),
        (command.number(float, 1), "nan", "nan: expected a number of at least 1"),
    ],
)
def test_numbers_out_of_range_are_named(parse, text, message):
    with pytest.raises(argparse.ArgumentTypeError, match=f"^{message}$"):
        parse(text)


def test_arguments_after_the_first_double_dash_are_left_unparsed():
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int)
    assert vars(command.parse_with_further(parser, ["--size", "1"])) == {"size": 1, "further": []}
    options = command.parse_with_further(parser, ["--size", "1", "--", "--other", "--", "x"])
    assert vars(options) == {"size": 1, "further": ["--other", "--", "x"]}


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (UserError("a.txt: empty"), 2, "error: a.txt: empty\n"),
        (PermissionError(13, "Permission denied", "out"), 2, "error: [Errno 13] Permission denied: 'out'\n"),
        (KeyboardInterrupt(), 130, "interrupted: no output was written\n"),
    ],
)
def test_expected_errors_end_a_command_with_one_line(capsys, monkeypatch, error, status, message):
    monkeypatch.setattr("signal.signal", lambda *_: None)  # the tests keep their own handler

    def main():
        raise error

    with pytest.raises(SystemExit) as ended:
        command.run(main)
    assert ended.value.code == status
    assert capsys.readouterr().err == message


@pytest.fixture
def handlers():
    """The handlers of two signals are put back; the test starts with the system's."""
    before = {number: signal.signal(number, signal.SIG_DFL) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_a_command_through_its_cleanup(handlers, number):
    """Even if it comes twice, as from a terminal that is closed."""
    cleaned = []

    def main():
        try:
            signal.raise_signal(number)
        finally:
            signal.raise_signal(number)
            cleaned.append(True)

    with pytest.raises(SystemExit) as ended:
        command.run(main)
    assert ended.value.code == 128 + number
    assert cleaned


def test_a_command_started_with_nohup_outlives_the_terminal(handlers):
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    command.run(lambda: signal.raise_signal(signal.SIGHUP))


@pytest.mark.parametrize(("end", "status"), [("'done'", 0), ("1 / 0", 2), ("signal.raise_signal(signal.SIGINT)", 130)])
def test_a_command_outlives_the_reader_of_its_messages(root, end, status):
    """As in ``2>&1 | head -3``."""
    program = f"""
import signal
from gradinit_mt.common import command
from gradinit_mt.common.errors import UserError
def main():
    command.step("one")
    command.step("two")
    try:
        {end}
    except ZeroDivisionError as error:
        raise UserError("three") from error
command.run(main)
"""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = subprocess.run(
            [sys.executable, "-c", program], stderr=writing, env=os.environ | {"PYTHONPATH": str(root)}
        )
    finally:
        os.close(writing)
    assert done.returncode == status


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs Linux's /dev/full")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_output_that_does_not_fit_on_the_disk_is_an_error_of_one_line(root, unbuffered):
    program = "from gradinit_mt.common import command\ncommand.run(lambda: print('a translation'))"
    variables = {"PYTHONPATH": str(root), "PYTHONUNBUFFERED": unbuffered}
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [sys.executable, "-c", program], stdout=full, stderr=subprocess.PIPE, text=True, env=os.environ | variables
        )
    assert (done.returncode, done.stderr) == (2, "error: [Errno 28] No space left on device\n")


def test_a_failed_program_is_reported_with_the_end_of_its_output():
    message = command.failure("tool", 3, [f"line {number}" for number in range(100)])
    assert message.splitlines()[:2] == ["tool ended with status 3; its last lines:", "line 80"]
    assert message.endswith("\nline 99")
