"""What a forked process runs, in a separate module so that the process can import it by name."""

import os
import runpy
import sys
import tempfile


def run_module(module, arguments, stdin, output):
    """Does what ``python -m module arguments < stdin > output 2>&1`` does."""
    _redirect(stdin, output)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__")


def run_script(script, arguments, output, variables):
    """Does what ``python script arguments < /dev/null > output 2>&1`` does with these variables of the environment."""
    _redirect("", output)
    os.environ.update(variables)
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")


def _redirect(stdin, output):
    with tempfile.TemporaryFile("w+") as given:
        given.write(stdin)
        given.flush()
        os.lseek(given.fileno(), 0, os.SEEK_SET)
        os.dup2(given.fileno(), 0)
    descriptor = os.open(output, os.O_WRONLY | os.O_APPEND)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdin = os.fdopen(0)
