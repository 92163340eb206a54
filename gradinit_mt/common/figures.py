"""Shared by all figures: colours, file formats, and saving."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")

from matplotlib.figure import Figure

from gradinit_mt.common.errors import UserError
from gradinit_mt.common.files import atomic_write, make_directory, require_new

FORMATS = (".png", ".svg", ".pdf")
# Okabe and Ito's palette: distinguishable with any colour vision, and in print
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")

STYLE = {"font.size": 9, "axes.spines.top": False, "axes.spines.right": False}


def write(figure: Figure, output: Path) -> None:
    """Saves a figure as PNG (200 dots per inch), SVG or PDF, atomically.

    Raises:
        UserError: the name has another suffix, or the file exists.
    """
    if output.suffix not in FORMATS:
        raise UserError(f"{output}: expected a name ending in {', '.join(FORMATS)}")
    require_new(output)
    make_directory(output.parent)
    with atomic_write(output) as temporary:
        figure.savefig(temporary, format=output.suffix[1:], dpi=200)
