"""The forms of GradInit, published and our own: the settings of each, given an optimizer and a learning rate."""

import math
from dataclasses import dataclass, replace
from typing import Any

from gradinit_mt.core.config import GradInitConfig, default_gamma


@dataclass(frozen=True)
class Form:
    """Settings of ``GradInitConfig``, with eta relative to the learning rate and gamma as a promise.

    The defaults are those of the paper: the launch script of the reference for IWSLT'14.
    """

    about: str  # in one line
    eta_ratio: float = 2.0  # eta as a multiple of the learning rate
    # The loss in nats that one step of eta may promise to first order, from which gamma follows; infinite for no bound.
    promised_drop: float = 1.0
    look_ahead: int = GradInitConfig.look_ahead  # at most
    # Roughly how far Adam moves a weight over all look-ahead steps; at high rates fewer steps reach it. By then a model
    # knows the word frequencies, and further steps only blur the derivative.
    reach: float = math.inf
    iterations: int = GradInitConfig.iterations
    update: str = GradInitConfig.update
    lower_bound: float = GradInitConfig.lower_bound
    upper_bound: float = GradInitConfig.upper_bound
    # With Adam, the upper bound of matrices rises above this eta; at 1.5 times this eta it has doubled. At such rates
    # the higher bound keeps every seed tried from being stuck at word frequencies; at lower rates it costs quality.
    rise_from: float = math.inf
    vector_lower_bound: float = GradInitConfig.vector_lower_bound
    vector_upper_bound: float = GradInitConfig.vector_upper_bound
    signal_weight: float = GradInitConfig.signal_weight  # at most
    signal_weight_per_eta: float = math.inf  # with Adam: a higher rate destroys more signal
    from_branches: bool = False  # the scales start as ``starts.branches`` gives them, not at 1
    # With Adam, the upper bound of an embedding is where its root mean square is this many steps of eta. Look-ahead
    # alone leaves the encoder's as large as it may be, which costs quality later.
    embedding_steps: float = math.inf

    def settings(self, step: str, eta: float, embedding_rms: float = 0.0) -> dict[str, Any]:
        """The settings for look-ahead steps of ``step`` (adam or sgd) of size ``eta``; see ``settings_for``."""
        adapted = {"look_ahead": self.look_ahead, "upper_bound": self.upper_bound, "signal_weight": self.signal_weight}
        adapted["embedding_upper_bound"] = GradInitConfig.embedding_upper_bound
        if step == "adam":
            adapted["look_ahead"] = round(min(self.look_ahead, max(1, self.reach / eta)))
            adapted["upper_bound"] *= 1 + min(1.0, max(0.0, 2 * (eta / self.rise_from - 1)))
            adapted["signal_weight"] = min(self.signal_weight, self.signal_weight_per_eta * eta)
            if 0 < embedding_rms < math.inf and self.embedding_steps < math.inf:
                bound = self.embedding_steps * eta / embedding_rms
                adapted["embedding_upper_bound"] = float(f"{bound:.2g}")  # two digits are the same on every machine
        fixed = ("iterations", "update", "lower_bound", "vector_lower_bound", "vector_upper_bound")
        gamma = default_gamma(step, eta, self.promised_drop)
        return adapted | {name: getattr(self, name) for name in fixed} | {"step": step, "eta": eta, "gamma": gamma}


# Chosen on Multi30k and the sample, with Adam at 5e-4 to 3e-3: see docs/signal-form.md.
_SIGNAL = Form(
    about="the loss after the first steps of the real optimizer, and the signal that they leave in the layers",
    eta_ratio=1.0,
    promised_drop=math.inf,
    look_ahead=8,
    reach=8e-3,
    iterations=80,
    update="descent",
    lower_bound=0.2,
    upper_bound=1.0,
    rise_from=2e-3,
    vector_lower_bound=1.0,
    vector_upper_bound=4.0,
    signal_weight=0.5,
    signal_weight_per_eta=250.0,
)

FORMS = {
    "branches": replace(
        _SIGNAL,
        about="as signal, in half as many iterations, starting from small residual branches",
        iterations=40,
        from_branches=True,
        embedding_steps=45.0,
    ),
    "signal": _SIGNAL,
    "paper": Form(about="as published: the loss after one step, under a bound on the gradient norm"),
}
DEFAULT_FORM = "branches"

# The learning rate of the scales: a step of Adam is as long as this, a step of descent is this times the derivative.
TAU = {"descent": 0.5, "adam": GradInitConfig.tau}


def settings_for(
    steps: dict[str, Any],
    lr: float,
    form: str = DEFAULT_FORM,
    eta_ratio: float | None = None,
    gradient_tokens: float = 1.0,
    embedding_rms: float = 0.0,
    **given: Any,
) -> GradInitConfig:
    """The settings of a form for an optimizer at a learning rate.

    Args:
        steps: see ``look_ahead.step_settings``.
        lr: the learning rate of the optimizer.
        form: a name in ``FORMS``.
        eta_ratio: eta as a multiple of ``lr``; None for the form's.
        gradient_tokens: target tokens per unit that the criterion averages over: 1 for tokens, the mean target length
            for sentences. GradInit's losses are per token, so a step of ``sgd`` is this many times longer. A step of
            ``adam`` does not depend on the gradient's length.
        embedding_rms: root mean square of the model's smallest embedding, see ``blocks.embedding_rms``; 0 for a model
            without one, or whose embedding is to keep the bound of matrices.
        given: settings of ``GradInitConfig`` that override the form and the optimizer; None counts as not given.

    Raises:
        ValueError: a setting is out of its range, there is no such form, or the optimizer is unknown and ``step`` is
            not given.
    """
    if form not in FORMS:
        raise ValueError(f"form is {form!r}, expected {', '.join(list(FORMS)[:-1])} or {list(FORMS)[-1]}")
    given = steps | {name: value for name, value in given.items() if value is not None}
    step = given["step"]
    if step not in ("adam", "sgd"):
        raise ValueError(
            f"GradInit knows the first steps of Adam, AdamW and SGD, not those of {step}: choose the steps to look "
            "ahead, step='adam' or step='sgd'"
        )
    defaults = FORMS[form]
    ratio = defaults.eta_ratio if eta_ratio is None else eta_ratio
    eta = given.get("eta", ratio * lr * (gradient_tokens if step == "sgd" else 1))
    if not (math.isfinite(eta) and eta > 0):
        follows = "" if "eta" in given else f"; it follows the learning rate ({lr})"
        raise ValueError(f"eta is {eta}, expected a finite number above 0{follows}")
    tau = TAU.get(given.get("update", defaults.update))  # an unknown update is refused below
    settings = defaults.settings(step, eta, embedding_rms) | {"tau": tau} | given
    if "embedding_upper_bound" not in given:  # a given lower bound may be above the form's
        settings["embedding_upper_bound"] = max(settings["embedding_upper_bound"], settings["lower_bound"])
    return GradInitConfig(**settings)
