"""Training and translation: this package against stock fairseq, on the same batches in one interleaved run.

    .venv/bin/python benchmarks/speed.py --threads 1 --each --output runs/speed          (about 8 minutes)
    .venv/bin/python benchmarks/speed.py --threads 1 --model iwslt_de_en --batches 2 --output runs/speed   (about 12)
    .venv/bin/python benchmarks/speed.py corpora/multi30k --threads 1 --no-training \\
        --checkpoint runs/multi30k/checkpoint_best.pt --output runs/speed-translation   (about 5)

Without a prepared corpus the batches are random sentences, with the dictionary sizes of IWSLT'14 De-En.

- Training: every contender is fairseq's own ``Trainer``, built from a command line, and is timed in ``train_step``:
  loss in training mode, gradient, its norm, update, logging. All start from the same parameters. The contenders take
  turns at every batch; the order is reversed in every other round. The warm-up rounds, which are not timed, begin with
  the largest batch.
- Memory: peak of two passes over the batches above the loaded program, with a separate process for each contender.
- ``--each``: single optimizations, added to stock and taken from this package.
- Roofline: the rate of plain matrix products on this machine, the share of it that is reached during the products of a
  profiled training step, and the operations that take the rest of the step.
- Translation (``--checkpoint``): the test set with fairseq's ``SequenceGenerator``, beam 5, batches by length; and
  with CTranslate2 (``--exported``), on the same batches.

"x stock", times as fast as stock, is the median over rounds of the ratio to stock in the same round. On a CPU all
contenders have the memory settings with which ``scripts/train.sh`` starts training (``GLIBC_TUNABLES``). Measure on a
machine that runs nothing else.
"""

import argparse
import inspect
import math
import shlex
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import partial
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from contenders import ADDED, NOT_CAPTURED, REMOVED, contenders, optimizations
from fairseq import options as fairseq_options
from fairseq import tasks, utils
from fairseq.data import LanguagePairDataset
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.logging import metrics
from fairseq.trainer import Trainer
from measuring import (
    BFLOAT16,
    FLOAT32,
    STOCK,
    add_device,
    batches_by_length,
    describe_machine,
    interleaved,
    memory_columns,
    peak_gib,
    printed_number,
    random_pairs,
    ratio,
    report,
    require_room,
    run_alone,
)
from roofline import matrix_rates, profiled, roofline
from tqdm import tqdm
from translating import measure_translation, require_models, translation_table

from gradinit_mt.common import command
from gradinit_mt.core.precision import has_native_bfloat16
from gradinit_mt.corpora.layout import PreparedCorpus
from gradinit_mt.training.options import compose
from gradinit_mt.training.presets import PRESETS

MODELS = {"tiny6": "multi30k", "iwslt_de_en": "iwslt14.de-en"}  # whose sizes, dropout and tokens: the presets


