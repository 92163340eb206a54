"""Training without warmup from several initializations, over seeds and learning rates, on one corpus.

    nohup .venv/bin/python experiments/no_warmup/bench.py CORPUS --output runs/no-warmup &

Runs use the launcher behind ``scripts/train.sh``, with one thread each, several in parallel. A stopped run is
continued, a finished one is not repeated, and a failed one does not stop the others. Each adds a line to
``readings.jsonl``: the losses on training and validation set, and the final source gain (see
``gradinit_mt.evaluation.source_gain``: a model may reach a low loss although it ignores its source). ``table.md`` and
``curves.png`` show means over seeds. ``--table-only`` makes them again from the existing readings, however many updates
their runs had.

Model and training are those of the preset ``multi30k``, on any corpus:

- 6+6 layers, d 128, feed-forward 256, 4 heads (``--width`` sets d, and twice that for the feed-forward layers);
- 2,048 tokens per batch, dropout 0.1, label smoothing 0.1;
- Adam with betas (0.9, 0.98), linear decay over 10,000 updates.

``--list`` lists the initializations; options after ``--`` apply to all runs.
"""

import argparse
import itertools
import json
import logging
import multiprocessing
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
from fairseq import checkpoint_utils, optim, options, tasks
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from omegaconf import DictConfig
from tables import draw, selected, table
from tqdm import tqdm

from gradinit_mt.common import command, journal
from gradinit_mt.common.errors import UserError, differing
from gradinit_mt.common.figures import write
from gradinit_mt.core import State
from gradinit_mt.core.blocks import block_facts
from gradinit_mt.corpora.layout import PreparedCorpus
from gradinit_mt.corpora.workers import add_workers
from gradinit_mt.evaluation.source_gain import source_gain
from gradinit_mt.plugin.options import core_config, first_steps_of
from gradinit_mt.record.record import Record, RecordError
from gradinit_mt.training import checkpoints, launch
from gradinit_mt.training.curve import read_log
from gradinit_mt.training.options import compose
from gradinit_mt.training.presets import PRESETS
from gradinit_mt.training.save_dir import LOG

ROOT = Path(__file__).resolve().parents[2]
PRESET = "multi30k"  # on any corpus
WIDTH = 128
DECAY_UPDATES = PRESETS[PRESET].options["total-num-update"]
LOG_INTERVAL = PRESETS[PRESET].options["log-interval"]
SCORED = ("best", "last")  # checkpoints: the one with the lowest validation loss, and the last
Rule = dict[str | tuple[str, ...], float]  # endings of tensor names: their scale
BRANCH = ("v_proj.weight", "out_proj.weight", "fc1.weight", "fc2.weight")


@dataclass(frozen=True)
class Setting:
    """An initialization: its line in ``--list``, options of fairseq-train, and scales set by hand."""

    about: str
    options: tuple[str, ...] = ()
    by_hand: Rule | None = None


PLAIN = ("--no-gradinit",)
SETTINGS = {
    "xavier": Setting("the model's own initialization", PLAIN),
    **{
        f"warmup{updates}": Setting(
            f"the same, with {updates} updates of warmup", (*PLAIN, "--warmup-updates", str(updates))
        )
        for updates in (100, 200, 400)
    },
    "gradinit": Setting("GradInit with its defaults"),
    "paper": Setting("GradInit as published", ("--gradinit-form", "paper")),
    "no-signal": Setting("its defaults without the signal", ("--gradinit-signal-weight", "0")),
    "one-step": Setting("its defaults, looking one step ahead", ("--gradinit-look-ahead", "1")),
    "wide": Setting(
        "its defaults, with all scales between 0.2 and 4",
        ("--gradinit-upper-bound", "4", "--gradinit-vector-lower-bound", "0.2"),
    ),
    "bound": Setting("its defaults, with a bound of 1000 on the gradient norm", ("--gradinit-gamma", "1000")),
    "adam": Setting("its defaults, with Adam on m", ("--gradinit-update", "adam", "--gradinit-tau", "0.03")),
    "hand": Setting("by hand: v_proj, out_proj, fc1 and fc2 times 0.3", by_hand={BRANCH: 0.3}),
    "hand-output": Setting(
        "the same, the decoder's last LayerNorm times 4 and its embedding, the softmax too, times 0.2",
        by_hand={BRANCH: 0.3, "decoder.layers.5.final_layer_norm.weight": 4.0, "decoder.embed_tokens.weight": 0.2},
    ),
}


