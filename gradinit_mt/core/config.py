"""The settings of GradInit, in the paper's letters."""

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args, get_origin, get_type_hints

ADAM_EPS = 1e-8

# names of settings, which values are valid, and how an error message says it
_RANGES: list[tuple[tuple[str, ...], Callable[[Any], bool], str]] = [
    (("eta", "tau"), lambda x: 0 < x < math.inf, "a finite number above 0"),
    (("gamma",), lambda x: x > 0, "a number above 0 (inf: no bound)"),
    (("look_ahead", "iterations"), lambda x: x >= 1, "at least 1"),
    (("betas", "step_betas"), lambda pair: len(pair) == 2 and all(0 <= x < 1 for x in pair), "two numbers in [0, 1)"),
    (("step_eps", "signal_weight"), lambda x: 0 <= x < math.inf, "a finite number, at least 0"),
    (("step_momentum",), lambda x: 0 <= x < 1, "a number in [0, 1)"),
    (("lower_bound", "vector_lower_bound"), lambda x: 0 < x <= 1, "a number in (0, 1]"),
    (("upper_bound", "vector_upper_bound"), lambda x: 1 <= x < math.inf, "a finite number, at least 1"),
    (("embedding_upper_bound",), lambda x: 0 < x < math.inf, "a finite number above 0"),
]


@dataclass(frozen=True)
class GradInitConfig:
    """Settings of one run; checked on construction.

    Attributes:
        step: the optimizer whose first steps the look-ahead takes: ``adam`` (sign of the gradient, L1 norm) or ``sgd``
            (the gradient itself, L2 norm).
        eta: size of a look-ahead step, above 0.
        gamma: bound on the gradient norm, above 0; infinite for none. With eta it sets the first-order drop in loss
            that one step may promise: ``gamma * eta`` nats for Adam, ``gamma**2 * eta`` for SGD.
        look_ahead: number of look-ahead steps, at least 1; 1 in the paper. If there are several, each is a step of
            the real optimizer at rate eta on its own share of S, and gamma bounds the gradient of the first share.
        step_betas: decay rates of the two moments of ``adam`` over several look-ahead steps, each in [0, 1).
        step_eps: epsilon of ``adam`` over several look-ahead steps, at least 0.
        step_eps_first: whether that Adam adds epsilon before it corrects the bias of the second moment (fairseq's own
            Adam) or after (PyTorch's).
        step_from_gradient: whether that Adam's second moment starts from the first gradient's square (GI-Adam) instead
            of from 0. A single look-ahead step is then GI-Adam's too, and not the sign of the gradient.
        step_momentum: momentum of ``sgd`` over several look-ahead steps, in [0, 1).
        signal_weight: weight of the lost signal (``core.signal``) added to the loss after the look-ahead; at least 0.
        iterations: steps taken by the scales, at least 1.
        update: how a scale moves along its derivative: ``adam`` (the paper: Adam on m, separately for the two kinds of
            step) or ``descent`` (gradient descent on log m with the derivative clipped to 1, so that a scale with
            little effect moves little).
        tau: learning rate of the scales, above 0.
        betas: decay rates of the two moments of update ``adam``, each in [0, 1).
        lower_bound: smallest scale of a matrix, above 0 (a scale of 0 could never grow again).
        upper_bound: largest scale of a matrix, at least 1.
        embedding_upper_bound: largest scale of the table of an ``nn.Embedding``, if that is lower than
            ``upper_bound``; at least ``lower_bound``. An embedding starts there if it is below 1.
        vector_lower_bound: smallest scale of a tensor of at most one dimension, such as a LayerNorm weight or a bias.
            Adam moves a weight by the learning rate each time, so a small one changes sign within a few updates.
        vector_upper_bound: largest scale of such a tensor.
        hvp: how the constraint's Hessian-vector product is computed: ``finite`` (central differences of gradients),
            ``exact`` (double backward) or ``auto``, the faster one at this precision.
        precision: ``full`` (the losses as ``loss_fn`` computes them) or ``bfloat16`` (the losses in bfloat16 autocast;
            parameters, gradients and scales keep their own precision). Finite differences need ``full``. An autocast
            around the call has no effect.
    """

    step: Literal["adam", "sgd"]
    eta: float
    gamma: float
    look_ahead: int = 1
    step_betas: tuple[float, float] = (0.9, 0.98)
    step_eps: float = ADAM_EPS
    step_eps_first: bool = False
    step_from_gradient: bool = False
    step_momentum: float = 0.0
    signal_weight: float = 0.0
    iterations: int = 780
    update: Literal["adam", "descent"] = "adam"
    tau: float = 2.5e-3
    betas: tuple[float, float] = (0.9, 0.98)
    lower_bound: float = 0.01
    upper_bound: float = 100.0
    embedding_upper_bound: float = 100.0
    vector_lower_bound: float = 0.01
    vector_upper_bound: float = 100.0
    hvp: Literal["auto", "finite", "exact"] = "auto"
    precision: Literal["full", "bfloat16"] = "full"

    def __post_init__(self) -> None:
        for name, hint in get_type_hints(GradInitConfig).items():
            if get_origin(hint) is Literal:
                self._require(name, getattr(self, name) in get_args(hint), " or ".join(get_args(hint)))
        for names, valid, expected in _RANGES:
            for name in names:
                self._require(name, valid(getattr(self, name)), expected)
        fits = self.embedding_upper_bound >= self.lower_bound
        self._require("embedding_upper_bound", fits, f"at least lower_bound, which is {self.lower_bound!r}")
        possible = self.precision == "full" or self.hvp != "finite"
        self._require("hvp", possible, "auto or exact at precision bfloat16, whose rounding drowns the differences")

    def _require(self, name: str, holds: bool, expected: str) -> None:
        if not holds:
            raise ValueError(f"GradInit: {name} is {getattr(self, name)!r}, expected {expected}")

    @property
    def route(self) -> Literal["finite", "exact"]:
        """The Hessian-vector product used: ``auto`` is the faster one, and in bfloat16 the only accurate one."""
        if self.hvp == "auto":
            return "finite" if self.precision == "full" else "exact"
        return self.hvp

    def as_dict(self) -> dict:
        """The settings as plain values for JSON, with ``auto`` resolved; gamma is None if there is no bound."""
        pairs = {"betas": list(self.betas), "step_betas": list(self.step_betas)}
        gamma = self.gamma if math.isfinite(self.gamma) else None
        return {**asdict(self), **pairs, "gamma": gamma, "hvp": self.route}


def default_gamma(step: str, eta: float, promised_drop: float = 1.0) -> float:
    """The gamma at which one step of size eta promises a drop in loss of ``promised_drop`` nats, to first order.

    For Adam the drop is ``gamma * eta`` (gamma is 1000 at the reference's eta of 1e-3), for SGD ``gamma**2 * eta``.
    """
    return promised_drop / eta if step == "adam" else math.sqrt(promised_drop / eta)
