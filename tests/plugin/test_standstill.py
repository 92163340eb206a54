"""The rule of the watch: its cases, and the readings of real runs, good and bad."""

import json
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
        (7.9, 0.003, False),  # slow, but the source has an effect
        (7.9, -0.003, False),  # also where the effect is not yet of use
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


def replayed(run) -> tuple[int, End] | None:
    """When and why a recorded run is stopped with the settings of docs/training.md."""
    rule = Standstill(run["entropy"], 400, 2000)
    before, rate_before = 0, run["readings"][0][-1]
    for update, loss, gain, _, _, rate in run["readings"]:
        # the first learning rate of a run is not in its readings: with warmup, it was lower
        rising = rate > rate_before or ("warmup" in run["run"] and before == 0)
        if end := rule.end(Reading(update, update - before, loss, gain, rising)):
            return update, end
        before, rate_before = update, rate
    return None


STUCK_RUNS = {
    "xavier-2e-3",
    "xavier-2e-3-2",
    "xavier-3e-3",
    "xavier-3e-3-bfloat16",
    "sgd-xavier-0.1",
    "xavier-1.6e-3-2",
}
DYING_RUNS = {"xavier-1.6e-3-1", "xavier-1e-3-wide"}  # they come to life for a while, after 350 and 650 updates


def test_recorded_runs_are_stopped_if_and_only_if_they_do_not_train(root):
    lines = (root / "docs/results/watch/readings.jsonl").read_text().splitlines()
    runs = {run["run"]: run for run in map(json.loads, lines)}
    stopped = {name: end for name, run in runs.items() if (end := replayed(run))}
    assert STUCK_RUNS <= stopped.keys() <= STUCK_RUNS | DYING_RUNS
    assert {stopped[name] for name in STUCK_RUNS} == {(400, End.WORD_FREQUENCIES)}
    trained = {name for name, run in runs.items() if run["readings"][-1][2] > 0.1}
    assert trained == runs.keys() - STUCK_RUNS - DYING_RUNS


@pytest.mark.parametrize("file", ["readings", "earlier", "settling"])
def test_no_run_of_the_study_that_trains_is_stopped_at_word_frequencies(root, file):
    """Their source gain is known at the end alone; so it is taken to be 0 up to there, the worst case.

    The losses of the run that stands still longest while it trains leave the level of word frequencies too late for
    that, so its source gain decides, as in the recorded runs.
    """
    lines = (root / f"docs/results/no-warmup/{file}.jsonl").read_text().splitlines()
    for run in map(json.loads, lines):
        updates = {int(update): loss for update, loss in run["training"].items()}
        rule = Standstill(8.35, 400, 0)
        ended = [update for update, loss in updates.items() if rule.end(Reading(update, 50, loss, 0.0, False))]
        if run.get("source_gain") and run["source_gain"] > 0.05:
            assert not ended, run["setting"]
        if run["setting"] == "xavier" and run["lr"] == 3e-3:
            assert ended[0] <= 400
