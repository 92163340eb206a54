"""Two data-parallel processes of fairseq-train with GradInit, in each of fairseq's wrappers that runs on a CPU."""

from pathlib import Path

import pytest
import torch
from short_runs import ADAM, GRADINIT, short_run

from gradinit_mt.record.record import Record

BACKENDS = ("legacy_ddp", "no_c10d", "c10d")
TWO = ["--distributed-backend", "gloo", "--distributed-world-size", "2"]


@pytest.fixture(scope="module")
def two(fairseq, tmp_path_factory):
    """The save dirs of a run with each wrapper, with a checksum of each rank's parameters."""
    place = tmp_path_factory.mktemp("two")
    driver = Path(__file__).parent / "report_parameters.py"
    for backend in BACKENDS:
        arguments = [*short_run(place / backend, 3), *GRADINIT, *ADAM, *TWO, "--ddp-backend", backend]
        fairseq.run_ranks(2, driver, *arguments, REPORT_DIR=str(place / backend))
    return place


@pytest.mark.parametrize("backend", BACKENDS)
def test_both_processes_end_with_equal_parameters(two, backend):
    """No wrapper sends parameters after GradInit, so the scales of both are equal, too."""
    assert (two / backend / "rank0").read_text() == (two / backend / "rank1").read_text()


def test_all_wrappers_learn_the_same_scales_and_parameters(two):
    scales = [Record.load(two / backend).state.scales for backend in BACKENDS]
    assert all(torch.equal(found, scales[0]) for found in scales)
    assert len({(two / backend / "rank0").read_text() for backend in BACKENDS}) == 1


def test_two_processes_learn_the_scales_of_one(fairseq, two, tmp_path):
    """Two ranks with one batch each average to what one process accumulates over the same two batches."""
    fairseq.train(tmp_path, 3, *GRADINIT, *ADAM, "--update-freq", "2", "--gradinit-update-freq", "2")
    both, one = Record.load(two / "legacy_ddp").state, Record.load(tmp_path).state
    assert [entry["kind"] for entry in both.history] == [entry["kind"] for entry in one.history]
    assert torch.allclose(both.scales, one.scales, rtol=1e-4)
