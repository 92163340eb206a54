"""``--initializer`` in the real command line: alone, before GradInit, and when a run starts again."""

import shutil

import pytest
from short_runs import ADAM, GRADINIT, last_model, losses, same_model

from gradinit_mt.record.record import Record

T_FIXUP = [*GRADINIT, *ADAM, "--initializer", "t-fixup"]


@pytest.fixture(scope="module")
def alone(fairseq, tmp_path_factory):
    """The save dir and the output of a run without GradInit."""
    save_dir = tmp_path_factory.mktemp("alone") / "run"
    return save_dir, fairseq.train(save_dir, 3, *T_FIXUP, "--no-gradinit", "--total-num-update", "8")


def test_it_changes_the_model_before_the_first_update(fairseq, alone, tmp_path):
    save_dir, log = alone
    assert log.index("initializer: t-fixup") < log.index("train_inner")
    assert "GradInit:" not in log
    assert not (save_dir / "gradinit.json").exists()
    fairseq.train(tmp_path / "xavier", 1, *GRADINIT, *ADAM, "--no-gradinit")
    fairseq.train(tmp_path / "t-fixup", 1, *T_FIXUP, "--no-gradinit")
    name = "encoder.layers.0.self_attn.out_proj.weight"
    there, here = (last_model(tmp_path / run)[name] for run in ("xavier", "t-fixup"))
    assert float(here.std() / there.std()) == pytest.approx(0.67 * 2**-0.25, rel=0.02)


def test_a_resumed_run_does_not_initialize_again(fairseq, alone, tmp_path):
    shutil.copytree(alone[0], tmp_path / "run")
    settings = [*T_FIXUP, "--no-gradinit", "--total-num-update", "8"]
    output = fairseq.train(tmp_path / "run", 5, *settings)
    assert "initializer:" not in output
    fairseq.train(tmp_path / "whole", 5, *settings)
    assert same_model(tmp_path / "run", tmp_path / "whole")


def test_gradinit_scales_what_the_initializer_left(fairseq, trained, tmp_path):
    output = fairseq.train(tmp_path / "run", 2, *T_FIXUP)
    assert (
        output.index("initializer: t-fixup") < output.index("GradInit: 6 iterations in") < output.index("train_inner")
    )
    record, other = Record.load(tmp_path / "run"), Record.load(trained)
    assert record.settings == other.settings | {"initializer": "t-fixup"}
    assert record.theta0 != other.theta0
    assert losses(output)[0] != losses((trained.parent / "log").read_text())[0]


def test_the_record_of_another_initializer_is_refused(fairseq, record_only):
    output = fairseq.train(record_only, 8, *T_FIXUP, fails=True)
    assert "belongs to another run (initializer None there, t-fixup here; other initial parameters)" in output
