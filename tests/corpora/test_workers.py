"""Lines in several processes: their order, and what happens when a process is killed."""

import os
import signal

import pytest

from gradinit_mt.common.errors import UserError
from gradinit_mt.corpora.workers import CHUNK, map_lines

LINES = [str(number) for number in range(3 * CHUNK + 1)]


def doubled(line):
    return line * 2


def killed(line):
    if line == "1500":
        os.kill(os.getpid(), signal.SIGKILL)  # as the system does that has no memory left
    return line


@pytest.mark.parametrize("workers", [1, 2, 9])
def test_results_have_the_order_of_the_lines(workers):
    assert map_lines(doubled, LINES, workers) == [line * 2 for line in LINES]


@pytest.mark.timeout(60)
def test_a_killed_process_ends_the_work_with_a_message():
    with pytest.raises(UserError, match=r"a worker process was killed, .* run again with fewer --workers"):
        map_lines(killed, LINES, workers=2)
