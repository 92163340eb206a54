"""The task: how options become GradInit's settings, which batches it sees, and half precision."""

import argparse
import itertools
from types import SimpleNamespace

import pytest
import torch
from fairseq.data import ListDataset
from fairseq.optim import adam as fairseq_adam
from fairseq.optim.fp16_optimizer import FP16Optimizer, MemoryEfficientFP16Optimizer
from omegaconf import OmegaConf

from gradinit_mt.core import GradInitError
from gradinit_mt.plugin.batches import OverlappingBatches
from gradinit_mt.plugin.half_precision import in_float32
from gradinit_mt.plugin.options import (
    GradInitTranslationConfig,
    core_config,
    first_steps_of,
)
from gradinit_mt.tasks.gradinit_translation import GradInitTranslationTask

CPU = torch.device("cpu")


def options(**changes):
    cfg = GradInitTranslationConfig(lr=[5e-4], max_tokens=4096, batch_size=None, seed=1, save_dir="unused")
    for name, value in changes.items():
        setattr(cfg, name, value)
    return cfg


ADAM, SGD = {"step": "adam"}, {"step": "sgd"}


def test_the_papers_form_has_the_references_settings_for_iwslt14():
    """Its launch script: lr 5e-4, eta 1e-3, tau 2.5e-3, betas 0.9 and 0.98, gamma 1000, 780 iterations."""
    config = core_config(options(gradinit_form="paper"), ADAM, CPU)
    assert (config.eta, config.gamma, config.tau) == pytest.approx((1e-3, 1000.0, 2.5e-3))
    assert (config.betas, config.iterations, config.lower_bound) == ((0.9, 0.98), 780, 0.01)
    assert (config.look_ahead, config.update) == (1, "adam")
    assert config.signal_weight == 0


def test_the_default_form_looks_at_the_first_steps_of_training_itself():
    config = core_config(options(), ADAM | {"step_betas": (0.8, 0.9)}, CPU)
    assert (config.eta, config.step_betas, config.look_ahead) == (5e-4, (0.8, 0.9), 8)
    assert config.gamma == float("inf")
    assert config.as_dict()["gamma"] is None


@pytest.mark.parametrize(
    ("lr", "steps", "weight", "largest"),
    [
        (1e-4, 8, 0.025, 1),
        (1e-3, 8, 0.25, 1),
        (2e-3, 4, 0.5, 1),
        (2.5e-3, 3, 0.5, 1.5),
        (3e-3, 3, 0.5, 2),
        (1.0, 1, 0.5, 2),
    ],
)
def test_the_default_form_follows_the_rate_of_adam(lr, steps, weight, largest):
    """At a higher rate it looks fewer steps ahead, the signal weighs more, at most as under SGD; matrices may grow."""
    cfg = options(lr=[lr])
    adam, sgd = core_config(cfg, ADAM, CPU), core_config(cfg, SGD, CPU)
    assert (adam.look_ahead, adam.signal_weight, adam.upper_bound) == pytest.approx((steps, weight, largest))
    assert (sgd.look_ahead, sgd.signal_weight, sgd.upper_bound) == (8, 0.5, 1)


def test_what_is_given_goes_before_the_form():
    assert core_config(options(gradinit_form="paper", gradinit_look_ahead=3), ADAM, CPU).look_ahead == 3
    adam = core_config(options(gradinit_update="adam"), ADAM, CPU)
    assert (adam.update, adam.tau) == ("adam", 2.5e-3), "a step of 0.5 would be of the size of the scales"
    assert core_config(options(gradinit_form="paper", gradinit_update="descent"), ADAM, CPU).tau == 0.5
    assert core_config(options(lr=[3e-3], gradinit_upper_bound=1.2), ADAM, CPU).upper_bound == 1.2
    assert core_config(options(gradinit_signal_weight=0.0), ADAM, CPU).signal_weight == 0


def test_eta_follows_the_learning_rate_and_gamma_follows_eta_unless_they_are_given():
    assert core_config(options(lr=[1e-3], gradinit_eta_ratio=5.0), ADAM, CPU).eta == pytest.approx(5e-3)
    assert core_config(options(lr=[0.2], gradinit_form="paper"), SGD, CPU).gamma == pytest.approx(0.4**-0.5)
    given = core_config(options(gradinit_eta=0.3, gradinit_gamma=7.0, gradinit_step="sgd"), ADAM, CPU)
    assert (given.step, given.eta, given.gamma) == ("sgd", 0.3, 7.0)


