"""The cells of the comparison study: their options, their order, and what is left of them."""

import os
from dataclasses import replace
from pathlib import Path

import pytest
from comparison.cells import Cell
from comparison.configuration import load
from comparison.plan import Planned, plan, tuning_cells
from comparison.settings import SETTINGS, WARMUPS
from comparison.time_left import seconds_left, status
from comparison.tuned import choose

from gradinit_mt.common.errors import UserError

CELL = Cell("toy", "xavier", 1e-3, 0.98, None, 1, 800)


@pytest.fixture
def config(root):
    """The study's own configuration, with its first corpus prepared."""
    return load(root / "experiments/comparison/config.yaml") | {"corpora": {"multi30k": "corpora/multi30k"}}


def reading(cell, gain, seconds=100.0):
    return cell.fields | {"source_gain": gain, "end": "complete", "seconds": seconds, "device": "here"}


def test_sgd_replaces_the_optimizer_and_keeps_the_row():
    options = replace(CELL, setting="t-fixup", beta2=None, momentum=0.9).options()
    assert options[options.index("--optimizer") + 1] == "sgd"
    assert "--adam-betas" not in options
    assert options[options.index("--initializer") + 1] == "t-fixup"


def test_the_untuned_warmup_follows_beta2():
    for beta2, updates in ((0.9, "20"), (0.98, "100"), (0.999, "2000")):
        options = replace(CELL, setting="warmup-untuned", beta2=beta2).options()
        assert options[options.index("--warmup-updates") + 1] == updates


def test_names_tell_cells_apart_and_are_paths(config):
    names = [planned.cell.name for planned in plan(config, [])]
    assert len(set(names)) == len(names)
    assert all(len(Path(name).parts) == 2 for name in names)
    other = replace(CELL, further=("--encoder-embed-dim", "16"))
    assert other.name != CELL.name
    assert Cell.of(other.fields) == other


def test_the_settings_of_the_question_come_first_and_then_all_at_the_middle_rate(config):
    config["blocks"] = {"a": config["blocks"]["a"]}
    cells = [planned.cell for planned in plan(config, []) if planned.cell.seed == 1]
    stage = config["blocks"]["a"]["stages"][0]
    count = len(stage["settings"]) * len(stage["lr"])
    assert {cell.setting for cell in cells[:count]} == set(stage["settings"])
    everything = set(SETTINGS) - {f"warmup-{length}" for length in WARMUPS}
    at_middle_rate = [cell for cell in cells[: count + len(everything) - len(stage["settings"])] if cell.lr == 1e-3]
    assert {cell.setting for cell in at_middle_rate} == everything
    assert len(cells) == len(set(cells))


def test_a_cell_of_two_blocks_is_trained_once_and_scored_if_one_of_them_asks_for_it(config):
    shared = replace(CELL, corpus="multi30k", setting="gradinit")
    for scoring in ({}, {"a"}, {"b"}, {"a", "b"}):
        for name in ("a", "b"):
            config["blocks"][name]["bleu"] = name in scoring
        assert [planned.bleu for planned in plan(config, []) if planned.cell == shared] == [bool(scoring)]


def test_only_the_lengths_of_warmup_that_are_chosen_by_their_loss_are_not_scored(config):
    config["tuning"]["seed"] = 1
    config["blocks"] = {"c": config["blocks"]["c"]}
    unscored = {planned.cell.setting for planned in plan(config, []) if not planned.bleu}
    assert unscored == {f"warmup-{length}" for length in config["tuning"]["lengths"]}
    config["blocks"]["c"]["stages"] = [{"settings": ["warmup-100"], "lr": [0.001], "seeds": [1]}]
    assert [planned.bleu for planned in plan(config, [])] == [True]


def test_rates_that_a_name_cannot_tell_apart_are_refused(config):
    config["blocks"] = {"b": config["blocks"]["b"]}
    config["blocks"]["b"]["stages"] = [{"settings": ["xavier"], "lr": [0.001, 0.0010000001], "seeds": [1]}]
    with pytest.raises(UserError, match=r"two cells have the name multi30k/xavier-lr0\.001-.*; leave one out"):
        plan(config, [])


def test_rows_of_adam_get_no_further_cells_of_sgd():
    block = {"corpus": "toy", "updates": 800, "momentum": [0.9]}
    block["stages"] = [{"settings": "trained", "lr": [0.1], "seeds": [1]}]
    config = {
        "tuning": {"seed": 101, "updates": 800, "lengths": [100]},
        "corpora": {"toy": ""},
        "blocks": {"sgd": block},
    }
    sgd = replace(CELL, beta2=None, momentum=0.9)
    known = [reading(replace(sgd, setting=name, lr=lr), 2.0) for name in ("radam", "admin") for lr in (0.05, 0.1, 0.2)]
    assert [planned.cell.setting for planned in plan(config, known)] == ["admin"]


def test_rows_of_sgd_have_no_option_of_adam_and_are_different_runs():
    rows = {name: row for name, row in SETTINGS.items() if not row.needs_adam}
    options = {name: replace(CELL, setting=name, beta2=None, momentum=0.9).options() for name in rows}
    assert not [option for each in options.values() for option in each if "adam" in option]
    by_options_alone = [tuple(options[name]) for name, row in rows.items() if not (row.by_hand or row.tuned)]
    assert len(set(by_options_alone)) == len(by_options_alone) == len(rows) - 3


