"""The two forms of GradInit, published and default: the settings each takes, from an optimizer and a learning rate."""

import math
from dataclasses import dataclass
from typing import Any

from gradinit_mt.core.config import GradInitConfig, default_gamma
from gradinit_mt.core.look_ahead import FirstSteps


@dataclass(frozen=True)
class Form:
    """Settings of ``GradInitConfig``, with eta as a multiple of the learning rate and gamma as a promise.

    Attributes:
        about: what it is, in one line.
        look_ahead: steps looked ahead, at most.
        reach: how far Adam moves a weight in all steps, about, where the rate is so high that fewer reach it. By then a
            model knows the frequencies of words, and further steps only blur the derivative.
        promised_drop: the loss in nats that one step of eta may promise to first order, from which gamma follows;
            infinite for no bound.
        rise_from: eta above which, under Adam, the upper bound of matrices rises, to twice its value at 1.5 times this
            eta: at such rates it keeps every seed tried from staying at word frequencies, at lower ones it costs.
        signal_weight: of the signal lost (``core.signal``) beside the loss after the look-ahead, at most.
        signal_weight_per_eta: what it is per eta under Adam: a higher rate destroys more.
    """

    about: str
    look_ahead: int
    reach: float
    eta_ratio: float
    promised_drop: float
    iterations: int
    update: str
    lower_bound: float
    upper_bound: float
    rise_from: float
    vector_lower_bound: float
    vector_upper_bound: float
    signal_weight: float
    signal_weight_per_eta: float

    def steps_ahead(self, step: str, eta: float) -> int:
        """Steps of ``step`` (adam or sgd) of size ``eta`` to look ahead."""
        return round(min(self.look_ahead, max(1, self.reach / eta))) if step == "adam" else self.look_ahead

    def upper_bound_of_matrices(self, step: str, eta: float) -> float:
        """Under steps of ``step`` (adam or sgd) of size ``eta``."""
        rise = 2 * (eta / self.rise_from - 1) if step == "adam" else 0.0
        return self.upper_bound * (1 + min(1.0, max(0.0, rise)))

    def weight_of_signal(self, step: str, eta: float) -> float:
        """Under steps of ``step`` (adam or sgd) of size ``eta``."""
        return min(self.signal_weight, self.signal_weight_per_eta * eta) if step == "adam" else self.signal_weight


FORMS = {
    # chosen on Multi30k and the sample, with Adam at 5e-4 to 3e-3: see docs/no-warmup.md
    "signal": Form(
        about="the loss after the first steps of the real optimizer, and the signal that they leave in the layers",
        look_ahead=8,
        reach=8e-3,
        eta_ratio=1.0,
        promised_drop=math.inf,
        iterations=80,
        update="descent",
        lower_bound=0.2,
        upper_bound=1.0,
        rise_from=2e-3,
        vector_lower_bound=1.0,
        vector_upper_bound=4.0,
        signal_weight=0.5,
        signal_weight_per_eta=250.0,
    ),
    # the launch script of the reference for IWSLT'14
    "paper": Form(
        about="as published: the loss after one step, under a bound on the gradient norm",
        look_ahead=1,
        reach=math.inf,
        eta_ratio=2.0,
        promised_drop=1.0,
        iterations=GradInitConfig.iterations,
        update=GradInitConfig.update,
        lower_bound=GradInitConfig.lower_bound,
        upper_bound=GradInitConfig.upper_bound,
        rise_from=math.inf,
        vector_lower_bound=GradInitConfig.vector_lower_bound,
        vector_upper_bound=GradInitConfig.vector_upper_bound,
        signal_weight=0.0,
        signal_weight_per_eta=0.0,
    ),
}

# the learning rate of the scales: a step of Adam has its size, one of descent the derivative's
TAU = {"descent": 0.5, "adam": GradInitConfig.tau}


def settings_for(
    steps: FirstSteps, lr: float, form: str = "signal", eta_ratio: float | None = None, **given: Any
) -> GradInitConfig:
    """The settings of a form for an optimizer at a learning rate.

    Args:
        steps: of the optimizer.
        lr: its learning rate.
        form: a name in ``FORMS``.
        eta_ratio: eta as a multiple of ``lr``; None for the form's.
        given: settings of ``GradInitConfig`` that go before the form's; None counts as not given.

    Raises:
        ValueError: a setting is out of its range, or the optimizer's first step is not known and ``step`` not given.
    """
    defaults = FORMS[form]
    given = {name: value for name, value in given.items() if value is not None}
    step = given.get("step", steps.step)
    if step is None:
        raise ValueError("GradInit knows the first steps of Adam, AdamW and SGD: say which to look ahead, adam or sgd")
    ratio = defaults.eta_ratio if eta_ratio is None else eta_ratio
    eta = given.get("eta", ratio * lr * (steps.gradient_tokens if step == "sgd" else 1))
    if not (math.isfinite(eta) and eta > 0):
        raise ValueError(f"eta is {eta}, expected a finite number above 0; it follows the learning rate ({lr})")
    settings = {
        "step": step,
        "eta": eta,
        "gamma": default_gamma(step, eta, defaults.promised_drop),
        "look_ahead": defaults.steps_ahead(step, eta),
        "step_betas": steps.betas,
        "step_eps": steps.eps,
        "step_eps_first": steps.eps_first,
        "step_momentum": steps.momentum,
        "signal_weight": defaults.weight_of_signal(step, eta),
        "iterations": defaults.iterations,
        "update": defaults.update,
        "tau": TAU[given.get("update", defaults.update)],
        "lower_bound": defaults.lower_bound,
        "upper_bound": defaults.upper_bound_of_matrices(step, eta),
        "vector_lower_bound": defaults.vector_lower_bound,
        "vector_upper_bound": defaults.vector_upper_bound,
    }
    return GradInitConfig(**settings | given)
