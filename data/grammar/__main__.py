"""Command line, in the folder ``data``: ``python -m grammar --output DIR``."""

import argparse
from dataclasses import fields
from pathlib import Path

from gradinit_mt.common.command import number, run

from .corpus import SampleOptions, write


def parser() -> argparse.ArgumentParser:
    """The options of the command line, including those of SampleOptions."""
    result = argparse.ArgumentParser(
        prog="python -m grammar",
        description="Generate the German-English sample corpus: train, valid and test, gzipped, with checksums.",
    )
    result.add_argument("--output", type=Path, required=True, metavar="DIR", help="new directory for the corpus")
    for option in fields(SampleOptions):
        name, bounds = "--" + option.name.replace("_", "-"), number(int, *option.metadata["range"])
        help_text = f"{option.metadata['help']} (default: %(default)s)"
        result.add_argument(name, type=bounds, default=option.default, metavar="N", help=help_text)
    return result


def main(arguments: list[str] | None = None) -> None:
    """Generates the corpus."""
    options = vars(parser().parse_args(arguments))
    write(options.pop("output"), SampleOptions(**options))


if __name__ == "__main__":
    run(main)
