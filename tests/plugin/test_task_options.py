"""How the task's options become GradInit's settings."""

import argparse
from dataclasses import fields
from types import SimpleNamespace

import pytest
import torch
from fairseq.optim import adam as fairseq_adam

from gradinit_mt.core import GradInitError
from gradinit_mt.core.forms import FORMS
from gradinit_mt.optim.gi_adam import GIAdam
from gradinit_mt.optim.novograd import NovoGrad
from gradinit_mt.plugin.options import GradInitTranslationConfig, core_config, first_steps_of
from gradinit_mt.tasks.gradinit_translation import GradInitTranslationTask

CPU = torch.device("cpu")
ADAM, SGD = {"step": "adam"}, {"step": "sgd"}


def options(**changes):
    cfg = GradInitTranslationConfig(lr=[5e-4], max_tokens=4096, batch_size=None, seed=1, save_dir="unused")
    for name, value in changes.items():
        setattr(cfg, name, value)
    return cfg


def test_the_papers_form_has_the_references_settings_for_iwslt14():
    """In its launch script: lr 5e-4, eta 1e-3, tau 2.5e-3, betas 0.9 and 0.98, gamma 1000, 780 iterations."""
    config = core_config(options(gradinit_form="paper"), ADAM, CPU)
    assert (config.eta, config.gamma, config.tau) == pytest.approx((1e-3, 1000.0, 2.5e-3))
    assert (config.betas, config.iterations, config.lower_bound) == ((0.9, 0.98), 780, 0.01)
    assert (config.look_ahead, config.update) == (1, "adam")
    assert config.signal_weight == 0


def test_the_default_form_looks_ahead_over_the_first_steps_of_training():
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
def test_the_default_form_depends_on_the_learning_rate_of_adam(lr, steps, weight, largest):
    """A higher rate means fewer look-ahead steps, more weight for the signal (up to SGD's) and larger matrices."""
    cfg = options(lr=[lr])
    adam, sgd = core_config(cfg, ADAM, CPU), core_config(cfg, SGD, CPU)
    assert (adam.look_ahead, adam.signal_weight, adam.upper_bound) == pytest.approx((steps, weight, largest))
    assert (sgd.look_ahead, sgd.signal_weight, sgd.upper_bound) == (8, 0.5, 1)


@pytest.mark.parametrize(
    ("lr", "rms", "largest"),
    [(5e-4, 0.09, 0.25), (1e-3, 0.09, 0.5), (1e-3, 0.045, 1), (3e-3, 0.09, 1.5), (1e-4, 0.09, 0.2)],
)
def test_an_embedding_may_be_so_large_that_adam_can_still_change_it(lr, rms, largest):
    """A root mean square of 45 steps at most, but no less than a matrix may have."""
    given = core_config(options(lr=[lr]), ADAM, CPU, embedding_rms=rms)
    assert given.embedding_upper_bound == pytest.approx(largest)
    assert given.embedding_upper_bound * rms == pytest.approx(max(45 * lr, given.lower_bound * rms))


def test_an_embedding_keeps_the_bound_of_matrices_where_the_rule_does_not_apply():
    free = core_config(options(), ADAM, CPU).embedding_upper_bound
    assert free > 50, "no embedding, or one that an initializer has drawn"
    assert core_config(options(), SGD, CPU, embedding_rms=0.09).embedding_upper_bound == free
    for form in ("signal", "paper"):
        assert core_config(options(gradinit_form=form), ADAM, CPU, embedding_rms=0.09).embedding_upper_bound == free
    given = core_config(options(gradinit_embedding_upper_bound=0.8), ADAM, CPU, embedding_rms=0.09)
    assert given.embedding_upper_bound == 0.8
    assert core_config(options(gradinit_lower_bound=0.6), ADAM, CPU, embedding_rms=0.09).embedding_upper_bound == 0.6


def test_a_default_that_depends_on_the_form_is_given_for_every_form():
    texts = [setting.metadata["help"] for setting in fields(GradInitTranslationConfig) if "help" in setting.metadata]
    by_form = [text for text in texts if "default by form" in text]
    assert len(by_form) > 5
    assert all(form in text.partition("default by form")[2] for text in by_form for form in FORMS)


