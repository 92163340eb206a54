"""Fixtures shared by all rooms of the tests."""

from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)  # the networks of the tests are too small for more

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def root() -> Path:
    """The checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real corpora beside the checkout; a test that needs them is skipped where they are absent."""
    path = ROOT.parent / "shared" / "data"
    if not path.is_dir():
        pytest.skip(f"needs the real corpora in {path}, which are not part of the project")
    return path
