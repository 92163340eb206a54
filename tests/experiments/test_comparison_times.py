"""The times of a run of the comparison study, from invented logs."""

from datetime import datetime, timedelta

import pytest
from comparison.times import rule_seconds, stamped, times, uncounted_seconds

LEARNED = 26.3  # seconds of GradInit, over all starts


def log(*entries):
    """A log with these messages of GradInit, or starts of fairseq, at so many seconds."""
    loggers = {"{": "fairseq_cli.train", "G": "gradinit_mt.plugin.learning"}
    stamps = [datetime(2026, 1, 31, 23, 59) + timedelta(seconds=seconds) for seconds, _ in entries]
    return "".join(
        f"a warning\n{stamp} | INFO | {loggers[message[0]]} | {message}\n"
        for stamp, (_, message) in zip(stamps, entries, strict=True)
    )


START = "{'_name': None, 'common': {}}"
BEGINS = "GradInit: looks 8 steps of adam ahead, eta 0.001"
ENDS = f"GradInit: 100 iterations in {LEARNED} s, 90 objective and 10 constraint steps"
FOUND = f"GradInit: found complete, learned in {LEARNED} s, 90 objective and 10 constraint steps"
UNDISTURBED = [(0, START), (5, BEGINS), (31, ENDS)]
RESUMED = [(0, START), (5, BEGINS), (24, "GradInit: 70/100, 8 s left"), (60, START), (65, BEGINS), (72, ENDS)]
CASES = {
    "never": (UNDISTURBED, 0.0),
    "in GradInit": (RESUMED, LEARNED - 7),
    "between GradInit and the first checkpoint": ([*UNDISTURBED, (60, START), (65, FOUND)], LEARNED),
    "after a checkpoint": ([*UNDISTURBED, (99, START)], 0.0),
    "in GradInit and after a checkpoint": ([*RESUMED, (99, START)], LEARNED - 7),
    "before GradInit": ([(0, START), *((60 + at, message) for at, message in UNDISTURBED)], 0.0),
    "never, with scales from a record": ([(0, START), (5, "GradInit: 98 scales taken from by-hand")], 0.0),
}


@pytest.mark.parametrize("interrupted", CASES)
def test_what_earlier_starts_spent_in_gradinit_is_counted(monkeypatch, tmp_path, interrupted):
    entries, expected = CASES[interrupted]
    (tmp_path / "train.log").write_text(log(*entries))
    assert uncounted_seconds(stamped(log(*entries)), LEARNED) == pytest.approx(expected)
    monkeypatch.setattr("comparison.times.learning_seconds", lambda save_dir: LEARNED)
    found = times(tmp_path, 40.0)
    assert found == {"initialization_seconds": LEARNED, "seconds": pytest.approx(40.0 + expected)}
    assert times(tmp_path, 3.0)["seconds"] >= LEARNED, "the initialization is part of the run"
    assert times(tmp_path, None)["seconds"] is None


def test_a_run_without_gradinit_has_the_time_of_its_checkpoint(tmp_path):
    assert times(tmp_path, 40.0) == {"initialization_seconds": 0.0, "seconds": 40.0}


def test_the_time_of_a_rule_is_that_since_fairseqs_last_line():
    lines = [
        "2026-01-31 23:59:50 | INFO | fairseq_cli.train | Start iterating over samples",
        "a line without a time",
        "2026-01-31 23:59:58 | INFO | gradinit_mt.common.progress | NIO: 5/100, 60 s left",
    ]
    assert rule_seconds(stamped("\n".join(lines))) == 0
    lines.append("2026-02-01 00:00:02 | INFO | gradinit_mt.plugin.initialize | initializer: nio")
    assert rule_seconds(stamped("\n".join(lines))) == 12
    lines.append("2026-02-01 00:00:09 | INFO | fairseq.trainer | Saving checkpoint")
    assert rule_seconds(stamped("\n".join(lines))) == 12