def test_a_step_of_sgd_is_as_long_as_the_gradients_of_training():
    """With --sentence-avg they are per sentence, of 30 tokens here; a step of Adam does not depend on their length."""
    cfg = options(lr=[0.1], gradinit_form="paper")
    assert core_config(cfg, SGD, CPU, 30.0).eta == pytest.approx(2 * 0.1 * 30)
    assert core_config(cfg, SGD, CPU, 30.0).gamma == pytest.approx(6**-0.5)
    assert core_config(cfg, ADAM, CPU, 30.0).eta == pytest.approx(2 * 0.1)
    assert core_config(options(gradinit_eta=0.5), SGD, CPU, 30.0).eta == 0.5, "given for gradients per token"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"gradinit_iterations": 0}, "iterations is 0, expected at least 1"),
        ({"gradinit_tau": -1.0}, "tau is -1.0, expected a finite number above 0"),
        ({"gradinit_eta_ratio": 0.0}, "--gradinit-eta-ratio is 0.0"),
        ({"gradinit_update_freq": 0}, "--gradinit-update-freq is 0, expected at least 1"),
        ({"gradinit_max_tokens": 0}, "--gradinit-max-tokens is 0, expected at least 1"),
        ({"gradinit_look_ahead": 0}, "look_ahead is 0, expected at least 1"),
        ({"gradinit_gamma": float("nan")}, "gamma is nan, expected a number above 0"),
        ({"gradinit_signal_weight": -1.0}, "signal_weight is -1.0, expected a finite number, at least 0"),
        ({"gradinit_lower_bound": 0.0}, r"lower_bound is 0.0, expected a number in \(0, 1\]"),
        ({"lr": [0.0]}, "--lr is 0.0, expected a finite number above 0: change it, or give --gradinit-eta"),
    ],
)
def test_a_bad_option_is_reported_when_the_task_is_set_up(dictionary, changes, message):
    with pytest.raises(GradInitError, match=message):
        GradInitTranslationTask(options(**changes), dictionary, dictionary)
    GradInitTranslationTask(options(no_gradinit=True, **changes), dictionary, dictionary)


def test_the_steps_follow_the_optimizer():
    parameters = [torch.nn.Parameter(torch.zeros(1))]
    adam = torch.optim.Adam(parameters, betas=(0.8, 0.9), eps=1e-6)
    own = fairseq_adam.Adam(parameters, betas=(0.8, 0.9), eps=1e-6)
    sgd, other = torch.optim.SGD(parameters, lr=1, momentum=0.7), torch.optim.Adagrad(parameters)
    expected = {"step": "adam", "step_betas": (0.8, 0.9), "step_eps": 1e-6}
    assert first_steps_of(SimpleNamespace(optimizer=adam)) == expected | {"step_eps_first": False}
    assert first_steps_of(SimpleNamespace(optimizer=own)) == expected | {"step_eps_first": True}
    config = core_config(options(), first_steps_of(SimpleNamespace(optimizer=own)), CPU)
    assert (config.step_eps, config.step_eps_first) == (1e-6, True)
    assert first_steps_of(SimpleNamespace(optimizer=sgd)) == {"step": "sgd", "step_momentum": 0.7}
    unknown = first_steps_of(SimpleNamespace(optimizer=other))
    assert unknown["step"] is None
    with pytest.raises(GradInitError, match="give --gradinit-step adam or sgd"):
        core_config(options(), unknown, CPU)
    assert core_config(options(gradinit_step="adam"), unknown, CPU).step == "adam"
    assert core_config(options(), first_steps_of(SimpleNamespace(optimizer=sgd)), CPU).step_momentum == 0.7


def test_the_precision_follows_the_device_unless_it_is_given(monkeypatch):
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx512_bf16": True})
    automatic = core_config(options(), ADAM, CPU)
    assert (automatic.precision, automatic.route) == ("bfloat16", "exact")
    assert core_config(options(gradinit_precision="full"), ADAM, CPU).route == "finite"
    assert core_config(options(gradinit_hvp="finite"), ADAM, CPU).precision == "full"
    monkeypatch.setattr("torch.cpu.get_capabilities", lambda: {"avx512_bf16": False, "avx2": True})
    assert core_config(options(), ADAM, CPU).precision == "full"
    assert core_config(options(gradinit_precision="bfloat16"), ADAM, CPU).precision == "bfloat16"
    with pytest.raises(GradInitError, match="expected auto or exact at precision bfloat16"):
        core_config(options(gradinit_precision="bfloat16", gradinit_hvp="finite"), ADAM, CPU)


