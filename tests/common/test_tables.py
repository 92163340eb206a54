"""Tables of Markdown."""

import pytest

from gradinit_mt.common.tables import markdown, spread


def test_a_table_has_a_line_per_row():
    assert markdown(["a", "b"], [["1", ""], ["2", "x"]]) == "| a | b |\n|---|---|\n| 1 |  |\n| 2 | x |\n"
    assert markdown(["a"], []) == "| a |\n|---|\n"


@pytest.mark.parametrize(
    ("values", "digits", "text"),
    [([], 2, ""), ([1.005], 1, "1.0"), ([1.0, 3.0], 2, "2.00 ± 1.41"), ([2.0, 2.0, 2.0], 0, "2 ± 0")],
)
def test_a_spread_is_mean_and_sample_deviation(values, digits, text):
    assert spread(values, digits) == text
