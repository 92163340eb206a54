"""Half precision: scales are learned on float32 parameters, which the model and its optimizer take over."""

from types import SimpleNamespace

import pytest
import torch
from fairseq.optim.fp16_optimizer import FP16Optimizer, MemoryEfficientFP16Optimizer
from omegaconf import OmegaConf

from gradinit_mt.plugin.half_precision import in_float32


class HalfCases:
    """Builds fairseq's three kinds of optimizer for half precision."""

    cfg = OmegaConf.create(
        {
            "common": {"bf16": True, "fp16_scale_window": 1, "tpu": False},
            "optimizer": {"_name": "adam", "lr": [1e-3], "adam_betas": "(0.9, 0.98)", "adam_eps": 1e-8, "tpu": False}
            | {"weight_decay": 0.0, "use_old_adam": True, "fp16_adam_stats": False},
            "optimization": {"lr": [1e-3], "update_freq": [1]},
            "distributed_training": {"distributed_world_size": 1},
        }
    )

    @classmethod
    def listed(cls, model):
        return FP16Optimizer.build_optimizer(cls.cfg, list(model.parameters()))

    @classmethod
    def flat(cls, model):
        optimizer = cls.listed(model)
        values = torch.cat([p.detach().float().flatten() for p in model.parameters()])
        optimizer.fp32_params = {0: torch.nn.Parameter(values)}
        return optimizer

    @classmethod
    def memory_efficient(cls, model):
        return MemoryEfficientFP16Optimizer.build_optimizer(cls.cfg, list(model.parameters()))


@pytest.mark.parametrize("kind", ["listed", "flat", "memory_efficient"])
def test_values_learned_in_float32_are_rounded_once(kind):
    torch.manual_seed(0)
    model = torch.nn.Linear(3, 2).to(torch.bfloat16)
    start = [p.detach().float() for p in model.parameters()]
    optimizer = getattr(HalfCases, kind)(model)
    with in_float32(model, optimizer) as learned, torch.no_grad():
        assert all(p.dtype == torch.float32 for p in learned.parameters())
        for p in learned.parameters():
            p.mul_(1.001)  # for most values far below the resolution of bfloat16
    expected = [value * 1.001 for value in start]
    assert all(torch.equal(p, e.to(torch.bfloat16)) for p, e in zip(model.parameters(), expected, strict=True))
    masters = getattr(optimizer, "fp32_params", [])
    if kind == "flat":
        assert torch.equal(masters[0], torch.cat([e.flatten() for e in expected]))
    else:
        assert all(torch.equal(m, e) for m, e in zip(masters, expected, strict=False))
        assert len(masters) == (2 if kind == "listed" else 0)


def test_buffers_are_taken_over():
    model = torch.nn.Linear(3, 2).to(torch.bfloat16)
    model.register_buffer("weights", torch.ones(2, dtype=torch.bfloat16))
    with in_float32(model, HalfCases.memory_efficient(model)) as learned:
        learned.weights.fill_(1.418)
    assert torch.equal(model.weights, torch.full([2], 1.418).to(torch.bfloat16))


def test_an_error_inside_leaves_the_model_as_it_was():
    model = torch.nn.Linear(3, 2).to(torch.bfloat16)
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(KeyboardInterrupt), in_float32(model, HalfCases.listed(model)) as learned:
        with torch.no_grad():
            learned.weight.mul_(2)
        raise KeyboardInterrupt
    assert all(torch.equal(p, b) and p.dtype == b.dtype for p, b in zip(model.parameters(), before, strict=True))


def test_a_float32_model_is_learned_on_itself():
    model = torch.nn.Linear(3, 2)
    with in_float32(model, SimpleNamespace()) as learned:
        assert learned is model


def test_data_parallel_hooks_survive(tmp_path):
    """The wrapper averages gradients by hooks on the half-precision parameters, which still run afterwards."""
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path / 'store'}", rank=0, world_size=1)
    try:
        model = torch.nn.Linear(3, 2).to(torch.bfloat16)
        wrapped = torch.nn.parallel.DistributedDataParallel(model)
        calls = []

        def hook(_, bucket):
            calls.append(1)
            future = torch.futures.Future()
            future.set_result(bucket.buffer())
            return future

        wrapped.register_comm_hook(None, hook)
        inputs = torch.ones(4, 3, dtype=torch.bfloat16)
        wrapped(inputs).sum().backward()
        before = len(calls)
        with in_float32(model, HalfCases.listed(model)) as learned:
            learned(inputs.float()).sum().backward()
        wrapped(inputs).sum().backward()
        assert len(calls) == 2 * before > 0
    finally:
        torch.distributed.destroy_process_group()
