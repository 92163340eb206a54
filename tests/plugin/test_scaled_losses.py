"""The watch where the loss is scaled up for the backward pass: the scale does not reach what it logs or decides."""

import math

import pytest
import torch
from fairseq.logging import metrics
from in_process import configured, trainer_of, updates_of

from gradinit_mt.plugin import stopping
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


@pytest.mark.parametrize("options", [HALF, ["--amp"]], ids=" ".join)
def test_a_run_that_no_scale_can_save_is_stopped(watched, options, tmp_path, monkeypatch):
    """The loss stays infinite while the scale is halved down to its minimum."""
    trainer = watched(*options, "--min-loss-scale", "1")
    with torch.no_grad():
        trainer.model.decoder.embed_tokens.weight.fill_(math.inf)
    left = []

    def leave():
        left.append("the process ends")
        raise SystemExit(3)

    monkeypatch.setattr(stopping, "leave", leave)
    with pytest.raises(SystemExit):
        for update in updates_of(trainer):
            trainer.train_step(update)
    assert left
    assert "not finite" in (tmp_path / "stopped.json").read_text()
