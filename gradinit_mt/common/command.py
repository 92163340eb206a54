"""What all commands share: how they end, how they report a step, and how many processes they use."""

import argparse
import os
import signal
import sys
from collections.abc import Callable

from gradinit_mt.common.errors import UserError


def run(main: Callable[[], None], interrupted: str = "no output was written") -> None:
    """Runs a command; exits with 2 for an error that the user can mend, and with 130 when interrupted.

    A ``UserError``, and what the system refuses (a full disk, a missing permission), is told in one line on stderr.
    SIGTERM is raised as an exception, so that temporary files are removed as they are after Ctrl-C.
    """
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    except OSError as error:  # no space, no permission, a file gone: nothing that a traceback would explain
        place = f"{error.filename}: " if error.filename else ""
        print(f"error: {place}{error.strerror or error}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        print(f"interrupted: {interrupted}", file=sys.stderr)
        sys.exit(128 + signal.SIGINT)


def step(message: str) -> None:
    """Reports the step that begins now, on stderr."""
    print(f"=> {message}", file=sys.stderr, flush=True)


def parse_with_further(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace:
    """The parser's options; whatever follows ``--`` becomes ``further``, a list."""
    split = arguments.index("--") if "--" in arguments else len(arguments)
    options = parser.parse_args(arguments[:split])
    options.further = arguments[split + 1 :]
    return options


def positive_int(text: str) -> int:
    """An argparse type: a whole number from 1 on."""
    value = int(text) if text.lstrip("-").isdigit() else 0
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text}: expected a whole number from 1 on")
    return value


def add_workers(parser: argparse.ArgumentParser) -> None:
    """Adds the option ``--workers``."""
    parser.add_argument(
        "--workers",
        type=positive_int,
        default=os.cpu_count() or 1,
        metavar="N",
        help="processes to use; the result does not depend on it (default: %(default)s, the CPUs of this machine)",
    )
