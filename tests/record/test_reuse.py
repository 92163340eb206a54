"""Records of earlier versions: settings that they lack describe what those versions computed."""

from dataclasses import replace

import pytest
import torch

from gradinit_mt.core import GradInitError, State
from gradinit_mt.core.blocks import block_facts
from gradinit_mt.record import reuse
from gradinit_mt.record.record import Record, fingerprint

NEWER = {"iterations": 5, "step_from_gradient": False, "model": {"layers": 2, "residual_weights": "none"}}


@pytest.fixture
def fresh():
    """A record of no iteration with today's settings."""
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2)
    blocks = block_facts(model)
    return Record(NEWER, blocks, fingerprint(model), State.fresh(len(blocks)))


@pytest.fixture
def earlier(fresh, tmp_path):
    """A save dir with the record of an earlier version."""
    replace(fresh, settings={"iterations": 5, "model": {"layers": 2}}).save(tmp_path)
    return tmp_path


def test_an_earlier_record_is_continued(fresh, earlier):
    assert reuse.continued(fresh, str(earlier)).settings == {"iterations": 5, "model": {"layers": 2}}


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"step_from_gradient": True}, "step_from_gradient False there, True here"),
        ({"model": {"layers": 2, "residual_weights": "fixed"}}, "model.residual_weights none there, fixed here"),
        ({"initializer": "admin"}, "initializer None there, admin here"),
    ],
)
def test_it_is_refused_where_a_newer_setting_changes_the_result(fresh, earlier, changed, message):
    with pytest.raises(GradInitError, match=message):
        reuse.continued(replace(fresh, settings=NEWER | changed), str(earlier))


def test_a_record_of_before_the_models_options_is_refused(fresh, tmp_path):
    replace(fresh, settings={"iterations": 5}).save(tmp_path)
    with pytest.raises(GradInitError, match="learned by an earlier version"):
        reuse.continued(fresh, str(tmp_path))
