"""What the launcher shows of fairseq-train's output, and what it keeps of it."""

import json
import math

import pytest

from gradinit_mt.training.display import Display


def line(kind: str, **numbers) -> str:
    return f"2026-01-01 00:00:00 | INFO | {kind} | {json.dumps(numbers)}"


@pytest.fixture
def shown(capsys):
    """A function that shows lines; it returns what was written to stderr, and the display."""

    def show(*lines, max_update=None):
        display = Display(max_update)
        for text in lines:
            display.show(text)
        display.close()
        return capsys.readouterr().err.splitlines(), display

    return show


def test_messages_of_gradinit_updates_and_validations_are_shown(shown):
    said = [
        "2026-01-01 00:00:00 | INFO | gradinit_mt.tasks.gradinit_translation | GradInit: 3 iterations",
        "2026-01-01 00:00:00 | INFO | fairseq.trainer | begin training epoch 1",
        line("train_inner", epoch=1, num_updates="7", loss="9", nll_loss="8.5", lr="0.001", wps="1234"),
        line("valid", epoch=1, valid_loss="9", valid_nll_loss="3", valid_num_updates="7"),
        line("train_inner", epoch=1, num_updates="8", nll_loss="8", lr="0.001", wps="1234"),
    ]
    assert shown(*said, max_update=20)[0] == [
        "GradInit: 3 iterations",
        "update 7/20: loss 8.50 bits, lr 1.0e-03, 1,234 tokens/s",
        "epoch 1: validation loss 3.000 bits, perplexity 8.00",
        "update 8/20: loss 8.00 bits, valid 3.00, lr 1.0e-03, 1,234 tokens/s",
    ]


def test_pairs_that_fairseq_leaves_out_are_reported_once(shown):
    reason = "samples have invalid sizes and will be skipped, max_positions=(64, 64), first few sample ids=[3, 7]"
    said = [f"2026-01-01 00:00:00 | WARNING | fairseq.tasks.fairseq_task | 1,429 {reason}"] * 2
    [found] = shown(*said)[0]
    assert found.startswith("warning: 1,429 training pairs of more than (64, 64) source and target tokens are left")


@pytest.mark.parametrize(
    ("loss", "bits"), [("1024.5", "1024.500"), ("1e300", "1" + "0" * 15), ("inf", "inf"), ("nan", "nan")]
)
def test_a_diverging_run_is_shown_to_its_end(shown, loss, bits):
    """The perplexity of a loss above 1,024 bits exceeds the range of floats."""
    said = [
        line("valid", epoch=1, valid_nll_loss=loss, valid_num_updates="7"),
        line("train_inner", epoch=1, num_updates="8", nll_loss=loss, lr="60"),
    ]
    validation, update = shown(*said)[0]
    assert validation.startswith(f"epoch 1: validation loss {bits}")
    assert update.startswith("update 8/?: loss")


def test_incomplete_lines_are_shown_as_far_as_they_go(shown):
    """A line that was cut is no statistics; one without numbers has unknown ones."""
    said = [line("train_inner", num_updates="8", loss="9")[:-9], line("train_inner"), line("valid")]
    assert shown(*said)[0] == [
        "update 0/?: loss nan bits, lr nan, 0 tokens/s",
        "epoch ?: validation loss nan bits, perplexity nan",
    ]


def test_the_last_source_gain_is_kept(shown):
    said = [line("train_inner", num_updates=update, source_gain=gain) for update, gain in (("5", "3"), ("9", "0.2"))]
    assert shown(*said)[1].source_gain == 0.2
    assert math.isnan(shown(line("train_inner", num_updates="5"))[1].source_gain)