def test_the_lengths_of_warmup_come_before_the_run_that_needs_them(config):
    cells = [planned.cell for planned in plan(config, [])]
    at = cells.index(replace(CELL, corpus="multi30k", setting="warmup-tuned"))
    for length in config["tuning"]["lengths"]:
        assert cells.index(replace(CELL, corpus="multi30k", setting=f"warmup-{length}", seed=101)) < at


def test_the_lengths_of_warmup_are_trained_at_the_beta2_of_the_tuning():
    tuning = {"seed": 101, "updates": 800, "beta2": 0.98, "lengths": [400, 100]}
    cell = replace(CELL, setting="warmup-tuned", beta2=0.9)
    sgd = replace(cell, beta2=None, momentum=0.9)
    for tuned, beta2 in ((cell, 0.98), (sgd, None)):
        found = tuning_cells(tuned, {"tuning": tuning})
        assert [cell.setting for cell in found] == ["warmup-100", "warmup-400"]
        assert {(cell.beta2, cell.momentum, cell.seed) for cell in found} == {(beta2, tuned.momentum, 101)}


def test_further_seeds_are_for_settings_that_train_at_three_rates(config):
    cell = replace(CELL, corpus="multi30k")
    readings = [reading(replace(cell, setting="admin", lr=lr), 2.0) for lr in (1e-3, 2e-3, 3e-3)]
    readings += [reading(replace(cell, setting="ds-init", lr=lr), gain) for lr, gain in ((1e-3, 2.0), (2e-3, 0.1))]
    readings += [reading(replace(cell, setting="idinit", lr=lr, seed=2), 2.0) for lr in (1e-3, 2e-3, 3e-3)]
    other = replace(cell, setting="orthogonal")
    readings += [reading(replace(other, lr=lr), 2.0) for lr in (1e-3, 2e-3)]
    readings += [reading(replace(other, lr=3e-3, beta2=0.9), 2.0)]  # not at the block's beta2
    before, after = ({planned.cell for planned in plan(config, known)} for known in ([], readings))
    added = {(cell.setting, cell.seed) for cell in after - before}
    assert added == {("admin", 2), ("admin", 3)}


def test_the_runs_of_the_earlier_study_can_be_planned(root):
    config = load(root / "experiments/no_warmup/study.yaml")
    corpora = dict.fromkeys(["multi30k", "multi30k.en-de", "tatoeba"], "")
    planned = plan(config | {"corpora": corpora}, [])
    assert {entry.cell.updates for entry in planned if entry.bleu} == {4920, 2450}


def test_the_length_with_the_lowest_validation_loss_is_chosen():
    def of(length, *losses, end="complete"):
        cell = replace(CELL, setting=f"warmup-{length}", updates=len(losses))
        return cell.fields | {"end": end, "validation": {str(at): loss for at, loss in enumerate(losses, start=1)}}

    assert choose([of(100, 3.0, 5.0), of(200, 6.0, 4.0), of(400, 4.5)])["warmup"] == 200
    assert choose([of(400, 4.0), of(200, 4.0), of(100, 1.0, end="diverged")])["warmup"] == 200
    diverged = of(100, end="diverged")
    assert choose([of(400, None), of(200, 9.0), diverged])["validation"] == {"100": None, "200": 9.0, "400": None}
    for losses in ({}, {"1": 1.0}):  # none, and none after the last update
        incomplete = of(100, 2.0, 3.0) | {"validation": losses}
        with pytest.raises(UserError, match=r"warmup-100-.*-2updates has no validation loss after update 2: remove"):
            choose([of(200, 9.0), incomplete, of(400, 9.0)])


def test_the_time_left_follows_finished_cells_of_the_same_setting():
    slow, unknown = replace(CELL, setting="gradinit"), replace(CELL, setting="admin")
    readings = [reading(CELL, 0.0, 80.0), reading(slow, 2.0, 240.0)]
    assert seconds_left([replace(slow, seed=2, updates=1600)], readings) == pytest.approx(480)
    assert seconds_left([unknown], readings) == pytest.approx(160)
    wide = replace(CELL, further=("--encoder-embed-dim", "256"))
    assert seconds_left([replace(wide, setting="admin")], [*readings, reading(wide, 2.0, 800.0)]) == pytest.approx(800)
    assert seconds_left([unknown], []) is None
    planned = [Planned(cell, False) for cell in (CELL, slow, replace(CELL, seed=2))]
    assert status(planned, readings, 2, "here") == "2 of 3 cells done, about 1 min left"
    assert status(planned, readings, 50, "here") == status(planned, readings, 1, "here"), "one cell is left"
    assert status(planned, readings, 2, "elsewhere") == "2 of 3 cells done"


def test_cells_side_by_side_take_different_gpus(monkeypatch, tmp_path):
    from comparison import device

    monkeypatch.setattr(device.tempfile, "gettempdir", lambda: str(tmp_path))
    monkeypatch.setenv(device.VISIBLE, "2,5")
    with device.one_gpu():
        assert os.environ[device.VISIBLE] == "2"
        monkeypatch.setenv(device.VISIBLE, "2,5")
        with device.one_gpu():
            assert os.environ[device.VISIBLE] == "5"
            monkeypatch.setenv(device.VISIBLE, "2,5")
            with pytest.raises(UserError, match="no free GPU among 2, 5"), device.one_gpu():
                pass
            monkeypatch.setenv("SLURM_JOB_ID", "7")
            with device.one_gpu():  # that of another job, which has the same name there
                assert os.environ[device.VISIBLE] == "2"
        monkeypatch.setenv(device.VISIBLE, "MIG-GPU-1/0/0")
        with device.one_gpu():
            assert os.environ[device.VISIBLE] == "MIG-GPU-1/0/0"
