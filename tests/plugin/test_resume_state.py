"""A trainer that loads a checkpoint continues as the one that saved it, to the bit, in every precision."""

import inspect
import itertools
from types import SimpleNamespace

import pytest
import torch
from fairseq.optim import AMPOptimizer, FP16Optimizer, MemoryEfficientFP16Optimizer
from fairseq.trainer import Trainer
from in_process import configured, trainer_of, updates_of

from gradinit_mt.plugin.checkpoints import resume_state, resuming
from gradinit_mt.tasks import gradinit_translation

KINDS = (FP16Optimizer, MemoryEfficientFP16Optimizer, AMPOptimizer)
# The scale is at first too large, and it is doubled so often that gradients overflow again and again.
SCALED = ["--fp16", "--fp16-init-scale", "65536", "--fp16-scale-window", "2", "--fp16-scale-tolerance", "0.3"]
AVERAGED = ["--store-ema", "--ema-decay", "0.9", "--ema-update-freq", "3"]

MODES = {
    "fp16, flat": (SCALED, {}),
    "fp16, not flat": ([*SCALED, "--fp16-no-flatten-grads", *AVERAGED, "--ema-fp32"], {}),
    "fp16, memory-efficient": ([*SCALED, "--memory-efficient-fp16", *AVERAGED], {}),
    "bf16": ([], {"bf16": True}),
    "amp": (["--amp", *AVERAGED], {}),
}


@pytest.fixture(autouse=True)
def on_a_cpu(monkeypatch):
    """Plugged into fairseq once, whether or not a test before has imported the whole package; and what needs a GPU."""
    monkeypatch.setattr(Trainer, "state_dict", inspect.unwrap(Trainer.state_dict))
    for kind, name in itertools.product(KINDS, ("state_dict", "load_state_dict")):
        monkeypatch.setattr(kind, name, inspect.unwrap(getattr(kind, name)))
    resume_state.complete_checkpoints()
    monkeypatch.setattr(torch.cuda, "current_device", lambda: None)
    monkeypatch.setattr(torch.Tensor, "cuda", lambda self: self)  # after an overflow
    monkeypatch.setattr(gradinit_translation, "require_trainable", lambda cfg: None)


@pytest.fixture
def trainer(toy_corpus, tmp_path):
    """A function that makes a trainer, always of the same run."""
    cfg = None

    def made(options, unparsed=None):
        nonlocal cfg
        further = ["--no-gradinit", "--dropout", "0.3", *options]
        cfg = cfg or configured(toy_corpus, tmp_path, *further, **(unparsed or {}))
        return trainer_of(cfg)

    return made


def state(trainer) -> dict:
    """All that a checkpoint has of a run, but for times and settings."""
    trainer.consolidate_optimizer()
    whole = trainer.state_dict()
    kept = {name: whole["extra_state"].get(name) for name in ("ema", "ema_fp32_params", resume_state.NAME)}
    return {"model": whole["model"], "optimizer": whole["last_optimizer_state"]} | {k: v for k, v in kept.items() if v}


def save(trainer, path) -> None:
    """Writes a checkpoint."""
    trainer.consolidate_optimizer()
    trainer.save_checkpoint(str(path), {"train_iterator": {"epoch": 1}})


def resumed(trainer, path):
    """Loads a checkpoint."""
    extra_state = trainer.load_checkpoint(str(path))
    assert resume_state.NAME in extra_state
    resume_state.restore(trainer, extra_state)
    return trainer


@pytest.mark.parametrize("mode", MODES)
def test_a_resumed_trainer_continues_to_the_bit(trainer, tmp_path, mode):
    one = trainer(*MODES[mode])
    samples = list(itertools.islice(updates_of(one), 12))
    for update in samples[:7]:
        one.train_step(update)
    assert (one.get_num_updates() < 7) == ("fp16" in mode), "some gradients have overflowed"
    save(one, tmp_path / "checkpoint.pt")
    other = resumed(trainer(*MODES[mode]), tmp_path / "checkpoint.pt")
    torch.testing.assert_close(state(other), state(one), rtol=0, atol=0)
    for update in samples[7:]:
        for either in (one, other):
            either.train_step(update)
        assert other.get_num_updates() == one.get_num_updates()
    torch.testing.assert_close(state(other), state(one), rtol=0, atol=0)


def test_amp_keeps_its_scale_and_its_retries(trainer, tmp_path, monkeypatch):
    """On a CPU the scaler of PyTorch scales nothing, so one that does takes its place."""
    one, other = trainer(["--amp"]), trainer(["--amp"])
    for either in (one, other):
        either.optimizer._grad_scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10)
        either.lr_scheduler  # noqa: B018 - builds it
    one.optimizer.scaler.load_state_dict(one.optimizer.scaler.state_dict() | {"scale": 8.0, "_growth_tracker": 5})
    one._amp_retries = 1
    save(one, tmp_path / "checkpoint.pt")
    monkeypatch.setattr(other, "_build_optimizer", lambda: None)  # which would make a scaler for GPUs again
    resumed(other, tmp_path / "checkpoint.pt")
    assert other.optimizer.scaler.state_dict() == one.optimizer.scaler.state_dict()
    assert other._amp_retries == 1


@pytest.mark.parametrize(
    ("patience", "max_update", "option"),
    [(-1, 0, None), (3, 0, "--patience"), (4, 0, None), (-1, 8, "--max-update"), (-1, 7, "--max-update"), (4, 9, None)],
)
def test_a_run_that_has_ended_is_continued_by_a_larger_limit(patience, max_update, option):
    cfg = SimpleNamespace(
        checkpoint=SimpleNamespace(patience=patience), optimization=SimpleNamespace(max_update=max_update)
    )
    trainer = SimpleNamespace(cfg=cfg, get_num_updates=lambda: 8, early_stopping={"best": 4.0, "num_runs": 3})
    assert resuming.ended_by(trainer) == option


def test_a_checkpoint_of_an_earlier_version_is_loaded(trainer, tmp_path):
    options, _ = MODES["fp16, not flat"]
    one = trainer(options)
    one.train_step(next(updates_of(one)))
    save(one, tmp_path / "checkpoint.pt")
    saved = torch.load(tmp_path / "checkpoint.pt", weights_only=True)
    del saved["last_optimizer_state"][resume_state.NAME], saved["extra_state"][resume_state.NAME]
    torch.save(saved, tmp_path / "earlier.pt")
    other = trainer(options)
    resume_state.restore(other, other.load_checkpoint(str(tmp_path / "earlier.pt")))
    torch.testing.assert_close(other.model.state_dict(), one.model.state_dict(), rtol=0, atol=0)
