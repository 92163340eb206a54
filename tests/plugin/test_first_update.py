"""Initialization in every precision that trains on a CPU: computed in float32, and all copies of the model follow it.

The runs stop before their first optimizer step. A run in half precision starts from rounded parameters and positions,
so what it learns is compared with a float32 run that starts from the same ones.
"""

import functools

import pytest
import torch
from in_process import configured, parameters, trainer_of, updates_of

from gradinit_mt.core import GradInitError, starts
from gradinit_mt.record.record import Record
from gradinit_mt.tasks import gradinit_translation

# An average that never moves shows when it was copied.
AVERAGED = ["--store-ema", "--ema-fp32", "--ema-decay", "1"]
FULL, HALF, BRAIN = torch.float32, torch.float16, torch.bfloat16

MODES = {
    "float32": (FULL, ["--precision", "float32"], {}),
    "float32, three batches": (FULL, ["--precision", "float32", "--update-freq", "3"], {}),
    "bfloat16 by autocast": (FULL, ["--precision", "bfloat16"], {}),
    "amp": (FULL, ["--amp"], {}),
    "fp16, flat": (HALF, ["--fp16"], {}),
    "fp16, not flat": (HALF, ["--fp16", "--fp16-no-flatten-grads"], {}),
    "fp16, memory-efficient": (HALF, ["--fp16", "--memory-efficient-fp16", "--update-freq", "2"], {}),
    "bf16": (BRAIN, [], {"bf16": True}),  # as fairseq-hydra-train has it
    "bf16, memory-efficient": (BRAIN, [], {"bf16": True, "memory_efficient_bf16": True}),
}


@pytest.fixture(scope="module")
def start(toy_corpus, tmp_path_factory):
    """A function that takes a run to its first optimizer step; it returns the trainer and theta0."""

    def started(*options, rounding=FULL, **unparsed):
        cfg = configured(toy_corpus, tmp_path_factory.mktemp("run"), *options, *AVERAGED, **unparsed)
        with pytest.MonkeyPatch.context() as patch:
            if "--fp16" in options:  # flat copies are on a GPU, but for these
                patch.setattr(torch.cuda, "current_device", lambda: None)
                patch.setattr(gradinit_translation, "require_trainable", lambda cfg: None)
            trainer = trainer_of(cfg)
            with torch.no_grad():
                for value in (*trainer.model.parameters(), *trainer.model.buffers()):
                    value.copy_(value.to(rounding))
            theta0 = {name: value.float() for name, value in parameters(trainer.model).items()}
            patch.setattr(trainer.task, "optimizer_step", lambda *arguments, **options: None)
            trainer.train_step(next(updates_of(trainer)))
        return trainer, theta0

    return started


def test_layers_without_a_known_name_are_refused_with_the_option(start, monkeypatch):
    monkeypatch.setattr(starts, "_IN_BRANCHES", ("inner", "outer"))
    with pytest.raises(GradInitError, match=r"--gradinit-form branches: no matrix .* is called inner or outer"):
        start()


@pytest.fixture(scope="module")
def reference(start):
    """A function that returns the record and theta0 of a float32 run whose parameters were rounded to a type."""

    @functools.cache
    def found(rounding):
        trainer, theta0 = start("--precision", "float32", rounding=rounding)
        return Record.load(trainer.cfg.checkpoint.save_dir), theta0

    return found


def masters(optimizer) -> list[torch.Tensor]:
    """Of each parameter, the optimizer's float32 copy; none if it keeps no copies."""
    copies = getattr(optimizer, "fp32_params", [])
    if not isinstance(copies, dict):
        return list(copies)
    pieces = copies[None].split([p.numel() for p in optimizer.fp16_params])
    return [piece.view_as(p) for piece, p in zip(pieces, optimizer.fp16_params, strict=True)]


@pytest.mark.parametrize("mode", MODES)
def test_the_scales_are_those_of_float32_and_every_copy_holds_them(start, reference, mode):
    kind, options, unparsed = MODES[mode]
    trainer, theta0 = start(*options, **unparsed)
    record, (other, same) = Record.load(trainer.cfg.checkpoint.save_dir), reference(kind)
    assert all(torch.equal(value, same[name]) for name, value in theta0.items())
    assert torch.equal(record.state.scales, other.state.scales)

    scales = dict(zip((block["name"] for block in record.blocks), record.state.scales, strict=True))
    assert max(abs(float(scale) - 1) for scale in scales.values()) > 0.01, "there is something to see"
    expected = {name: value * scales[name] for name, value in theta0.items()}
    for name, value in trainer.model.named_parameters():
        assert value.dtype == kind
        assert torch.equal(value, expected[name].to(kind)), name
    copies = masters(trainer.optimizer)
    assert bool(copies) == (kind != FULL and "memory" not in mode)
    for copy, value in zip(copies, expected.values(), strict=bool(copies)):
        assert copy.dtype == FULL
        assert torch.equal(copy, value), "not rounded"
    for name, value in trainer.ema.get_model().named_parameters():
        assert torch.equal(value, expected[name].to(kind)), name
        assert torch.equal(trainer.ema.fp32_params[name], expected[name].to(kind).float()), "as fairseq makes it"


@pytest.mark.parametrize("initializer", ["t-fixup", "admin"])
def test_other_initializers_compute_in_float32_too(start, initializer):
    """One that draws tensors anew, and one that measures the model on a batch to set its residual weights."""
    options = ["--no-gradinit", "--initializer", initializer, "--residual-weights", "fixed"]
    half, _ = start(*options, "--fp16", "--fp16-no-flatten-grads")
    full, _ = start(*options, "--precision", "float32", rounding=HALF)
    state, expected = half.model.state_dict(), full.model.state_dict()
    assert {name for name in state if "residual_weight" in name}
    for name, value in expected.items():
        assert torch.equal(state[name], value.to(state[name].dtype)), name
    for copy, value in zip(masters(half.optimizer), full.model.parameters(), strict=True):
        assert torch.equal(copy, value), "not rounded"
