"""Shared by all commands: exit status, progress messages, argument types, and reports of failed programs."""

import argparse
import contextlib
import math
import os
import signal
import sys
from collections.abc import Callable, Iterator
from typing import NoReturn, TextIO, TypeVar

from gradinit_mt.common.errors import UserError

Number = TypeVar("Number", int, float)


def run(main: Callable[[], None], interrupted: str = "no output was written") -> None:
    """Runs a command; exits with 2 after an error that the user can fix, and with 130 after Ctrl-C.

    A ``UserError`` or ``OSError`` (a full disk, a missing permission) is reported in one line on stderr. SIGTERM and
    SIGHUP (the terminal was closed) raise an exception, so temporary files are removed as they are after Ctrl-C.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as nohup sets SIGHUP
            signal.signal(number, _end)
    try:
        main()
        if sys.stdout is not None:
            sys.stdout.flush()  # here a full disk is an error of this command, at Python's exit it would not be
    except (UserError, OSError) as error:
        say(f"error: {error}")
        sys.exit(2)
    except KeyboardInterrupt:
        say(f"interrupted: {interrupted}")
        sys.exit(128 + signal.SIGINT)
    finally:
        _flush_output()


def _flush_output() -> None:
    """Writes what is left in stdout's buffer, or lets it go nowhere: Python would complain and change the status."""
    if sys.stdout is None:
        return
    try:
        sys.stdout.flush()
    except OSError:
        _to_nowhere(sys.stdout)


def _end(number: int, _frame: object) -> NoReturn:
    signal.signal(number, signal.SIG_IGN)  # a closing terminal sends it more than once
    sys.exit(128 + number)


def step(message: str) -> None:
    """Reports on stderr that a step begins."""
    say(f"=> {message}")


def say(message: str) -> None:
    """Prints a line on stderr."""
    with outliving_the_display():
        print(message, file=sys.stderr, flush=True)


@contextlib.contextmanager
def outliving_the_display() -> Iterator[None]:
    """Around writes to stderr: if the terminal or the reader of a pipe is gone, they and all later ones go nowhere."""
    try:
        yield
    except OSError:
        _to_nowhere(sys.stderr)


def _to_nowhere(stream: TextIO) -> None:
    with open(os.devnull, "w") as nothing:
        os.dup2(nothing.fileno(), stream.fileno())


def parse_with_further(parser: argparse.ArgumentParser, arguments: list[str]) -> argparse.Namespace:
    """Parses the arguments before ``--``; those after it become the list ``further``."""
    split = [*arguments, "--"].index("--")
    return parser.parse_args(arguments[:split], argparse.Namespace(further=arguments[split + 1 :]))


LARGEST = 2**31 - 1  # the largest number that every program behind the commands takes


def number(kind: Callable[[str], Number], low: Number, high: float = math.inf) -> Callable[[str], Number]:
    """An argparse type: an ``int`` or ``float`` from ``low`` to ``high``, both included."""
    name = "a whole number" if kind is int else "a number"
    expected = f"{name} of at least {low}" if high in (LARGEST, math.inf) else f"{name} from {low} to {high}"

    def parse(text: str) -> Number:
        with contextlib.suppress(ValueError):
            if low <= (value := kind(text)) <= high:
                return value
            if value > high == LARGEST:
                raise argparse.ArgumentTypeError(f"{text}: expected {name} of at most {high}")
        raise argparse.ArgumentTypeError(f"{text}: expected {expected}")

    return parse


positive_int = number(int, 1, LARGEST)


def finite(text: str) -> float:
    """An argparse type: a number that is neither infinite nor nan."""
    with contextlib.suppress(ValueError):
        if math.isfinite(value := float(text)):
            return value
    raise argparse.ArgumentTypeError(f"{text}: expected a finite number")


def failure(program: str, status: int, output: list[str]) -> str:
    """The message about a program that failed: its exit status and the last 20 lines of its output."""
    return "\n".join([f"{program} ended with status {status}; its last lines:", *output[-20:]])
