"""A task without data, for building models."""

from types import SimpleNamespace

import pytest
from fairseq.data import Dictionary

from gradinit_mt import lr_schedulers, models, tasks  # noqa: F401 - registers model, task and schedule
from gradinit_mt.plugin import compat  # noqa: F401 - registers model, task and schedule


@pytest.fixture(scope="session")
def dictionary():
    words = Dictionary()
    for number in range(40):
        words.add_symbol(f"w{number}")
    return words


@pytest.fixture(scope="session")
def task(dictionary):
    return SimpleNamespace(source_dictionary=dictionary, target_dictionary=dictionary)