def test_every_option_of_gradinit_has_a_help_text_with_its_range():
    parser = argparse.ArgumentParser()
    GradInitTranslationTask.add_args(parser)
    ours = [action for action in parser._actions if "gradinit" in action.dest]
    assert len(ours) == len([name for name in vars(options()) if "gradinit" in name])
    for action in ours:
        numeric = action.type in (int, float)
        assert action.help
        assert not numeric or any(word in action.help for word in ("above", "at least", " in [", " in (")), action.dest


class Numbers(ListDataset):
    """A dataset whose samples are their own indices."""

    def __init__(self, size):
        super().__init__(list(range(size)))

    def collater(self, members):
        return {"members": members}


def drawn(count, start=0, **arguments):
    """Per iteration, the sentences of each part: a list of (S, S~) as sorted tuples."""
    batches = [list(range(first, first + 6)) for first in range(0, 60, 6)]
    source = OverlappingBatches(Numbers(60), batches, **{"seed": 3} | arguments)
    return [
        [(tuple(s["members"]), tuple(t["members"])) for s, t in zip(*pair, strict=True)]
        for pair in itertools.islice(source.pairs(start), count)
    ]


def test_an_epoch_sees_every_batch_once_in_an_order_of_its_own():
    first = [frozenset(s + t) for [(s, t)] in drawn(10)]
    second = [frozenset(s + t) for [(s, t)] in drawn(10, start=10)]
    assert set(first) == set(second) == {frozenset(range(i, i + 6)) for i in range(0, 60, 6)}
    assert first != second
    for [(s, t)] in drawn(10):
        assert len(s) == len(t) == 4
        assert len(set(s) & set(t)) == 2


def test_pairs_depend_on_the_seed_alone_and_any_iteration_can_be_reached_at_once():
    assert drawn(25) == drawn(25)
    assert drawn(25)[17:] == drawn(8, start=17)
    assert drawn(25) != drawn(25, seed=4)


def test_the_steps_of_a_look_ahead_share_out_the_sentences_of_s():
    batches = [list(range(first, first + 6)) for first in range(0, 60, 6)]
    whole = OverlappingBatches(Numbers(60), batches, seed=3)
    for steps, sizes in ((3, [1, 1, 2]), (4, [1, 1, 1, 1]), (6, [1, 1, 1, 1, 1, 1])):
        shared = OverlappingBatches(Numbers(60), batches, seed=3, steps=steps)
        both = zip(whole.pairs(), shared.pairs(), strict=True)
        for ([s], [s_tilde]), (shares, again) in itertools.islice(both, 10):
            assert again == [s_tilde]
            dealt = [number for share in shares for number in share["members"]]
            assert [len(share["members"]) for share in shares] == sizes
            # four sentences: six steps see the first two of them twice
            assert dealt == (s["members"] * 2)[: sum(sizes)]


def test_two_ranks_share_out_what_one_process_accumulates():
    ranks = [drawn(12, rank=rank, world_size=2) for rank in (0, 1)]
    assert [a + b for a, b in zip(*ranks, strict=True)] == drawn(12, parts=2)


def test_sentences_that_fit_no_batch_or_no_model_are_left_out(toy_corpus):
    cfg = options(data=str(toy_corpus / "bin"), train_subset="train", gradinit_max_tokens=30)
    cfg.max_source_positions = cfg.max_target_positions = 1024
    for name, value in {"source_lang": "de", "target_lang": "en", "dataset_impl": None, "num_batch_buckets": 0}.items():
        setattr(cfg, name, value)
    task = GradInitTranslationTask.setup_task(cfg)
    task.load_dataset("train")
    model = torch.nn.Linear(1, 1)
    model.max_positions = lambda: (25, 20)
    source = task._batches(model, 1)
    kept = [index for batch in source.batches for index in batch]
    sizes = task.dataset("train").sizes
    assert sorted(kept) == [i for i, (source, target) in enumerate(sizes) if source <= 25 and target <= 20]
    assert 0 < len(kept) < len(sizes)


class HalfCases:
    """Builds the three kinds of optimizer that fairseq has for half precision."""

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
            p.mul_(1.001)  # far below the resolution of bfloat16 at most values
    expected = [value * 1.001 for value in start]
    assert all(torch.equal(p, e.to(torch.bfloat16)) for p, e in zip(model.parameters(), expected, strict=True))
    masters = getattr(optimizer, "fp32_params", [])
    if kind == "flat":
        assert torch.equal(masters[0], torch.cat([e.flatten() for e in expected]))
    else:
        assert all(torch.equal(m, e) for m, e in zip(masters, expected, strict=False))
        assert len(masters) == (2 if kind == "listed" else 0)


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
    """The wrapper averages gradients through hooks on the half-precision parameters: as many after as before."""
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