class Training:
    """The batches, and what builds the contenders on them.

    Args:
        options: of the command line.
        corpus: a prepared corpus, or the dictionaries of ``random_corpus``.
    """

    def __init__(self, options: argparse.Namespace, corpus: Any) -> None:
        self.preset = MODELS[options.model]
        self.tokens = options.tokens or PRESETS[self.preset].tokens_per_update
        self.device = options.device
        self.corpus = corpus
        self.contenders = contenders(self.preset, self.device, options.each, options.also)
        self.dataset = self._dataset()
        self.batches = batches_by_length(self.dataset, self.tokens, options.batches)

    def _dataset(self) -> LanguagePairDataset:
        if not isinstance(self.corpus, PreparedCorpus):
            return random_pairs(200 * self.tokens // 25)
        task = tasks.setup_task(self._configuration(STOCK).task)
        task.load_dataset("train")
        return task.dataset("train")

    def _configuration(self, name: str) -> Any:
        unused, further = Path(self.corpus.bin, "unused"), self.contenders[name].options
        gpus = int(self.device.type == "cuda")
        arguments = compose(self.preset, self.corpus, unused, 1, further, self.tokens, gpus)
        parser = fairseq_options.get_training_parser()
        return convert_namespace_to_omegaconf(fairseq_options.parse_args_and_arch(parser, arguments))

    def trainer(self, name: str) -> Trainer:
        """A contender's trainer as ``fairseq-train`` builds it, with parameters of seed 1."""
        cfg = self._configuration(name)
        utils.set_torch_seed(1)
        task = tasks.setup_task(cfg.task)
        return Trainer(cfg, task, task.build_model(cfg.model), task.build_criterion(cfg.criterion))

    def update(self, name: str, trainer: Trainer, batches: list[dict]) -> None:
        """One update on each batch."""
        with self.contenders[name].change():
            for batch in batches:
                with metrics.aggregate("train_inner"):
                    trainer.train_step([batch])

    def bits(self, name: str, trainer: Trainer, batches: list[dict]) -> float:
        """Cross-entropy of the batches in bits per target token, without label smoothing and dropout."""
        nats, tokens = 0.0, 0
        with self.contenders[name].change():
            for batch in batches:
                sample = utils.move_to_cuda(batch) if self.device.type == "cuda" else batch
                _, size, logged = trainer.task.valid_step(sample, trainer.model, trainer.criterion)
                nats, tokens = nats + float(logged["nll_loss"]), tokens + size
        return nats / tokens / math.log(2)

    def peak_gib(self, name: str) -> float:
        """Peak memory of building a contender and of two passes over the batches, in GiB."""

        def work() -> None:
            trainer = self.trainer(name)
            for _ in range(2):
                self.update(name, trainer, self.batches)

        return peak_gib(work, self.device)


def measure_training(training: Training, rounds: int, warmup: int) -> dict:
    """Seconds per update in every round, losses before and after, the matrix rates, and profiles of the main ones.

    Losses are in bits per target token.
    """
    trainers = {name: training.trainer(name) for name in training.contenders}
    start = trainers[STOCK].model.state_dict()
    for trainer in trainers.values():
        trainer.model.load_state_dict(start)
    losses = {name: [training.bits(name, trainer, training.batches)] for name, trainer in trainers.items()}
    work = {
        name: [partial(training.update, name, trainer, [batch]) for batch in training.batches]
        for name, trainer in trainers.items()
    }
    times = interleaved(work, rounds, warmup, training.device)
    for name, trainer in trainers.items():
        losses[name].append(training.bits(name, trainer, training.batches))
    encoder = trainers[STOCK].cfg.model
    vocabulary = len(trainers[STOCK].task.target_dictionary)
    width = encoder.encoder_embed_dim
    widths = [width, 3 * width, encoder.encoder_ffn_embed_dim, vocabulary]
    return {
        "parameters": sum(p.numel() for p in trainers[STOCK].model.parameters()),
        "target_tokens": sum(batch["ntokens"] for batch in training.batches),
        "shapes": [list(batch["target"].shape) for batch in training.batches],
        "seconds": {name: [t / len(training.batches) for t in measured] for name, measured in times.items()},
        "bits_before": {name: before for name, (before, _) in losses.items()},
        "bits_after": {name: after for name, (_, after) in losses.items()},
        "matrix_rates": matrix_rates(training.tokens, width, widths, training.device),
        "profiles": {
            name: profiled(partial(training.update, name, trainers[name], training.batches), training.device)
            for name in profiled_contenders(training.device)
        },
    }


def profiled_contenders(device: torch.device) -> list[str]:
    """Stock and ours. A captured step shows a profiler one operation, so on a GPU these are the ones not captured."""
    kind = NOT_CAPTURED if device.type == "cuda" else ""
    return [STOCK, FLOAT32 + kind, BFLOAT16 + kind]


def code_lines(code: Sequence[ModuleType | Callable]) -> int:
    """Lines that are not blank."""
    return sum(bool(line.strip()) for part in code for line in inspect.getsource(part).splitlines())


def training_table(facts: dict) -> str:
    """The contenders, one a line."""
    times, peaks = facts["seconds"], facts.get("peak_gib", {})
    width = 2 + max(map(len, times))
    lines = [
        f"{'training':{width}}{'s/update':>9}{'  (min to max)':19}{'tokens/s':>9}{'x stock':>9}"
        f"{'GiB':>7}{'of stock':>9}{'bits before':>13}{'bits after':>12}"
    ]
    for name, measured in times.items():
        median = statistics.median(measured)
        rate = facts["target_tokens"] / len(facts["shapes"]) / median
        spread = f"  ({min(measured):.3f} to {max(measured):.3f})"
        memory = memory_columns(peaks[name], peaks[STOCK], 9) if peaks else " " * 16
        lines.append(
            f"{name:{width}}{median:9.3f}{spread:19}{rate:9,.0f}{ratio(times, STOCK, name):9.2f}{memory}"
            f"{facts['bits_before'][name]:13.4f}{facts['bits_after'][name]:12.4f}"
        )
    return "\n".join(lines)


def optimization_table(times: dict[str, list[float]], preset: str) -> str:
    """What each optimization gains alone, and its cost in lines of code."""
    lines = [f"{'optimization':26}{'added to stock':>16}{'removed from ours':>19}{'lines':>7}"]
    for name, optimization in optimizations(preset).items():
        added = f"{ratio(times, STOCK, ADDED + name):.2f}" if optimization.added is not None else ""
        removed = 1 / ratio(times, REMOVED + name, BFLOAT16)
        lines.append(f"{name:26}{added:>16}{removed:19.2f}{code_lines(optimization.code):7}")
    return "\n".join(
        [*lines, "(times as fast as stock, and as ours in bfloat16; the whole model includes the three above it)"]
    )


def roofline_lines(facts: dict, tokens: int) -> str:
    """The measured rates, and what is reached of them."""
    lines = []
    for kind, rates in facts["matrix_rates"].items():
        listed = ", ".join(f"{rate / 1e9:.0f} (n {n:,})" for n, rate in rates.items())
        lines.append(f"products [{tokens:,}, d] x [d, n] in {kind}, GFLOP/s: {listed}")
    for name, measured in facts["profiles"].items():
        kind = "bfloat16" if name.startswith(BFLOAT16) else "float32"
        lines.append(f"{name}: {roofline(measured, facts['matrix_rates'], kind, len(facts['shapes']))}")
    return "\n".join(lines)


@contextmanager
def random_corpus() -> Iterator[SimpleNamespace]:
    """The dictionaries of random pairs, in a folder that fairseq's task can read."""
    with tempfile.TemporaryDirectory() as directory:
        pairs = random_pairs(1)
        for side, dictionary in (("source", pairs.src_dict), ("target", pairs.tgt_dict)):
            dictionary.save(str(Path(directory, f"dict.{side}.txt")))
        yield SimpleNamespace(bin=Path(directory), source="source", target="target", name="random sentences")


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """The options, and the arguments themselves as ``arguments``."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add = parser.add_argument
    add("data", nargs="?", type=Path, metavar="DATA", help="prepared corpus (default: random sentences)")
    add("--model", choices=MODELS, default="tiny6", help="6+6 layers of width 128 or 512 (default: %(default)s)")
    add("--tokens", type=command.positive_int, help="max tokens of a batch (default: the preset's)")
    add("--batches", type=command.positive_int, default=4, help="batches of a round (default: %(default)s)")
    add("--rounds", type=command.positive_int, default=5, help="timed rounds (default: %(default)s)")
    add("--warmup", type=command.positive_int, default=2, help="rounds before, not timed (default: %(default)s)")
    add("--threads", type=command.positive_int, help="threads on a CPU (default: PyTorch's)")
    add_device(parser)
    add("--each", action="store_true", help="also each optimization alone")
    add("--also", action="append", default=[], metavar="OPTIONS", help="another contender: ours with these options")
    add("--no-memory", action="store_true", help="leave peak memory out")
    add("--no-training", action="store_true", help="time translation only")
    add("--checkpoint", type=Path, help="also time translation with this model (needs DATA)")
    exported = "also time this model of scripts/export.sh, made from the checkpoint"
    add("--exported", action="append", type=Path, default=[], metavar="DIR", help=exported)
    add("--generation-tokens", type=command.positive_int, default=8000, help="source tokens of a batch in translation")
    add("--generation-batches", type=command.positive_int, help="batches of the test set (default: all)")
    output = "also write speed-MODEL[-each] and translation-CORPUS there, each as .json and .txt"
    add("--output", type=Path, metavar="DIR", help=output)
    add("--peak-of", metavar="CONTENDER", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    options.arguments = arguments
    if options.checkpoint and not options.data:
        parser.error("--checkpoint needs DATA: the prepared corpus whose test set is translated")
    if options.exported and not options.checkpoint:
        parser.error("--exported needs --checkpoint: the model that it was made from")
    if options.no_training and not options.checkpoint:
        parser.error("--no-training needs --checkpoint: without them there is nothing to time")
    return options


def bfloat16_by(device: torch.device) -> str:
    """What multiplies bfloat16 matrices on the device."""
    if device.type == "cuda":
        return "the GPU" if has_native_bfloat16(device) else "emulation"
    capabilities = torch.cpu.get_capabilities()
    names = [name for name in ("amx_bf16", "avx512_bf16") if capabilities.get(name)]
    return " and ".join(names) or "emulation"


def parts(options: argparse.Namespace, corpus: Any) -> dict[str, Callable[[argparse.Namespace, Any], tuple[dict, str]]]:
    """What is asked for: the name of each result, and what measures it."""
    found: dict[str, Callable[[argparse.Namespace, Any], tuple[dict, str]]] = {}
    if not options.no_training:
        found[f"speed-{options.model}{'-each' * options.each}"] = training_result
    if options.checkpoint:
        found[f"translation-{corpus.name}"] = translation_result
    return found


def training_result(options: argparse.Namespace, corpus: Any) -> tuple[dict, str]:
    """Of training: the facts, and the same as text."""
    facts = setting(options, corpus)
    training = Training(options, corpus)
    facts["training"] = found = measure_training(training, options.rounds, options.warmup)
    if not options.no_memory:
        names = tqdm(training.contenders, desc="memory", disable=None)
        found["peak_gib"] = {name: printed_number(__file__, [*options.arguments, "--peak-of", name]) for name in names}
    head = f"{heading(facts)}; {options.model}, {found['parameters']:,} parameters, {training.tokens:,} tokens"
    texts = [head, training_table(found)]
    if options.each:
        texts.append(optimization_table(found["seconds"], training.preset))
    texts.append(roofline_lines(found, training.tokens))
    return facts, "\n\n".join(texts) + "\n"


def translation_result(options: argparse.Namespace, corpus: Any) -> tuple[dict, str]:
    """Of translation: the facts, and the same as text."""
    facts = setting(options, corpus)
    facts["translation"] = measure_translation(options, corpus)
    return facts, f"{heading(facts)}\n\n{translation_table(facts['translation'])}\n"


def setting(options: argparse.Namespace, corpus: Any) -> dict[str, Any]:
    """The facts that all results have."""
    return {
        "command": shlex.join(["benchmarks/speed.py", *options.arguments]),
        "machine": describe_machine(options.device),
        "bfloat16": bfloat16_by(options.device),
        "torch": torch.__version__,
        "corpus": corpus.name,
    }


def heading(facts: dict) -> str:
    """The same as text."""
    return f"{facts['machine']}, bfloat16 by {facts['bfloat16']}; torch {facts['torch']}; {facts['corpus']}"


def main() -> None:
    options = parse_arguments(sys.argv[1:])
    if options.threads:
        torch.set_num_threads(options.threads)
    opened: Any = nullcontext(PreparedCorpus.load(options.data.resolve())) if options.data else random_corpus()
    with opened as corpus:
        if options.peak_of:
            print(Training(options, corpus).peak_gib(options.peak_of))
            return
        if options.checkpoint:
            require_models(options, corpus)
        wanted = parts(options, corpus)
        require_room(options.output, list(wanted))
        for name, measure in wanted.items():  # each is written before the next, which may fail, begins
            report(*measure(options, corpus), options.output, name)


if __name__ == "__main__":
    run_alone(main)
