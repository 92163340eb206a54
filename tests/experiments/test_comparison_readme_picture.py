"""The README's picture, from the committed readings and from invented ones."""

import itertools
import statistics

import pytest
from comparison import readme_picture
from matplotlib import pyplot

from gradinit_mt.common import journal
from gradinit_mt.common.errors import UserError


def reading(setting, lr, seed, training, source_gain=2.0):
    own = {"setting": setting, "lr": lr, "seed": seed, "training": training, "source_gain": source_gain}
    return readme_picture.SAME | own


@pytest.fixture
def readings():
    """Two seeds of each line of the picture; the second has no loss at update 200, and no finite one at 600."""
    return [
        reading(setting, lr, seed, {"400": 6.0 + seed, "600": None if seed == 2 else 1.0, "800": 4.0 + seed} | extra)
        for setting in readme_picture.LINES
        for lr in readme_picture.RATES
        for seed, extra in ((1, {"200": 9.0}), (2, {}))
    ]


def test_a_line_is_the_mean_over_seeds_at_the_updates_that_all_have(readings):
    other = reading("xavier", readme_picture.RATES[0], 3, {"400": 99.0, "800": 99.0}) | {"beta2": 0.9}
    figure = readme_picture.draw([*readings, other])
    for axes in figure.axes:
        lines = axes.get_lines()
        assert len(lines) == 3 * len(readme_picture.LINES)
        for first, second, mean in zip(lines[::3], lines[1::3], lines[2::3], strict=True):
            assert [list(line.get_xdata()) for line in (first, second, mean)] == [[400, 800]] * 3
            assert [list(line.get_ydata()) for line in (first, second, mean)] == [[7, 5], [8, 6], [7.5, 5.5]]
    pyplot.close(figure)


def test_a_line_whose_seeds_all_failed_says_so(readings):
    for entry in readings:
        failed = entry["setting"] == "xavier" or (entry["setting"], entry["seed"]) == ("pre-ln", 1)
        entry["source_gain"] = 0.5 if failed else 2.0
    figure = readme_picture.draw(readings)
    for axes in figure.axes:
        names = [text.get_text() for text in axes.texts]
        assert len(names) == len(readme_picture.LINES)
        assert [name for name in names if name.endswith(" (fails)")] == ["xavier, no warmup (fails)"]
    pyplot.close(figure)


@pytest.mark.parametrize(
    ("heights", "moved"),
    [
        ([3.0, 1.0, 2.0], [3.0, 1.0, 2.0]),
        ([1.0, 1.0], [0.75, 1.25]),
        ([1.2, 1.0], [1.35, 0.85]),
        ([2.0, 1.0, 1.1, 1.7, 4.0], [2.2, 0.7, 1.2, 1.7, 4.0]),
    ],
)
def test_names_are_moved_apart_in_their_order_and_no_farther_than_needed(heights, moved):
    found = readme_picture.apart(heights, 0.5)
    assert found == pytest.approx(moved)
    assert statistics.mean(found) == pytest.approx(statistics.mean(heights))
    assert min(b - a for a, b in itertools.pairwise(sorted(found))) > 0.499


def test_the_committed_readings_have_every_line():
    readings = journal.load(readme_picture.READINGS)
    for setting in readme_picture.LINES:
        for lr in readme_picture.RATES:
            runs = readme_picture.curves(readings, setting, lr)
            assert all(max(run) == readme_picture.LAST for run in runs)
            assert statistics.mean(run[readme_picture.LAST] for run in runs) < 9


def test_a_missing_line_is_named(readings):
    others = [entry for entry in readings if (entry["setting"], entry["lr"]) != ("pre-ln", 2e-3)]
    with pytest.raises(UserError, match=r"readings\.jsonl has no reading of pre-ln at a learning rate of 0\.002"):
        readme_picture.draw(others)
    apart = [*others, *(reading("pre-ln", 2e-3, seed, {str(seed): 1.0}) for seed in (1, 2))]
    with pytest.raises(UserError, match="has no training losses that all seeds have of pre-ln"):
        readme_picture.draw(apart)
    pyplot.close("all")
