"""The linear schedule: its values by the formula, and its options."""

import argparse

import pytest
import torch
from fairseq.optim.adam import FairseqAdam, FairseqAdamConfig
from omegaconf import OmegaConf

from gradinit_mt.lr_schedulers.linear import LinearSchedule, LinearScheduleConfig, lr_at


def test_decay_without_warmup_is_the_stated_formula():
    lr, total, lr_min = 5e-4, 100_000, 1e-6
    for t in (0, 1, 2, 49_999, 50_000, 99_700, 99_800, 99_999, 100_000, 100_001, 10**7):
        assert lr_at(t, lr, total, lr_min) == pytest.approx(max(lr_min, lr * (1 - t / total)), rel=1e-12)
    assert lr_at(0, lr, total) == lr
    assert lr_at(total, lr, total) == 0
    assert lr_at(total + 5, lr, total) == 0


def test_warmup_rises_in_equal_steps_to_the_peak_and_then_decays_in_equal_steps_to_zero():
    rates = [lr_at(t, 1.0, 12, warmup=4) for t in range(13)]
    assert rates[:4] == pytest.approx([0.25, 0.5, 0.75, 1.0])
    assert rates[4:] == pytest.approx([1.0, 0.875, 0.75, 0.625, 0.5, 0.375, 0.25, 0.125, 0.0])


def schedule(**options):
    values = {"lr": [1e-3], "max_update": 10, "total_num_update": None} | options
    optimizer = FairseqAdam(
        OmegaConf.structured(FairseqAdamConfig(lr=[1e-3], fp16_adam_stats=False, tpu=False, use_old_adam=True)),
        [torch.nn.Parameter(torch.zeros(1))],
    )
    cfg = LinearScheduleConfig(**{"lr_min": 0.0, "warmup_updates": 0} | values)
    return LinearSchedule(cfg, optimizer)


def test_the_first_update_runs_at_the_peak_and_the_end_follows_max_update():
    linear = schedule()
    assert linear.optimizer.get_lr() == 1e-3
    assert linear.step_update(5) == linear.optimizer.get_lr() == pytest.approx(5e-4)
    assert schedule(total_num_update=20).step_update(5) == pytest.approx(7.5e-4)
    assert schedule(total_num_update=10).step_update(9) == pytest.approx(1e-4), "the last update has a rate"
    assert schedule(total_num_update=5, lr_min=1e-5).step_update(9) == pytest.approx(1e-5)


def test_the_schedule_has_the_warmup_of_its_options():
    linear = schedule(warmup_updates=4)
    assert [linear.step_update(t) for t in (0, 3, 4, 7)] == pytest.approx([2.5e-4, 1e-3, 1e-3, 5e-4])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_update": 0}, "give --max-update or --total-num-update"),
        ({"total_num_update": -3}, "ends at update -3"),
        ({"warmup_updates": 10}, "--warmup-updates is 10, expected .* fewer than the 10 updates"),
        ({"warmup_updates": -1}, "--warmup-updates is -1"),
        ({"lr_min": 2e-3}, "--lr-min is 0.002, expected 0 to --lr"),
        (
            {"total_num_update": 9},
            "--max-update is 10, expected at most the 9 of --total-num-update, after which the learning rate is 0",
        ),
        ({"lr": [1e-3, 5e-4]}, "takes one --lr"),
        ({"lr": [float("nan")]}, "--lr is nan"),
        ({"lr": [float("inf")]}, "--lr is inf"),
    ],
)
def test_options_out_of_range_are_named(options, message):
    with pytest.raises(ValueError, match=message):
        schedule(**options)


def test_a_run_by_epochs_is_told_that_its_rate_has_reached_0(caplog):
    linear = schedule(max_update=0, total_num_update=5)
    linear.step_update(4)
    assert not caplog.records
    assert linear.step_update(5) == linear.step_update(6) == 0
    assert [record.message for record in caplog.records] == [
        "the learning rate is 0 from update 5 on: raise --total-num-update"
    ]


def test_every_option_is_on_the_command_line_with_a_help_text():
    parser = argparse.ArgumentParser()
    LinearSchedule.add_args(parser)
    options = {action.dest: action.help for action in parser._actions if action.dest != "help"}
    assert options.keys() == {"lr_min", "warmup_updates", "total_num_update"}
    assert all(options.values())