@dataclass(frozen=True)
class Run:
    """One training run, as identified in ``readings.jsonl``."""

    setting: str
    lr: float
    seed: int
    updates: int
    width: int
    further: tuple[str, ...]

    @property
    def name(self) -> str:
        """The name of its save dir."""
        name = f"{self.setting}-lr{self.lr:g}-seed{self.seed}-d{self.width}-{self.updates}updates"
        return re.sub(r"[^\w.-]+", "-", " ".join([name, *self.further]))

    def hand_scales(self, directory: Path) -> Path:
        """The directory for the record of a rule's scales."""
        return directory / f"{self.setting}-d{self.width}"

    def arguments(self, corpus: Path, directory: Path) -> list[str]:
        """Arguments for ``gradinit_mt.training.launch``."""
        setting = SETTINGS[self.setting]
        save_dir = directory / self.name
        fairseq = [
            *("--encoder-embed-dim", self.width, "--encoder-ffn-embed-dim", 2 * self.width),
            *("--lr", self.lr, "--max-update", self.updates),
            *("--no-epoch-checkpoints", "--save-interval-updates", 400),
            *setting.options,
            *self.further,
        ]
        if setting.by_hand:
            fairseq += ["--gradinit-from", self.hand_scales(directory)]
        own = [corpus, "--save-dir", save_dir, "--preset", PRESET, "--seed", self.seed, "--device", "cpu"]
        return [str(part) for part in (*own, "--", *fairseq)]


def train(run: Run, corpus: PreparedCorpus, directory: Path, score: bool) -> dict | UserError:
    """Starts or continues a run and reads its outcome. A failure is returned: raised, it would end the other runs."""
    try:
        return _train(run, corpus, directory, score)
    except UserError as error:
        return error


def _train(run: Run, corpus: PreparedCorpus, directory: Path, score: bool) -> dict:
    save_dir = directory / run.name
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    torch.set_num_threads(1)

    def do(module: str, arguments: Iterable[str]) -> None:
        line = [sys.executable, "-m", f"gradinit_mt.{module}", *arguments]
        with subprocess.Popen(
            line, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        ) as process:
            try:
                _, errors = process.communicate()
            except BaseException:
                process.terminate()  # it ends its own processes; a kill would leave them running
                raise
        if process.returncode:
            raise UserError(f"{run.name}: {module} ended with status {process.returncode}: {errors[-2000:]}")

    do("training.launch", run.arguments(corpus.directory, directory))
    outcome = asdict(run) | {"initialization": initialization(run, corpus, directory)} | read(save_dir)
    if score:
        outcome["scores"] = {checkpoint: {} for checkpoint in SCORED}
        for checkpoint, split in itertools.product(SCORED, ("valid", "test")):
            scores = save_dir / f"scores-{checkpoint}-{split}"
            if not (scores / "scores.json").exists():
                which = ["--checkpoint", checkpoint, "--split", split]
                do("evaluation.run", [str(save_dir), "--cpu", *which, "--output", str(scores)])
            found = json.loads((scores / "scores.json").read_text(encoding="utf-8"))["scores"]
            outcome["scores"][checkpoint][split] = found
    return outcome


def read(save_dir: Path) -> dict:
    """The readings of a finished run: losses in bits per target token.

    ``smoothed`` (the validation loss of the last checkpoint) and ``source_gain`` include label smoothing, the other
    losses do not.
    """
    curve = read_log(save_dir / LOG, save_dir.name)
    models, cfg, task = checkpoint_utils.load_model_ensemble_and_task([str(save_dir / "checkpoint_last.pt")])
    task.load_dataset("valid")
    dataset = task.dataset("valid")
    batches = dataset.batch_by_size(dataset.ordered_indices(), max_tokens=4096)
    samples = (dataset.collater([dataset[index] for index in batch]) for batch in batches)
    gain = source_gain(models[0], task.build_criterion(cfg.criterion), samples)
    try:
        gradinit_seconds = Record.load(save_dir).state.seconds
    except RecordError:
        gradinit_seconds = 0.0
    return {
        "training": {str(update): round(loss, 3) for update, loss in curve.training.items()},
        "validation": {str(update): round(loss, 3) for update, loss in curve.validation.items()},
        "smoothed": round(gain.loss, 3),
        "source_gain": round(gain.gain, 3),
        "gradinit_seconds": round(gradinit_seconds, 1),
        "seconds": checkpoints.facts(save_dir / "checkpoint_last.pt").training_seconds,
    }


