"""Seconds of training until a validation loss is reached: this package against stock fairseq, taking turns.

    .venv/bin/python benchmarks/until_loss.py corpora/multi30k --bits 6 --threads 1 --output runs/speed

Both start from the same parameters, with the model's own initialization and 200 updates of warmup, and see the same
batches in the same order; ours computes in bfloat16. They take turns of ``--every`` updates. After each turn the loss
of some validation batches, spread over all lengths, is computed, which is not timed. A contender is done when this
loss, in bits per target token and without label smoothing, is at most ``--bits``. GradInit is not used: this measures
the speed of training alone.
"""

import argparse
import itertools
import shlex
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch
from contenders import Contender
from measuring import (
    BFLOAT16,
    STOCK,
    add_device,
    batches_by_length,
    describe_machine,
    report,
    require_room,
    run_alone,
    seconds,
)
from speed import MODELS, Training
from tqdm import tqdm

from gradinit_mt.common import command
from gradinit_mt.corpora.layout import PreparedCorpus

WARMUP = ["--warmup-updates", "200"]
VALIDATION_BATCHES = 6


def endless(batches: list[dict]) -> Iterator[dict]:
    """The batches in a new order for each pass, always the same orders."""
    generator = torch.Generator().manual_seed(1)
    while True:
        for index in torch.randperm(len(batches), generator=generator).tolist():
            yield batches[index]


def training(options: argparse.Namespace, corpus: PreparedCorpus) -> Training:
    """The two contenders, with warmup."""
    both = Training(options, corpus)
    both.contenders = {name: Contender([*both.contenders[name].options, *WARMUP]) for name in (STOCK, BFLOAT16)}
    return both


def measure(both: Training, bits: float, every: int, limit: int) -> dict:
    """By contender: the updates and seconds until the loss is reached, or the limit, and the losses on the way."""
    trainers = {name: both.trainer(name) for name in both.contenders}
    start = trainers[STOCK].model.state_dict()
    for trainer in trainers.values():
        trainer.model.load_state_dict(start)
    found: dict[str, dict[str, Any]] = {name: {"updates": 0, "seconds": 0.0, "bits": []} for name in trainers}
    task = trainers[STOCK].task
    task.load_dataset("valid")
    validation = batches_by_length(task.dataset("valid"), both.tokens, VALIDATION_BATCHES)
    batches = endless(batches_by_length(both.dataset, both.tokens))
    with tqdm(total=limit, desc="updates", disable=None) as bar:
        while running := [name for name in trainers if not _done(found[name], bits, limit)]:
            turn = list(itertools.islice(batches, min(every, limit - found[running[0]]["updates"])))
            for name in running:
                facts = found[name]
                facts["seconds"] += seconds(partial(both.update, name, trainers[name], turn), both.device)
                facts["updates"] += len(turn)
                facts["bits"].append(both.bits(name, trainers[name], validation))
            bar.update(len(turn))
    return found


def _done(facts: dict, bits: float, limit: int) -> bool:
    return facts["updates"] >= limit or (bool(facts["bits"]) and facts["bits"][-1] <= bits)


def table(found: dict, bits: float) -> str:
    """The contenders, one a line: "not" where the loss was not reached, a lower bound where stock did not reach it."""
    width = 2 + max(map(len, found))
    lines = [f"{f'until {bits:g} bits':{width}}{'updates':>8}{'seconds':>9}{'x stock':>9}{'bits then':>11}"]
    reached = {name: facts["bits"][-1] <= bits for name, facts in found.items()}
    for name, facts in found.items():
        bound = "" if reached[STOCK] else ">"
        times = f"{bound}{found[STOCK]['seconds'] / facts['seconds']:.2f}" if reached[name] else "not"
        lines.append(f"{name:{width}}{facts['updates']:8}{facts['seconds']:9.1f}{times:>9}{facts['bits'][-1]:11.3f}")
    return "\n".join(lines) + "\n"


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """The options, and the arguments themselves as ``arguments``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("data", type=Path, metavar="DATA", help="prepared corpus")
    add("--bits", type=float, required=True, help="validation loss to reach, in bits per target token")
    add("--model", choices=MODELS, default="tiny6", help="6+6 layers of width 128 or 512 (default: %(default)s)")
    add("--tokens", type=command.positive_int, help="max tokens of a batch (default: the preset's)")
    add("--every", type=command.positive_int, default=25, help="updates of a turn (default: %(default)s)")
    add("--limit", type=command.positive_int, default=3000, help="updates at most (default: %(default)s)")
    add("--threads", type=command.positive_int, help="threads on a CPU (default: PyTorch's)")
    add_device(parser)
    add("--output", type=Path, metavar="DIR", help="also write until-loss-MODEL.json and .txt there")
    parser.set_defaults(batches=1, each=False, also=[])  # what Training reads besides
    options = parser.parse_args(arguments)
    options.arguments = arguments
    return options


def main() -> None:
    options = parse_arguments(sys.argv[1:])
    if options.threads:
        torch.set_num_threads(options.threads)
    corpus = PreparedCorpus.load(options.data.resolve())
    both = training(options, corpus)
    name = f"until-loss-{options.model}"
    require_room(options.output, [name])
    found = measure(both, options.bits, options.every, options.limit)
    machine = describe_machine(both.device)
    facts = {"command": shlex.join(["benchmarks/until_loss.py", *options.arguments]), "machine": machine} | found
    text = f"{machine}; {corpus.name}; {options.model}, {both.tokens:,} tokens\n\n{table(found, options.bits)}"
    report(facts, text, options.output, name)


if __name__ == "__main__":
    run_alone(main)
