"""Ways of training that cannot work are refused by name, before a data set is loaded or a file written."""

import pytest
from fairseq import tasks
from in_process import configured, trainer_of, updates_of

from gradinit_mt.core import GradInitError


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ["--ddp-backend", "fully_sharded"],
            "whole parameters on every rank, which --ddp-backend fully_sharded splits",
        ),
        (
            ["--pipeline-model-parallel"],
            "which --pipeline-model-parallel splits: drop it, or give --no-gradinit and no",
        ),
        (["--model-parallel-size", "2"], "which --model-parallel-size 2 splits"),
        (["--use-bmuf"], "--use-bmuf averages with copies of the parameters from before initialization"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_initialization_is_refused_where_parameters_are_not_whole(toy_corpus, tmp_path, options, message):
    cfg = configured(toy_corpus, tmp_path / "run", *options)
    with pytest.raises(GradInitError, match=message):
        tasks.setup_task(cfg.task)
    assert not (tmp_path / "run").exists()
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "checkpoint_last.pt").touch()
    tasks.setup_task(cfg.task)  # the parameters will be those of the checkpoint
    (tmp_path / "run" / "checkpoint_last.pt").unlink()
    cfg.task.no_gradinit = True
    assert tasks.setup_task(cfg.task).datasets == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--arch", "transformer", "--compile-layers"], "--compile-layers is for post_ln_transformer models"),
        (["--arch", "transformer", "--capture-steps", "on"], "--capture-steps on is for post_ln_transformer models"),
        (["--capture-steps", "on"], "--capture-steps on needs --criterion projected_label_smoothed_cross_entropy"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_steps_that_cannot_be_taken_are_refused_before_scales_are_learned(toy_corpus, tmp_path, options, message):
    trainer = trainer_of(configured(toy_corpus, tmp_path / "run", *options))
    with pytest.raises(GradInitError, match=message):
        trainer.train_step(next(updates_of(trainer)))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--bf16"], "does not train on TPUs, for which fairseq 0.12 takes --bf16 and --tpu: use --precision bfloat16"),
        (["--tpu"], "does not train on TPUs"),
        (["--fp16"], "flat float32 copies of --fp16 on a GPU: on a CPU use --precision bfloat16"),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_precision_that_the_device_cannot_train_in_is_refused(toy_corpus, tmp_path, options, message):
    cfg = configured(toy_corpus, tmp_path / "run", *options, "--no-gradinit")
    with pytest.raises(GradInitError, match=message):
        trainer_of(cfg)
    assert not (tmp_path / "run").exists()
    tasks.setup_task(cfg.task).build_model(cfg.model, from_checkpoint=True)  # for translation, which needs no optimizer
