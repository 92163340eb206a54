"""Time and memory of GradInit: one iteration against one training step, and against a plain twin of the reference code.

    .venv/bin/python benchmarks/gradinit_cost.py --run 6 --output runs/cost        (about 16 minutes on 2 CPU cores)

All contenders use the same batches of random sentences, with the dictionary sizes of IWSLT'14 De-En:

- training step: in float32, with fairseq's criterion and Adam: loss in training mode with dropout, gradient, update;
  a preset's own step, with the faster parts of this package, takes less;
- reference: a plain twin that works like the reference code: a graph of the gradient in every iteration, Python loops
  over tensors, one number read from the device per tensor;
- full, bfloat16: this package at either precision, with its default Hessian-vector product.

Times are measured in one process, and every round runs all contenders one after another. Memory is the peak above the
loaded model, with a separate process for each contender. Both are those of one iteration with its setup. On a CPU all
have the memory settings with which ``scripts/train.sh`` starts training (``GLIBC_TUNABLES``).
"""

import argparse
import itertools
import shlex
import statistics
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
from fairseq import utils
from fairseq.criterions.label_smoothed_cross_entropy import LabelSmoothedCrossEntropyCriterion
from fairseq.optim.adam import FairseqAdam, FairseqAdamConfig
from measuring import (
    add_device,
    describe_machine,
    members_by_length,
    memory_columns,
    peak_gib,
    printed_number,
    random_pairs,
    report,
    require_room,
    run_alone,
    seconds,
)
from tqdm import tqdm

import gradinit_mt
from gradinit_mt.common import command
from gradinit_mt.core import GradInitConfig, State, learn_scales
from gradinit_mt.core.hvp import twice_differentiable
from gradinit_mt.models import post_ln_transformer
from gradinit_mt.plugin.batches import OverlappingBatches

gradinit_mt.register_with_fairseq()

MODELS = {
    "tiny": (post_ln_transformer.PostLNTransformerTiny, post_ln_transformer.TinyConfig),
    "small": (post_ln_transformer.PostLNTransformerSmall, post_ln_transformer.SmallConfig),
    "iwslt_de_en": (post_ln_transformer.PostLNTransformerIwsltDeEn, post_ln_transformer.IwsltDeEnConfig),
}
ETA, TAU, BETAS = 1e-3, 2.5e-3, (0.9, 0.98)
GAMMA = {"objective": 1e30, "constraint": 1e-30}
TRAINING = "training step"
CONTENDERS = [TRAINING, *(f"{way} {kind}" for way in ("reference", "full", "bfloat16") for kind in GAMMA)]


def gradinit_config(precision: Any, gamma: float, iterations: int) -> GradInitConfig:
    """This package at one of its precisions, with the reference's settings for IWSLT'14."""
    return GradInitConfig(
        step="adam", eta=ETA, gamma=gamma, tau=TAU, betas=BETAS, iterations=iterations, precision=precision
    )


