"""How the training of a cell ends: complete, diverged, or with an error."""

import pytest
from comparison import train

from gradinit_mt.common.errors import UserError

DIVERGED = "Traceback (most recent call last):\n  ...\nFloatingPointError: gradients are Nan/Inf\n"


def ended(monkeypatch, error=None):
    """Makes the launcher end like this."""

    def launched(arguments):
        if error:
            raise error

    monkeypatch.setattr(train.launch, "train", launched)


def test_a_run_that_arrives_is_complete_whatever_its_log_says(monkeypatch, tmp_path):
    ended(monkeypatch)
    assert train.outcome([], tmp_path / "train.log") == "complete"
    (tmp_path / "train.log").write_text(DIVERGED)
    assert train.outcome([], tmp_path / "train.log") == "complete"


def test_a_run_that_fairseq_ends_at_an_infinite_gradient_has_diverged(monkeypatch, tmp_path):
    ended(monkeypatch, UserError("fairseq-train ended with status 1"))
    (tmp_path / "train.log").write_bytes(b"\xff\n" + DIVERGED.encode())
    assert train.outcome([], tmp_path / "train.log") == "diverged"


@pytest.mark.parametrize("log", [None, "", "RuntimeError: out of memory\n", "| INFO | gnorm: nan\n"])
def test_any_other_failure_stays_an_error(monkeypatch, tmp_path, log):
    ended(monkeypatch, UserError("fairseq-train ended with status 1"))
    if log is not None:
        (tmp_path / "train.log").write_text(log)
    with pytest.raises(UserError, match="ended with status 1"):
        train.outcome([], tmp_path / "train.log")


def test_an_interruption_is_no_outcome(monkeypatch, tmp_path):
    ended(monkeypatch, KeyboardInterrupt())
    (tmp_path / "train.log").write_text(DIVERGED)
    with pytest.raises(KeyboardInterrupt):
        train.outcome([], tmp_path / "train.log")
