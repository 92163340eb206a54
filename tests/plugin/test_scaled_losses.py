"""The watch where the loss is scaled up, as on GPUs: the scale does not reach what it logs or decides.

Also how it learns from fairseq's trainer that a gradient is not finite.
"""

import math
import sys
from contextlib import nullcontext

import pytest
import torch
from fairseq.distributed import utils
from fairseq.logging import metrics
from in_process import configured, trainer_of, updates_of

from gradinit_mt.plugin.watch import watch
from gradinit_mt.plugin.watch.stop_note import STATUS
from gradinit_mt.tasks import gradinit_translation

STACKS = ("encoder", "decoder", "embeddings")
HALF = ["--fp16", "--fp16-no-flatten-grads"]


@pytest.fixture
def watched(toy_corpus, tmp_path, monkeypatch):
    """A function that makes the trainer of a watched run, on a CPU also what is for GPUs."""
    monkeypatch.setattr(torch.cuda, "current_device", lambda: None)
    monkeypatch.setattr(torch.Tensor, "cuda", lambda self: self)  # after an overflow
    monkeypatch.setattr(gradinit_translation, "require_trainable", lambda cfg: None)

    def made(*options):
        trainer = trainer_of(configured(toy_corpus, tmp_path, "--no-gradinit", "--watch-updates", "9", *options))
        if "--amp" in options:
            trainer.optimizer._grad_scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
        return trainer

    return made


def norms(trainer) -> dict[str, float]:
    """The norms that the first update logs: of the whole gradient, and of each stack's part."""
    metrics.reset()
    with metrics.aggregate("train_inner"):
        trainer.train_step(next(updates_of(trainer)))
    logged = metrics.get_smoothed_values("train_inner")
    return {"all": float(logged["gnorm"])} | {stack: float(logged[f"gnorm_{stack}"]) for stack in STACKS}


@pytest.mark.parametrize(
    "options",
    [
        ["--fp16"],
        [*HALF, "--fp16-init-scale", "512", "--clip-norm", "0.01", "--update-freq", "2"],
        ["--fp16", "--memory-efficient-fp16", "--fp16-init-scale", "512"],
        ["--amp", "--clip-norm", "0.01"],
    ],
    ids=" ".join,
)
def test_norms_are_those_of_the_loss_itself(watched, options):
    plain = norms(watched("--precision", "float32", *(["--update-freq", "2"] if "--update-freq" in options else [])))
    found = norms(watched(*options))
    assert found["all"] == pytest.approx(math.hypot(*(found[stack] for stack in STACKS)), rel=2e-3)
    assert found == pytest.approx(plain, rel=1e-3 if "--amp" in options else 1e-2)


@pytest.mark.parametrize(
    ("options", "gpus"), [([*HALF, "--min-loss-scale", "1"], 1), (["--amp", "--min-loss-scale", "1"], 1), ([], 2)]
)
def test_a_run_whose_gradient_is_never_finite_is_stopped(watched, options, gpus, tmp_path, monkeypatch):
    """The loss stays infinite, also while the scale is halved down to its minimum.

    On several GPUs fairseq compares the gradient norms first, and takes norms that are not finite for unequal ones.
    """
    trainer = watched(*options)
    with torch.no_grad():
        trainer.model.decoder.embed_tokens.weight.fill_(math.inf)
    if gpus > 1:
        trainer._grad_norm_buf = torch.zeros(gpus, dtype=torch.float64)
        monkeypatch.setattr(utils, "all_reduce", lambda norms, group: norms.fill_(norms[0]))
    monkeypatch.setattr(watch, "exit_with", sys.exit)
    with pytest.raises(SystemExit, match=str(STATUS)):
        for update in updates_of(trainer):
            trainer.train_step(update)
    assert "not finite" in (tmp_path / "stopped.json").read_text()


def test_gradients_that_differ_between_gpus_remain_fairseqs_error(watched, tmp_path, monkeypatch):
    trainer = watched()
    trainer._grad_norm_buf = torch.zeros(2, dtype=torch.float64)
    monkeypatch.setattr(utils, "all_reduce", lambda norms, group: norms[1:].fill_(2 * norms[0]))
    # its hooks fail on what an encoder returns, in recent versions of PyTorch
    monkeypatch.setattr("fairseq.trainer.NanDetector", nullcontext)
    with pytest.raises(FloatingPointError, match="gradients are inconsistent between workers"):
        trainer.train_step(next(updates_of(trainer)))
    assert not (tmp_path / "stopped.json").exists()
