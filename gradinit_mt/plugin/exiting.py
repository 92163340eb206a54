"""Ending fairseq-train with an exit status."""

import atexit
import logging
import os
import sys
from contextlib import suppress
from typing import NoReturn


def exit_with(status: int) -> NoReturn:
    """Ends the process with this status; its files are closed."""
    atexit.register(_at_once, status)
    sys.exit(status)


def _at_once(status: int) -> None:
    # otherwise fairseq's data thread may abort an interpreter that is shutting down, which changes the status
    logging.shutdown()
    with suppress(OSError):  # the launcher may have been killed
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(status)