def fairseq_config(run: Run, corpus: PreparedCorpus, directory: Path) -> DictConfig:
    """The configuration that fairseq-train makes from the run's command line."""
    launched = launch.parse_arguments(run.arguments(corpus.directory, directory))
    arguments = compose(launched.preset, corpus, launched.save_dir, launched.seed, launched.further)
    return convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), arguments))


def initialization(run: Run, corpus: PreparedCorpus, directory: Path) -> dict:
    """The origin of the run's scales: none, a rule, or GradInit with these settings."""
    rule = SETTINGS[run.setting].by_hand
    if rule is not None:
        return {"rule": [[ends, scale] for ends, scale in rule.items()]}
    cfg = fairseq_config(run, corpus, directory)
    if cfg.task.no_gradinit:
        return {}
    optimizer = optim.build_optimizer(cfg.optimizer, [torch.nn.Parameter(torch.zeros(1))])
    config = core_config(cfg.task, first_steps_of(optimizer), torch.device("cpu"))
    return config.as_dict()


def scales_by_hand(rule: Rule, names: list[str]) -> torch.Tensor:
    """The scales of the tensors called ``names``: 1 where no key of the rule matches the end of the name.

    Raises:
        UserError: a key matches no name.
    """
    scales = torch.ones(len(names), dtype=torch.float64)
    for ends, scale in rule.items():
        scaled = [index for index, name in enumerate(names) if name.endswith(ends)]
        if not scaled:
            raise UserError(f"the rule scales {ends}, but no tensor's name ends with it: use a model of 6+6 layers")
        scales[scaled] = scale
    return scales


def write_hand_scales(run: Run, corpus: PreparedCorpus, directory: Path) -> None:
    """Writes the record from which ``--gradinit-from`` takes the scales of a rule."""
    rule = SETTINGS[run.setting].by_hand
    if rule is None:
        return
    cfg = fairseq_config(run, corpus, directory)
    blocks = block_facts(tasks.setup_task(cfg.task).build_model(cfg.model))
    state = State.fresh(len(blocks))
    state.scales = scales_by_hand(rule, [block["name"] for block in blocks])
    Record({"iterations": 0, "rule": SETTINGS[run.setting].about}, blocks, "", state).save(run.hand_scales(directory))


def train_all(runs: list[Run], corpus: PreparedCorpus, chosen: argparse.Namespace) -> list[dict]:
    """The outcomes of the runs; each is appended to ``readings.jsonl`` when its run finishes.

    Raises:
        UserError: runs failed, which is reported when the others have finished; or a line of ``readings.jsonl`` is from
            another initialization of the same name, or lacks the requested scores.
    """
    path = chosen.output / "readings.jsonl"
    by_run = {_run_of(outcome): outcome for outcome in journal.read(path)}
    missing = [run for run in runs if run not in by_run]
    for run in runs:
        if run in by_run:
            _require_same(by_run[run]["initialization"], initialization(run, corpus, chosen.output), path, run)
            if chosen.bleu and "scores" not in by_run[run]:
                raise UserError(
                    f"{path} has {run.name} without --bleu, and its checkpoints are gone: use another --output"
                )
    for run in missing:
        write_hand_scales(run, corpus, chosen.output)
    work = partial(train, corpus=corpus, directory=chosen.output, score=chosen.bleu)
    failures = []
    with multiprocessing.get_context("spawn").Pool(chosen.workers, _exit_on_sigterm, maxtasksperchild=1) as pool:
        for outcome in tqdm(pool.imap_unordered(work, missing), "runs", total=len(missing)):
            if isinstance(outcome, UserError):
                failures.append(str(outcome))
                continue
            journal.add(path, outcome)
            run = _run_of(outcome)
            by_run[run] = outcome
            if not chosen.keep:
                for checkpoint in (chosen.output / run.name).glob("*.pt"):
                    checkpoint.unlink()
    if failures:
        raise UserError(f"{len(failures)} of {len(missing)} runs failed:\n" + "\n".join(failures))
    return [by_run[run] for run in runs]


