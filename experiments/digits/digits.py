"""GradInit beyond translation: convolutional networks on the digits images that scikit-learn ships.

    .venv/bin/python experiments/digits/digits.py --output runs/digits        (about 15 minutes on 2 CPU cores)

It trains deep plain and residual networks, each with and without BatchNorm, with SGD and Adam, from PyTorch's default
initialization and from GradInit applied to it. The learning rate of every combination is chosen on the validation
images with a separate seed. Then every combination is trained over several seeds, and the final accuracy on the test
images is reported. Runs that already exist in the output are not repeated.
"""

import argparse
import itertools
import math
import multiprocessing
import statistics
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import Tensor, nn
from tqdm import tqdm

from gradinit_mt.common import command, journal
from gradinit_mt.common.files import write_text
from gradinit_mt.common.tables import markdown, spread
from gradinit_mt.core import GradInitConfig, GradInitError, default_gamma, learn_scales, overlapping_halves
from gradinit_mt.corpora.workers import add_workers

Images = tuple[Tensor, Tensor]  # [images, 1, 8, 8] and [images]

BATCH, EPOCHS, ITERATIONS = 100, 20, 390
RATES = {"sgd": (0.003, 0.01, 0.03, 0.1), "adam": (3e-4, 1e-3, 3e-3)}
INITIALIZATIONS = ("default", "gradinit")
TUNING_SEED = 1000


class Convolution(nn.Sequential):
    """A 3x3 convolution, BatchNorm if requested, and ReLU."""

    def __init__(self, inputs: int, outputs: int, batch_norm: bool, stride: int = 1) -> None:
        convolution = nn.Conv2d(inputs, outputs, 3, stride, padding=1, bias=not batch_norm)
        super().__init__(convolution, nn.BatchNorm2d(outputs) if batch_norm else nn.Identity(), nn.ReLU())


class Residual(nn.Module):
    """x + f(x), f two convolutions."""

    def __init__(self, width: int, batch_norm: bool) -> None:
        super().__init__()
        second = nn.Conv2d(width, width, 3, padding=1, bias=not batch_norm)
        norm = nn.BatchNorm2d(width) if batch_norm else nn.Identity()
        self.branch = nn.Sequential(Convolution(width, width, batch_norm), second, norm)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.branch(x))


def build(network: str) -> nn.Sequential:
    """A network for images [images, 1, 8, 8] with ten outputs, in PyTorch's default initialization.

    Args:
        network: ``plain`` (20 convolutions) or ``resnet`` (9 blocks of two), followed by ``-bn`` for BatchNorm.
    """
    kind, _, norm = network.partition("-")
    batch_norm = norm == "bn"
    layers: list[nn.Module] = []
    for inputs, width in ((1, 16), (16, 32)):
        layers.append(Convolution(inputs, width, batch_norm, stride=1 if inputs == 1 else 2))
        if kind == "plain":
            layers += [Convolution(width, width, batch_norm) for _ in range(9)]
        else:
            layers += [Residual(width, batch_norm) for _ in range(5 if inputs == 1 else 4)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(32, 10))


NETWORKS = ("plain", "plain-bn", "resnet", "resnet-bn")


def load_splits() -> dict[str, Images]:
    """1,000 training, 297 validation and 500 test images, standardized; the split is always the same."""
    digits = load_digits()
    order = torch.randperm(len(digits.target), generator=torch.Generator().manual_seed(0))
    images = torch.tensor(digits.images, dtype=torch.float32)[order][:, None]
    targets = torch.tensor(digits.target)[order]
    mean, deviation = images[:1000].mean(), images[:1000].std()
    images = (images - mean) / deviation
    bounds = {"training": slice(0, 1000), "validation": slice(1000, 1297), "test": slice(1297, None)}
    return {name: (images[part], targets[part]) for name, part in bounds.items()}