def test_given_options_override_the_form():
    assert core_config(options(gradinit_form="paper", gradinit_look_ahead=3), ADAM, CPU).look_ahead == 3
    adam = core_config(options(gradinit_update="adam"), ADAM, CPU)
    assert (adam.update, adam.tau) == ("adam", 2.5e-3), "0.5, the default of descent, would be as large as the scales"
    assert core_config(options(gradinit_form="paper", gradinit_update="descent"), ADAM, CPU).tau == 0.5
    assert core_config(options(lr=[3e-3], gradinit_upper_bound=1.2), ADAM, CPU).upper_bound == 1.2
    assert core_config(options(gradinit_signal_weight=0.0), ADAM, CPU).signal_weight == 0
    assert core_config(options(gradinit_embedding_upper_bound=0.5), ADAM, CPU).embedding_upper_bound == 0.5


def test_eta_follows_the_learning_rate_and_gamma_follows_eta_unless_they_are_given():
    assert core_config(options(lr=[1e-3], gradinit_eta_ratio=5.0), ADAM, CPU).eta == pytest.approx(5e-3)
    assert core_config(options(lr=[0.2], gradinit_form="paper"), SGD, CPU).gamma == pytest.approx(0.4**-0.5)
    given = core_config(options(gradinit_eta=0.3, gradinit_gamma=7.0, gradinit_step="sgd"), ADAM, CPU)
    assert (given.step, given.eta, given.gamma) == ("sgd", 0.3, 7.0)


def test_a_step_of_sgd_scales_with_the_gradients_of_training():
    """With --sentence-avg they are per sentence, here of 30 tokens. A step of Adam does not depend on their length."""
    cfg = options(lr=[0.1], gradinit_form="paper")
    assert core_config(cfg, SGD, CPU, 30.0).eta == pytest.approx(2 * 0.1 * 30)
    assert core_config(cfg, SGD, CPU, 30.0).gamma == pytest.approx(6**-0.5)
    assert core_config(cfg, ADAM, CPU, 30.0).eta == pytest.approx(2 * 0.1)
    assert core_config(options(gradinit_eta=0.5), SGD, CPU, 30.0).eta == 0.5, "eta is given for gradients per token"


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
    sgd, unknown = torch.optim.SGD(parameters, lr=1, momentum=0.7), torch.optim.Adagrad(parameters)
    gi = GIAdam(parameters, betas=(0.8, 0.9), eps=1e-6)
    expected = {"step": "adam", "step_betas": (0.8, 0.9), "step_eps": 1e-6, "step_from_gradient": False}
    assert first_steps_of(SimpleNamespace(optimizer=adam)) == expected | {"step_eps_first": False}
    assert first_steps_of(SimpleNamespace(optimizer=own)) == expected | {"step_eps_first": True}
    begun = {"step_eps_first": False, "step_from_gradient": True}
    assert first_steps_of(SimpleNamespace(optimizer=gi)) == expected | begun
    config = core_config(options(), first_steps_of(SimpleNamespace(optimizer=own)), CPU)
    assert (config.step_eps, config.step_eps_first) == (1e-6, True)
    assert first_steps_of(SimpleNamespace(optimizer=sgd)) == {"step": "sgd", "step_momentum": 0.7}
    unknown = first_steps_of(SimpleNamespace(optimizer=unknown))
    with pytest.raises(GradInitError, match="not those of Adagrad: give --gradinit-step adam or sgd"):
        core_config(options(), unknown, CPU)
    assert core_config(options(gradinit_step="adam"), unknown, CPU).step == "adam"
    assert core_config(options(), first_steps_of(SimpleNamespace(optimizer=sgd)), CPU).step_momentum == 0.7


@pytest.mark.parametrize("kind", [torch.optim.RAdam, NovoGrad])
def test_the_first_steps_of_radam_and_novograd_are_not_known(kind):
    settings = {"lr": 1e-3, "betas": (0.7, 0.8), "eps": 1e-8, "weight_decay": 0.0}
    optimizer = SimpleNamespace(optimizer=kind([torch.nn.Parameter(torch.zeros(1))], **settings))
    with pytest.raises(GradInitError, match=f"not those of {kind.__name__}: give --gradinit-step"):
        core_config(options(), first_steps_of(optimizer), CPU)
    adam = core_config(options(gradinit_step="adam"), first_steps_of(optimizer), CPU)
    assert adam.step_betas == (0.7, 0.8), "those of training"


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