def _exit_on_sigterm() -> None:
    """In a worker: SIGTERM raises an exception, so the training it waits for ends too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))


def _require_same(noted: dict, here: dict, path: Path, run: Run) -> None:
    changes = differing(noted, json.loads(json.dumps(here)))
    if changes:
        raise UserError(f"{path} has {run.name} with other settings ({'; '.join(changes)}): use another --output")


def _run_of(outcome: dict) -> Run:
    fields = {name: outcome[name] for name in Run.__dataclass_fields__}
    return Run(**fields | {"further": tuple(fields["further"])})


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """The options; those after ``--`` become ``further``."""
    keeping_lines = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0], formatter_class=keeping_lines)
    add = parser.add_argument
    every = f"multiples of {LOG_INTERVAL}"
    listed = "\n".join(f"{name:12} {setting.about}" for name, setting in SETTINGS.items())
    add("--list", action="version", version=listed, help="print the initializations and stop")
    add("corpus", type=Path, metavar="CORPUS", help="a prepared corpus; any name with --table-only")
    add("--output", type=Path, required=True, metavar="DIR", help="directory for runs, readings, table and picture")
    add("--settings", nargs="+", choices=tuple(SETTINGS), default=list(SETTINGS), metavar="NAME", help="(default: all)")
    add("--lr", nargs="+", type=float, default=[1e-3], metavar="RATE", help="peak learning rates (default: 1e-3)")
    add("--seeds", nargs="+", type=int, default=[1, 2, 3], metavar="N", help="(default: 1 2 3)")
    add(
        "--updates", type=command.positive_int, default=800, metavar="N", help="training updates (default: %(default)s)"
    )
    add("--width", type=command.positive_int, default=WIDTH, metavar="D", help="model dimension (default: %(default)s)")
    add("--readings", nargs="+", type=int, default=[400, 800], metavar="N", help=f"{every} (default: 400 800)")
    add(
        "--bleu",
        action="store_true",
        help="also score validation and test set, with the checkpoint of the lowest validation loss and with the last; "
        "the table shows the test BLEU of the one with the higher validation BLEU; must be given from the first start",
    )
    add("--keep", action="store_true", help="keep the checkpoints")
    add("--table-only", action="store_true", help="train nothing; make table and picture from the existing readings")
    add_workers(parser)
    chosen = command.parse_with_further(parser, arguments)
    chosen.further = tuple(chosen.further)
    chosen.readings.sort()
    if any(update < 1 or update % LOG_INTERVAL for update in chosen.readings):
        parser.error(f"--readings {chosen.readings}: expected {every}")
    if chosen.readings[-1] > chosen.updates and not chosen.table_only:
        parser.error(f"--readings {chosen.readings[-1]}: expected at most --updates ({chosen.updates})")
    return chosen


def main() -> None:
    logging.getLogger("matplotlib").setLevel(logging.WARNING)  # fairseq makes the root logger verbose
    chosen = parse_arguments(sys.argv[1:])
    chosen.output = chosen.output.resolve()
    if chosen.table_only:
        outcomes = selected(chosen.output / "readings.jsonl", chosen)
        if not outcomes:
            raise UserError(f"{chosen.output}/readings.jsonl has none of these runs up to update {chosen.readings[-1]}")
    else:
        corpus = PreparedCorpus.load(chosen.corpus.resolve())
        runs = [
            Run(setting, lr, seed, chosen.updates, chosen.width, chosen.further)
            for seed, lr, setting in itertools.product(chosen.seeds, chosen.lr, chosen.settings)
        ]
        chosen.output.mkdir(parents=True, exist_ok=True)
        outcomes = train_all(runs, corpus, chosen)
    text = table(outcomes, chosen.readings)
    (chosen.output / "table.md").write_text(text, encoding="utf-8")
    picture = chosen.output / "curves.png"
    picture.unlink(missing_ok=True)  # drawn again from all readings
    write(draw(outcomes, chosen.readings[-1]), picture)
    print(text, end="")


if __name__ == "__main__":
    command.run(main, interrupted="finished runs are kept; the same command continues")
