"""The launcher refuses what fairseq-train would refuse, and nothing that it would run."""

import re
from types import SimpleNamespace

import pytest

from gradinit_mt.common.errors import UserError
from gradinit_mt.training import options, preflight
from gradinit_mt.training.presets import PRESETS


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return SimpleNamespace(bin=tmp_path_factory.mktemp("bin"), source="de", target="en")


def arguments(corpus, tmp_path, further, preset="other", **where):
    return options.compose(preset, corpus, tmp_path / "run", 1, further.split(), **where)


@pytest.mark.parametrize("preset", PRESETS)
@pytest.mark.parametrize("where", [{}, {"processes": 2}, {"gpus": 1}])
def test_every_preset_is_sound(corpus, tmp_path, preset, where):
    preflight.require_sound(arguments(corpus, tmp_path, "", preset, **where))


@pytest.mark.parametrize(
    "further",
    [
        *(f"--optimizer {name}" for name in ("adam", "adamax", "adadelta", "adagrad", "nag", "sgd", "torch_sgd")),
        *(f"--optimizer {name}" for name in ("gi_adam", "novograd", "torch_adam", "torch_radam")),
        "--optimizer adafactor --lr 1e-3",
        *(f"--lr-scheduler {name}" for name in ("fixed", "inverse_sqrt --warmup-updates 9", "reduce_lr_on_plateau")),
        *("--lr-scheduler cosine --max-update 9 --lr 1e-3", "--lr-scheduler polynomial_decay --total-num-update 9"),
        *("--lr-scheduler tri_stage --phase-ratio [0.1,0.4,0.5]", "--lr-scheduler fixed --lr [1e-3,5e-4]"),
        *(f"--arch {name}" for name in ("transformer", "lightconv", "lstm", "post_ln_transformer_base")),
        *("--task translation", "--no-gradinit", "--initializer admin", "--criterion cross_entropy", "--amp"),
        *("--clip-norm 0", "--dropout 0", "--update-freq [1,2]", "--batch-size 8"),
        "--max-update 0 --total-num-update 5",
    ],
)
def test_what_fairseq_trains_is_sound(corpus, tmp_path, further):
    preflight.require_sound(arguments(corpus, tmp_path, further))


def test_a_flat_half_precision_is_refused_on_a_cpu_only(corpus, tmp_path):
    with pytest.raises(UserError, match="on a CPU use --precision bfloat16"):
        preflight.require_sound(arguments(corpus, tmp_path, "--fp16"))
    preflight.require_sound(arguments(corpus, tmp_path, "--fp16 --memory-efficient-fp16 --optimizer adam"))


def test_files_of_a_new_run_must_be_there(corpus, tmp_path):
    (tmp_path / "a.pt").touch()
    preflight.require_files(arguments(corpus, tmp_path, f"--restore-file {tmp_path / 'a.pt'}"))
    preflight.require_files(arguments(corpus, tmp_path, "--restore-file checkpoint_last.pt"))
    for missing in ("none.pt", str(tmp_path), "s3://bucket/a.pt"):  # which fairseq cannot read without iopath
        with pytest.raises(UserError, match=rf"--restore-file {re.escape(missing)}: no such file"):
            preflight.require_files(arguments(corpus, tmp_path, f"--restore-file {missing}"))