class Bench:
    """One model, its initial parameters, and the contenders on it.

    Args:
        arch: a key of ``MODELS``.
        tokens: max tokens of a batch.
        device: for all computations.
    """

    def __init__(self, arch: str, tokens: int, device: torch.device) -> None:
        torch.manual_seed(1)
        self.device = device
        dataset = random_pairs(200 * tokens // 25)
        build, config = MODELS[arch]
        task = SimpleNamespace(source_dictionary=dataset.src_dict, target_dictionary=dataset.tgt_dict)
        cfg = config(dropout=0.3, attention_dropout=0.1, activation_dropout=0.1, share_decoder_input_output_embed=True)
        cfg.max_source_positions = cfg.max_target_positions = 1024
        self.model = build.build_model(cfg, task).to(device)
        self.parameters = list(self.model.parameters())
        self.theta0 = [p.detach().clone() for p in self.parameters]
        self.criterion = LabelSmoothedCrossEntropyCriterion(task, sentence_avg=False, label_smoothing=0.1)
        self.optimizer = FairseqAdam(FairseqAdamConfig(adam_betas=str(BETAS), lr=[5e-4]), self.parameters)
        members = members_by_length(dataset, tokens)
        self.batches = OverlappingBatches(dataset, members, seed=1, device=device)
        self.dataset = dataset

    def pair(self, position: int) -> tuple[list[dict], list[dict]]:
        """S and S~ of one batch."""
        return next(self.batches.pairs(position))

    def whole(self, position: int) -> dict:
        """The same batch, not split."""
        members = self.batches.members(position)
        return utils.apply_to_sample(
            lambda t: t.to(self.device), self.dataset.collater([self.dataset[i] for i in members])
        )

    def loss(self, model: torch.nn.Module, sample: dict) -> tuple[torch.Tensor, int]:
        """Summed label-smoothed cross-entropy and the number of target tokens."""
        loss, size, _ = self.criterion(model, sample)
        return loss, size

    def restore(self) -> None:
        """Restores theta0 and evaluation mode."""
        with torch.no_grad():
            torch._foreach_copy_(self.parameters, self.theta0)
        self.model.eval()

    def prepare(self, contender: str, position: int) -> Callable[[], object]:
        """The contender's work on one batch; the model is reset to theta0 and set to the contender's mode."""
        self.restore()
        if contender == TRAINING:
            self.model.train()
            sample = self.whole(position)
            return partial(self._train, sample)
        way, kind = contender.split()
        pair = self.pair(position)
        if way == "reference":
            return partial(self._refer, GAMMA[kind], pair[0][0], pair[1][0])
        return partial(learn_scales, self.model, self.loss, [pair], gradinit_config(way, GAMMA[kind], iterations=1))

    def _refer(self, gamma: float, first: dict, second: dict) -> None:
        PlainLearner(self.model, self.loss, gamma).iterate(first, second)

    def _train(self, sample: dict) -> None:
        self.optimizer.zero_grad()
        loss, size = self.loss(self.model, sample)
        self.optimizer.backward(loss / size)
        self.optimizer.step()


@dataclass
class PlainLearner:
    """GradInit for Adam as the reference code computes it, but without its errors.

    Every iteration builds the graph of the gradient, loops over the tensors in Python, and reads one number per tensor
    from the device.
    """

    model: torch.nn.Module
    loss: Callable[[torch.nn.Module, dict], tuple[torch.Tensor, int]]
    gamma: float

    def __post_init__(self) -> None:
        self.parameters = list(self.model.parameters())
        self.theta0 = [p.detach().clone() for p in self.parameters]
        self.scales = [1.0] * len(self.parameters)
        self.moments = {kind: [[0.0, 0.0] for _ in self.parameters] for kind in GAMMA}
        self.steps = dict.fromkeys(GAMMA, 0)

    def run(self, pairs: Iterable[tuple[list[dict], list[dict]]], iterations: int, done: Callable[[], Any]) -> None:
        """Runs some iterations, and calls ``done`` after each."""
        for first, second in itertools.islice(pairs, iterations):
            self.iterate(first[0], second[0])
            done()

    def iterate(self, first: dict, second: dict) -> None:
        """One iteration on S and S~."""
        for p in self.parameters:
            p.grad = None
        with twice_differentiable():
            loss, size = self.loss(self.model, first)
            g = torch.autograd.grad(loss / size, self.parameters, create_graph=True)
            norm = sum(t.abs().sum().item() for t in g)
            if norm > self.gamma:
                kind = "constraint"
                sum((t.abs().sum() for t in g), torch.zeros(())).backward()
            else:
                kind = "objective"
                for p, t in zip(self.parameters, g, strict=True):
                    p.data.sub_(ETA * t.detach().sign())
                loss, size = self.loss(self.model, second)
                (loss / size).backward()
        self.steps[kind] += 1
        for i, (p, theta0) in enumerate(zip(self.parameters, self.theta0, strict=True)):
            assert p.grad is not None
            self._update(i, (p.grad * theta0).sum().item(), kind)
            p.data.copy_(self.scales[i] * theta0)

    def _update(self, block: int, h: float, kind: str) -> None:
        moments, steps = self.moments[kind][block], self.steps[kind]
        moments[0] = BETAS[0] * moments[0] + (1 - BETAS[0]) * h
        moments[1] = BETAS[1] * moments[1] + (1 - BETAS[1]) * h * h
        deviation = (moments[1] / (1 - BETAS[1] ** steps)) ** 0.5 + 1e-8
        self.scales[block] -= TAU * moments[0] / (1 - BETAS[0] ** steps) / deviation
        self.scales[block] = min(max(self.scales[block], 0.01), 100.0)


def measure_times(bench: Bench, rounds: int) -> dict[str, list[float]]:
    """Seconds of every contender in every round, after an untimed first round."""
    times: dict[str, list[float]] = {contender: [] for contender in CONTENDERS}
    with tqdm(total=(rounds + 1) * len(CONTENDERS), desc="times", disable=None) as bar:
        for position in range(rounds + 1):
            for contender in CONTENDERS:
                elapsed = seconds(bench.prepare(contender, position), bench.device)
                if position:
                    times[contender].append(elapsed)
                bar.update()
    return times


def measure_runs(bench: Bench, iterations: int, gamma: float) -> dict:
    """A run of several iterations by the reference and by this package at either precision, from the same start.

    Returns:
        Per way: seconds, steps of each kind, and the median and largest difference from the reference's scales.
    """
    runs, scales = {}, {}
    for way in ("reference", "full", "bfloat16"):
        bench.restore()
        with tqdm(total=iterations, desc=f"run, {way}", disable=None) as bar:
            if way == "reference":
                learner = PlainLearner(bench.model, bench.loss, gamma)
                work = partial(learner.run, bench.batches.pairs(), iterations, bar.update)
                elapsed = seconds(work, bench.device)
                steps, scales[way] = list(learner.steps.values()), torch.tensor(learner.scales)
            else:
                state = State.fresh(len(bench.parameters))
                config = gradinit_config(way, gamma, iterations)
                learn = partial(learn_scales, bench.model, bench.loss, bench.batches.pairs(), config, state=state)
                elapsed = seconds(partial(learn, on_iteration=lambda _, bar=bar: bar.update()), bench.device)
                steps, scales[way] = state.steps, state.scales
        difference = (scales[way] - scales["reference"]).abs()
        runs[way] = {"seconds": elapsed, "objective": steps[0], "constraint": steps[1]}
        runs[way] |= {"median_difference": difference.median().item(), "largest_difference": difference.max().item()}
    return runs


def measure_memory(options: argparse.Namespace) -> dict[str, float | None]:
    """Peak GiB of every contender, each in a separate process."""
    peaks = {}
    for contender in tqdm(CONTENDERS, desc="memory", disable=None):
        arguments = ["--arch", options.arch, "--tokens", str(options.tokens), "--device", str(options.device)]
        peaks[contender] = printed_number(__file__, [*arguments, "--peak-of", contender])
    return peaks


def table(facts: dict) -> str:
    """The result as text."""
    times, peaks = facts["seconds"], facts["peak_gib"]
    lines = [
        f"{'':24}{'seconds':>9}{'  (min to max)':18}{'x step':>7}{'of reference':>14}{'GiB':>7}{'of reference':>14}"
    ]
    for contender in CONTENDERS:
        median = statistics.median(times[contender])
        steps = statistics.median(a / b for a, b in zip(times[contender], times[TRAINING], strict=True))
        range_ = f"  ({min(times[contender]):.2f} to {max(times[contender]):.2f})"
        line = f"{contender:24}{median:9.2f}{range_:18}{steps:7.2f}"
        reference = f"reference {contender.split()[1]}"
        ratio = "" if contender == TRAINING else f"{median / statistics.median(times[reference]):.2f}"
        lines.append(f"{line}{ratio:>14}{memory_columns(peaks[contender], peaks.get(reference), 14)}")
    lines += ["(x step: of the training step, in float32 with fairseq's criterion and Adam)", ""]
    for way, run in facts.get("runs", {}).items():
        faster = facts["runs"]["reference"]["seconds"] / run["seconds"]
        lines.append(
            f"{run['objective'] + run['constraint']} iterations, {way}: {run['seconds']:.1f} s, {run['objective']} "
            f"objective and {run['constraint']} constraint steps, {faster:.2f} times as fast as the reference; "
            f"scales off its by {run['median_difference']:.4f} (median), {run['largest_difference']:.4f} (most)"
        )
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--arch", choices=MODELS, default="iwslt_de_en", help="size of the model (default: %(default)s)"
    )
    parser.add_argument(
        "--tokens", type=command.positive_int, default=6000, help="max tokens of a batch (default: %(default)s)"
    )
    parser.add_argument(
        "--rounds",
        type=command.positive_int,
        default=5,
        help="timed rounds, after an untimed one (default: %(default)s)",
    )
    parser.add_argument(
        "--run",
        type=command.number(int, 0),
        default=0,
        metavar="N",
        help="also time whole runs of N iterations (default: none)",
    )
    parser.add_argument(
        "--gamma",
        type=command.number(float, 1e-9),
        default=1 / ETA,
        help="bound on the norm in those runs (default: %(default)s)",
    )
    add_device(parser)
    parser.add_argument("--output", type=Path, metavar="DIR", help="also write cost-ARCH.json and .txt there")
    parser.add_argument("--peak-of", choices=CONTENDERS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    bench = Bench(options.arch, options.tokens, options.device)
    if options.peak_of:
        print(peak_gib(bench.prepare(options.peak_of, 0), bench.device))
        return
    name = f"cost-{options.arch}"
    require_room(options.output, [name])
    facts = {
        "command": shlex.join(["benchmarks/gradinit_cost.py", *sys.argv[1:]]),
        "machine": describe_machine(bench.device),
        "torch": torch.__version__,
        "parameters": sum(p.numel() for p in bench.parameters),
        "seconds": measure_times(bench, options.rounds),
        "peak_gib": measure_memory(options),
    }
    if options.run:
        facts["runs"] = measure_runs(bench, options.run, options.gamma)
    text = f"{facts['machine']}; {options.arch}, {facts['parameters']:,} parameters, {options.tokens:,} tokens\n\n"
    text += table(facts)
    report(facts, text, options.output, name)


if __name__ == "__main__":
    run_alone(main)
