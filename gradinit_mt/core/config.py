"""The settings of GradInit, in the paper's letters."""

import math
from dataclasses import asdict, dataclass
from typing import Literal

from gradinit_mt.core.look_ahead import ADAM_EPS

StepKind = Literal["adam", "sgd"]


@dataclass(frozen=True)
class GradInitConfig:
    """Settings of one run; checked on construction.

    Attributes:
        step: the optimizer whose first step is looked ahead: ``adam`` (sign of the gradient, L1 norm) or ``sgd`` (the
            gradient itself, L2 norm).
        eta: size of a look-ahead step, above 0.
        gamma: bound on the gradient norm, above 0; infinite for none. With eta it states the first-order drop in loss
            that one step may promise: ``gamma * eta`` nats for Adam, ``gamma**2 * eta`` for SGD.
        look_ahead: steps looked ahead, at least 1; 1 in the paper. Each of several is one of the real optimizer, at
            rate eta, on its own share of S; the gradient bounded by gamma is then that of the first share.
        step_betas: decay of the two moments of ``adam`` over several steps looked ahead, each in [0, 1).
        step_eps: epsilon of ``adam`` over several steps looked ahead, at least 0.
        step_eps_first: whether that optimizer adds it before it corrects the second moment's bias (fairseq's own Adam)
            or after (PyTorch's).
        step_momentum: momentum of ``sgd`` over several steps looked ahead, in [0, 1).
        signal_weight: of the signal lost (``core.signal``), beside the loss after the look-ahead; at least 0.
        iterations: steps taken by the scales, at least 1.
        update: how a scale moves along its derivative: ``adam`` (the paper: Adam on m, separately for the two kinds of
            step) or ``descent`` (gradient descent on log m, the derivative clipped to 1: a scale that matters
            little moves little).
        tau: learning rate of the scales, above 0.
        betas: decay of the two moments under ``adam``, each in [0, 1).
        lower_bound: smallest scale of a matrix, above 0 (a scale of 0 could never grow again).
        upper_bound: largest scale of a matrix, at least 1.
        vector_lower_bound: smallest scale of a tensor of one dimension, a LayerNorm weight or a bias; a small weight
            changes its sign within a few updates of Adam, which moves it by the learning rate each time.
        vector_upper_bound: largest scale of one.
        hvp: how the constraint's Hessian-vector product is computed: ``finite`` (central differences of gradients),
            ``exact`` (double backward) or ``auto``, the faster one at this precision.
        precision: ``full`` (the losses are computed as ``loss_fn`` does) or ``bfloat16`` (under bfloat16 autocast;
            parameters, gradients and scales keep their own precision). Finite differences need ``full``. An autocast
            that surrounds the call has no effect on it.
    """

    step: StepKind
    eta: float
    gamma: float
    look_ahead: int = 1
    step_betas: tuple[float, float] = (0.9, 0.98)
    step_eps: float = ADAM_EPS
    step_eps_first: bool = False
    step_momentum: float = 0.0
    signal_weight: float = 0.0
    iterations: int = 780
    update: Literal["adam", "descent"] = "adam"
    tau: float = 2.5e-3
    betas: tuple[float, float] = (0.9, 0.98)
    lower_bound: float = 0.01
    upper_bound: float = 100.0
    vector_lower_bound: float = 0.01
    vector_upper_bound: float = 100.0
    hvp: Literal["auto", "finite", "exact"] = "auto"
    precision: Literal["full", "bfloat16"] = "full"

    def __post_init__(self) -> None:
        _require(self.step in ("adam", "sgd"), "step", self.step, "adam or sgd")
        for name in ("eta", "tau"):
            value = getattr(self, name)
            _require(math.isfinite(value) and value > 0, name, value, "a finite number above 0")
        _require(self.gamma > 0, "gamma", self.gamma, "a number above 0 (inf: no bound)")
        for name in ("look_ahead", "iterations"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("betas", "step_betas"):
            pair = getattr(self, name)
            _require(len(pair) == 2 and all(0 <= beta < 1 for beta in pair), name, pair, "two in [0, 1)")
        valid = math.isfinite(self.step_eps) and self.step_eps >= 0
        _require(valid, "step_eps", self.step_eps, "a finite number, at least 0")
        _require(0 <= self.step_momentum < 1, "step_momentum", self.step_momentum, "in [0, 1)")
        valid = math.isfinite(self.signal_weight) and self.signal_weight >= 0
        _require(valid, "signal_weight", self.signal_weight, "a finite number, at least 0")
        _require(self.update in ("adam", "descent"), "update", self.update, "adam or descent")
        for name in ("lower_bound", "vector_lower_bound"):
            _require(0 < getattr(self, name) <= 1, name, getattr(self, name), "in (0, 1]")
        for name in ("upper_bound", "vector_upper_bound"):
            _require(1 <= getattr(self, name) < math.inf, name, getattr(self, name), "a finite number, at least 1")
        _require(self.hvp in ("auto", "finite", "exact"), "hvp", self.hvp, "auto, finite or exact")
        _require(self.precision in ("full", "bfloat16"), "precision", self.precision, "full or bfloat16")
        _require(
            self.precision == "full" or self.hvp != "finite",
            "hvp",
            self.hvp,
            "auto or exact at precision bfloat16, whose rounding drowns the differences",
        )

    @property
    def route(self) -> Literal["finite", "exact"]:
        """The Hessian-vector product used: ``auto`` is the faster one, and in bfloat16 the only accurate one."""
        if self.hvp == "auto":
            return "finite" if self.precision == "full" else "exact"
        return self.hvp

    def bounds(self, dimensions: int) -> tuple[float, float]:
        """The smallest and the largest scale of a tensor with so many dimensions."""
        if dimensions < 2:
            return self.vector_lower_bound, self.vector_upper_bound
        return self.lower_bound, self.upper_bound

    def as_dict(self) -> dict:
        """The settings as plain values for JSON, ``auto`` resolved; gamma is None where there is no bound."""
        pairs = {"betas": list(self.betas), "step_betas": list(self.step_betas)}
        gamma = self.gamma if math.isfinite(self.gamma) else None
        return {**asdict(self), **pairs, "gamma": gamma, "hvp": self.route}


def default_gamma(step: StepKind, eta: float, promised_drop: float = 1.0) -> float:
    """The gamma at which one step of size eta promises a drop in loss of ``promised_drop`` nats, to first order.

    For Adam that is ``gamma * eta`` (1000 at the reference's eta of 1e-3), for SGD ``gamma**2 * eta``.
    """
    return promised_drop / eta if step == "adam" else math.sqrt(promised_drop / eta)


def _require(holds: bool, name: str, value: object, expected: str) -> None:
    if not holds:
        raise ValueError(f"GradInit: {name} is {value!r}, expected {expected}")
