"""Progress of long computations in a log."""

import logging
from types import SimpleNamespace

import pytest

from gradinit_mt.common.progress import progress


@pytest.mark.parametrize(("total", "expected"), [(100, 20), (7, 7), (780, 20)])
def test_a_log_gets_a_fixed_number_of_lines_including_the_last_step(caplog, monkeypatch, total, expected):
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    with caplog.at_level(logging.INFO), progress("GradInit", total) as advance:
        for step in range(total):
            advance(f"step {step}")
    assert len(caplog.messages) == expected
    assert caplog.messages[-1].startswith(f"GradInit: {total}/{total}, 0 s left; step {total - 1}")


def test_resumed_work_counts_from_where_it_stopped(caplog, monkeypatch):
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    with caplog.at_level(logging.INFO), progress("GradInit", 10, done=8) as advance:
        advance("")
        advance("")
    assert [message.split(",")[0] for message in caplog.messages] == ["GradInit: 9/10", "GradInit: 10/10"]


def test_the_time_left_follows_the_steps_of_this_start(caplog, monkeypatch):
    """Each takes three seconds, and four were done before."""
    now = 100.0
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    monkeypatch.setattr("gradinit_mt.common.progress.time", SimpleNamespace(monotonic=lambda: now))
    with caplog.at_level(logging.INFO), progress("GradInit", 9, done=4) as advance:
        for _ in range(5):
            now += 3
            advance("note")
    left = [12, 9, 6, 3, 0]
    assert caplog.messages == [f"GradInit: {9 - s // 3}/9, {s} s left; note" for s in left]


def test_other_ranks_are_silent(caplog, monkeypatch, capsys):
    monkeypatch.setattr("sys.stderr.isatty", lambda: False)
    with caplog.at_level(logging.INFO), progress("GradInit", 5, shown=False) as advance:
        for _ in range(5):
            advance("")
    assert caplog.messages == []
    assert capsys.readouterr().err == ""
