"""The two forms of GradInit that the task offers: which settings each takes where none are given."""

import math
from dataclasses import dataclass

from ..core import GradInitConfig


@dataclass(frozen=True)
class Form:
    """Settings of ``GradInitConfig``, with eta as a multiple of the learning rate and gamma as a promise.

    Attributes:
        about: what it is, in one line.
        promised_drop: the loss in nats that one step of eta may promise to first order, from which gamma follows;
            infinite for no bound.
        signal_weight: of the signal lost (``tasks.signal``) beside the loss after the look-ahead.
    """

    about: str
    look_ahead: int
    eta_ratio: float
    promised_drop: float
    iterations: int
    update: str
    tau: float
    lower_bound: float
    upper_bound: float
    vector_lower_bound: float
    vector_upper_bound: float
    signal_weight: float


FORMS = {
    # chosen on Multi30k and the sample, with Adam at 1e-3: see docs/no-warmup.md
    "signal": Form(
        about="the loss after the first steps of the real optimizer, and the signal that they leave in the layers",
        look_ahead=8,
        eta_ratio=1.0,
        promised_drop=math.inf,
        iterations=80,
        update="descent",
        tau=0.15,
        lower_bound=0.2,
        upper_bound=1.0,
        vector_lower_bound=1.0,
        vector_upper_bound=4.0,
        signal_weight=0.5,
    ),
    # the launch script of the reference for IWSLT'14
    "paper": Form(
        about="as published: the loss after one step, under a bound on the gradient norm",
        look_ahead=1,
        eta_ratio=2.0,
        promised_drop=1.0,
        iterations=GradInitConfig.iterations,
        update=GradInitConfig.update,
        tau=GradInitConfig.tau,
        lower_bound=GradInitConfig.lower_bound,
        upper_bound=GradInitConfig.upper_bound,
        vector_lower_bound=GradInitConfig.vector_lower_bound,
        vector_upper_bound=GradInitConfig.vector_upper_bound,
        signal_weight=0.0,
    ),
}


def by_form(name: str) -> str:
    """The end of a help text: the default of a setting in each form."""
    return "default by form: " + ", ".join(f"{form} {getattr(FORMS[form], name):g}" for form in FORMS)
