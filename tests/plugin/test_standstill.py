"""The rule of the watch: its cases, and the readings of real runs, good and bad."""

import math

import pytest

from gradinit_mt.plugin.standstill import End, Reading, Standstill

ENTROPY = 8.0


def ends(readings, words=400, language=2000):
    """(update, end) at which a run with these (loss, source gain, rising) every 50 updates is stopped, or None."""
    rule = Standstill(ENTROPY, words, language)
    for number, (loss, gain, rising) in enumerate(readings, 1):
        if end := rule.end(Reading(50 * number, 50, loss, gain, rising)):
            return 50 * number, end
    return None


STUCK, SPEAKS, TRAINS = (7.9, 1e-5, False), (5.0, 0.0, False), (5.0, 0.5, False)


def test_a_run_at_word_frequencies_ends_after_so_many_updates():
    assert ends([STUCK] * 100) == (400, End.WORD_FREQUENCIES)
    assert ends([STUCK] * 100, words=120) == (150, End.WORD_FREQUENCIES), "at the next reading"
    assert ends([TRAINS] * 5 + [STUCK] * 100) == (650, End.WORD_FREQUENCIES)
    assert ends([STUCK] * 7 + [TRAINS] + [STUCK] * 7) is None, "the count begins anew"


def test_a_language_model_ends_later():
    assert ends([SPEAKS] * 100) == (2000, End.LANGUAGE_MODEL)
    assert ends([SPEAKS] * 39 + [TRAINS] * 100) is None
    assert ends([SPEAKS] * 100, language=0) is None


@pytest.mark.parametrize(
    "reading",
    [
        (7.9, 0.002, False),  # slow, but the source has an effect
        (7.9, -0.002, False),  # also where the effect is not yet of use
        (12.0, 0.01, False),
        (7.9, math.nan, False),  # not known: no sentences to measure it on
        (5.0, math.nan, False),
        (7.9, 0.0, True),  # warmup
        (5.0, 0.0, True),
        (5.0, 0.06, False),
    ],
)
def test_these_do_not_count(reading):
    assert ends([reading] * 1000) is None


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_a_run_at_once(loss):
    assert ends([TRAINS, (loss, math.nan, True)]) == (100, End.NOT_FINITE)
