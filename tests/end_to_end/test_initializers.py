"""``--initializer`` in the real command line: alone, before GradInit, and when a run starts again."""

import shutil
from pathlib import Path

import pytest
import torch
from short_runs import ADAM, GRADINIT, kill_during_gradinit, last_model, losses, same_model, short_run

from gradinit_mt.core import GradInitConfig
from gradinit_mt.record.record import Record

T_FIXUP = [*GRADINIT, *ADAM, "--initializer", "t-fixup"]
ADMIN = [*GRADINIT, *ADAM, "--initializer", "admin", "--residual-weights", "fixed", "--dropout", "0.3"]


def residual_weights(save_dir):
    """The residual weights in a run's last checkpoint, the same for all channels of a block."""
    found = {name: value for name, value in last_model(save_dir).items() if name.endswith("residual_weight")}
    assert all(bool((value == value[0]).all()) for value in found.values())
    return {name: float(value[0]) for name, value in found.items()}


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
    # it starts from scales of 1, not from small branches, and embeddings have no bound of their own
    alone = {name: value for name, value in other.settings.items() if name != "start"}
    assert alone["embedding_upper_bound"] < 1
    free = GradInitConfig.embedding_upper_bound
    assert record.settings == alone | {"initializer": "t-fixup", "embedding_upper_bound": free}
    assert record.theta0 != other.theta0
    assert losses(output)[0] != losses((trained.parent / "log").read_text())[0]


def test_the_record_of_another_initializer_is_refused(fairseq, record_only):
    output = fairseq.train(record_only, 8, *T_FIXUP, fails=True)
    bounds = f"embedding_upper_bound 0.26 there, {GradInitConfig.embedding_upper_bound} here"
    changes = f"{bounds}; start branches there, None here; initializer None there, t-fixup here"
    assert f"belongs to another run ({changes}; other initial parameters)" in output


def test_parameters_from_a_checkpoint_are_not_initialized(fairseq, trained, tmp_path):
    tuned = ["--finetune-from-model", trained / "checkpoint_last.pt"]
    output = fairseq.train(tmp_path / "tuned", 1, *T_FIXUP, "--no-gradinit", *tuned)
    assert "--initializer: skipped, the parameters come from the checkpoint" in output
    assert "initializer: t-fixup" not in output


def test_gradinit_resumes_after_a_kill_from_the_same_profile(fairseq, tmp_path):
    """The record is refused if the start differs in one bit."""
    settings = [*ADMIN, "--gradinit-iterations", "40", "--gradinit-look-ahead", "2"]
    fairseq.train(tmp_path / "whole", 1, *settings)
    kill_during_gradinit(fairseq, tmp_path / "killed", *settings)
    fairseq.train(tmp_path / "killed", 1, *settings)
    assert same_model(tmp_path / "killed", tmp_path / "whole")
    assert max(residual_weights(tmp_path / "killed").values()) > 1.1


def test_half_precision_takes_over_residual_weights(fairseq, tmp_path):
    for name, options in (("half", ["--fp16", "--fp16-no-flatten-grads"]), ("full", [])):
        fairseq.train(tmp_path / name, 1, *ADMIN, "--no-gradinit", *options)
    half, full = (residual_weights(tmp_path / name) for name in ("half", "full"))
    assert half == pytest.approx(full, rel=5e-3)
    assert all(value == float(torch.tensor(value).half()) for value in half.values())


def test_two_processes_share_one_profile_and_end_with_equal_parameters(fairseq, tmp_path):
    driver = Path(__file__).parent / "report_parameters.py"
    distributed = ["--distributed-backend", "gloo", "--distributed-world-size", "2", "--ddp-backend", "legacy_ddp"]
    arguments = [*short_run(tmp_path / "two", 2), *ADMIN, *distributed]
    fairseq.run_ranks(2, driver, *arguments, REPORT_DIR=str(tmp_path))
    assert (tmp_path / "rank0").read_text() == (tmp_path / "rank1").read_text()
    fairseq.train(tmp_path / "one", 2, *ADMIN)
    two, one = (residual_weights(tmp_path / name) for name in ("two", "one"))
    assert two == pytest.approx(one, rel=0.1)
    assert two != one, "the profile is the mean of both ranks' batches"
