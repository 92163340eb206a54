"""Tables of Markdown, and what a cell says of several runs."""

import statistics
from collections.abc import Iterable, Sequence


def markdown(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table with a line per row, which ends with a line break."""
    first, *others = (f"| {' | '.join(line)} |\n" for line in (columns, *rows))
    return "".join([first, "|---" * len(columns) + "|\n", *others])


def spread(values: Sequence[float], digits: int = 2) -> str:
    """Mean and standard deviation, the latter of two values or more; empty without values."""
    if not values:
        return ""
    deviation = f" ± {statistics.stdev(values):.{digits}f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):.{digits}f}{deviation}"
