"""Command line, in the folder ``data``: ``python -m grammar --output DIR``."""

import argparse
import sys
from dataclasses import fields
from pathlib import Path

from gradinit_mt.common.errors import UserError

from .corpus import SampleOptions, write


def parser() -> argparse.ArgumentParser:
    """The options of the command line, those of SampleOptions among them."""
    result = argparse.ArgumentParser(
        prog="python -m grammar",
        description="Generate the German-English sample corpus: train, valid and test, gzipped, with checksums.",
    )
    result.add_argument("--output", type=Path, required=True, metavar="DIR", help="new directory for the corpus")
    for option in fields(SampleOptions):
        help_text = f"{option.metadata['help']} (default {option.default})"
        result.add_argument(
            "--" + option.name.replace("_", "-"), type=int, default=option.default, metavar="N", help=help_text
        )
    return result


def main(arguments: list[str] | None = None) -> int:
    """Generates the corpus; returns the exit status: 0, or 2 for a request that cannot be met."""
    options = vars(parser().parse_args(arguments))
    output = options.pop("output")
    try:
        write(output, SampleOptions(**options))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