def batches(images: Images, generator: torch.Generator) -> Iterator[Images]:
    """Endless epochs, each in a new order."""
    while True:
        for members in torch.randperm(len(images[1]), generator=generator).split(BATCH):
            yield images[0][members], images[1][members]


def pairs(images: Images, generator: torch.Generator) -> Iterator[tuple[list[Images], list[Images]]]:
    """S and S~ from the same batches."""
    for inputs, targets in batches(images, generator):
        s, s_tilde = overlapping_halves(len(targets), generator)
        yield [(inputs[s], targets[s])], [(inputs[s_tilde], targets[s_tilde])]


def summed_loss(network: nn.Module, part: Images) -> tuple[Tensor, int]:
    """Summed cross-entropy in nats, and the number of images."""
    inputs, targets = part
    return F.cross_entropy(network(inputs), targets, reduction="sum"), len(targets)


@torch.no_grad()
def accuracy(network: nn.Module, images: Images) -> float:
    """Percentage of the images classified correctly; 10 is chance."""
    network.eval()
    correct = (network(images[0]).argmax(1) == images[1]).float().mean().item()
    network.train()
    return 100 * correct


@dataclass(frozen=True)
class Run:
    """One training run; ``rate`` is the learning rate, and the eta of GradInit."""

    network: str
    optimizer: str
    initialization: str
    rate: float
    seed: int
    epochs: int = EPOCHS
    iterations: int = ITERATIONS
    tau: float = 1e-2

    @classmethod
    def of(cls, outcome: dict) -> "Run":
        """The run of which this is the outcome."""
        return cls(**{field.name: outcome[field.name] for field in fields(cls)})

    def train(self) -> dict:
        """Trains until the end, or until the loss is no longer finite.

        Returns:
            Validation and test accuracy in percent, the last epoch's mean training loss in nats, and the seconds of
            GradInit and in total.
        """
        torch.set_num_threads(1)
        torch.manual_seed(self.seed)
        generator = torch.Generator().manual_seed(self.seed)
        splits, network = load_splits(), build(self.network)
        start = time.perf_counter()
        outcome: dict[str, Any] = {"gradinit_error": None}
        if self.initialization == "gradinit":
            try:
                self._initialize(network, splits["training"], generator)
            except GradInitError as error:
                outcome["gradinit_error"] = str(error)
        initialized = time.perf_counter()
        outcome["loss"] = self._train(network, splits["training"], generator)
        outcome |= {split: accuracy(network, splits[split]) for split in ("validation", "test")}
        times = {"gradinit_seconds": initialized - start, "seconds": time.perf_counter() - start}
        return asdict(self) | outcome | {name: round(value, 2) for name, value in times.items()}

    def _initialize(self, network: nn.Module, images: Images, generator: torch.Generator) -> None:
        config = GradInitConfig(
            step="sgd" if self.optimizer == "sgd" else "adam",
            eta=self.rate,
            gamma=default_gamma(self.optimizer, self.rate),
            iterations=self.iterations,
            tau=self.tau,
        )
        learn_scales(network, summed_loss, pairs(images, generator), config)

    def _train(self, network: nn.Module, images: Images, generator: torch.Generator) -> float:
        optimizer: torch.optim.Optimizer = torch.optim.Adam(network.parameters(), self.rate)
        if self.optimizer == "sgd":
            optimizer = torch.optim.SGD(network.parameters(), self.rate, momentum=0.9)
        updates = self.epochs * math.ceil(len(images[1]) / BATCH)
        schedule = torch.optim.lr_scheduler.LinearLR(optimizer, 1.0, 0.0, updates)
        losses = []
        for batch in itertools.islice(batches(images, generator), updates):
            loss, size = summed_loss(network, batch)
            losses.append(loss.item() / size)
            if not math.isfinite(losses[-1]):
                return losses[-1]
            optimizer.zero_grad()
            (loss / size).backward()
            optimizer.step()
            schedule.step()
        return statistics.mean(losses[-updates // self.epochs :])


def train_all(runs: list[Run], results: Path, workers: int, title: str) -> list[dict]:
    """The outcomes of the runs; each is appended to the file ``results`` when its run finishes."""
    done = journal.resume(results)
    by_run = {Run.of(outcome): outcome for outcome in done}
    missing = [run for run in runs if run not in by_run]
    with multiprocessing.get_context("spawn").Pool(workers) as pool:
        for outcome in tqdm(pool.imap_unordered(Run.train, missing), title, len(missing), disable=None):
            journal.add(results, outcome)
            by_run[Run.of(outcome)] = outcome
    return [by_run[run] for run in runs]


def best_rate(outcomes: list[dict], network: str, optimizer: str, initialization: str) -> float:
    """The rate with the highest validation accuracy, and among equals with the lowest loss.

    A rate at which GradInit could not learn is taken only if there is no other.
    """
    own = (network, optimizer, initialization)
    mine = [o for o in outcomes if (o["network"], o["optimizer"], o["initialization"]) == own]

    def merit(outcome: dict) -> tuple[bool, float, float]:
        loss = outcome["loss"] if math.isfinite(outcome["loss"]) else math.inf
        return outcome["gradinit_error"] is None, outcome["validation"], -loss

    return max(mine, key=merit)["rate"]


def table(outcomes: list[dict]) -> str:
    """Mean and standard deviation of the test accuracy over seeds, as Markdown.

    Runs in which GradInit could not learn trained from the default initialization, and are counted beside the mean.
    """
    columns = ["network", "optimizer", "default: rate", "accuracy", "GradInit: rate", "accuracy", "difference"]
    rows = []
    for network, optimizer in itertools.product(NETWORKS, RATES):
        cells, means = [], []
        for initialization in INITIALIZATIONS:
            own = (network, optimizer, initialization)
            mine = [o for o in outcomes if (o["network"], o["optimizer"], o["initialization"]) == own]
            values = [outcome["test"] for outcome in mine]
            means.append(statistics.mean(values))
            failed = sum(outcome["gradinit_error"] is not None for outcome in mine)
            not_learned = f" ({failed} of {len(mine)} not learned)" if failed else ""
            cells += [f"{mine[0]['rate']:g}", spread(values, 1) + not_learned]
        rows.append([network, optimizer, *cells, f"{means[1] - means[0]:+.1f}"])
    return markdown(columns, rows)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python experiments/digits/digits.py", description=__doc__.splitlines()[0])
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="directory for runs and the table")
    parser.add_argument("--seeds", type=command.positive_int, default=5, metavar="N", help="(default: %(default)s)")
    parser.add_argument(
        "--epochs", type=command.positive_int, default=EPOCHS, metavar="N", help="(default: %(default)s)"
    )
    parser.add_argument(
        "--iterations", type=command.positive_int, default=ITERATIONS, metavar="N", help="(default: %(default)s)"
    )
    add_workers(parser)
    options = parser.parse_args()
    options.output.mkdir(parents=True, exist_ok=True)
    new_run = partial(Run, epochs=options.epochs, iterations=options.iterations)
    combinations = list(itertools.product(NETWORKS, RATES, INITIALIZATIONS))
    tuning = [new_run(*own, rate, TUNING_SEED) for own in combinations for rate in RATES[own[1]]]
    tuned = train_all(tuning, options.output / "tuning.jsonl", options.workers, "learning rates")
    runs = [new_run(*own, best_rate(tuned, *own), seed) for own in combinations for seed in range(1, options.seeds + 1)]
    outcomes = train_all(runs, options.output / "runs.jsonl", options.workers, "seeds")
    text = table(outcomes)
    write_text(options.output / "table.md", text)
    print(text, end="")


if __name__ == "__main__":
    command.run(main, interrupted="finished runs are kept; the same command continues")
