"""The README's picture, from the committed readings and from invented ones."""

import statistics

import pytest
from comparison import front
from matplotlib import pyplot

from gradinit_mt.common import journal
from gradinit_mt.common.errors import UserError


def reading(setting, lr, seed, training):
    return front.SAME | {"setting": setting, "lr": lr, "seed": seed, "training": training}


@pytest.fixture
def readings():
    """Two seeds of each line of the picture; the second has no loss at update 200, and no finite one at 600."""
    return [
        reading(setting, lr, seed, {"400": 6.0 + seed, "600": None if seed == 2 else 1.0, "800": 4.0 + seed} | extra)
        for setting in front.LINES
        for lr in front.RATES
        for seed, extra in ((1, {"200": 9.0}), (2, {}))
    ]


def test_a_line_is_the_mean_over_seeds_at_the_updates_that_all_have(readings):
    other = reading("xavier", front.RATES[0], 3, {"400": 99.0, "800": 99.0}) | {"beta2": 0.9}
    figure = front.draw([*readings, other])
    for axes in figure.axes:
        lines = axes.get_lines()
        assert len(lines) == 3 * len(front.LINES)
        for first, second, mean in zip(lines[::3], lines[1::3], lines[2::3], strict=True):
            assert [list(line.get_xdata()) for line in (first, second, mean)] == [[400, 800]] * 3
            assert [list(line.get_ydata()) for line in (first, second, mean)] == [[7, 5], [8, 6], [7.5, 5.5]]
    pyplot.close(figure)


def test_the_committed_readings_have_every_line():
    readings = journal.load(front.READINGS)
    for setting in front.LINES:
        for lr in front.RATES:
            runs = front.curves(readings, setting, lr)
            assert all(max(run) == front.LAST for run in runs)
            assert statistics.mean(run[front.LAST] for run in runs) < 9


def test_a_missing_line_is_named(readings):
    others = [entry for entry in readings if (entry["setting"], entry["lr"]) != ("pre-ln", 2e-3)]
    with pytest.raises(UserError, match=r"readings\.jsonl has no reading of pre-ln at a learning rate of 0\.002"):
        front.draw(others)
    apart = [*others, *(reading("pre-ln", 2e-3, seed, {str(seed): 1.0}) for seed in (1, 2))]
    with pytest.raises(UserError, match="has no training losses that all seeds have of pre-ln"):
        front.draw(apart)
    pyplot.close("all")
