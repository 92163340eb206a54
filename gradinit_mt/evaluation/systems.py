"""What evaluation can translate with, a checkpoint or a model that was exported from one, and the options for it."""

import argparse
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import torch

from gradinit_mt.common import command
from gradinit_mt.common.errors import UserError
from gradinit_mt.common.files import sha256
from gradinit_mt.common.processor import usable_cores
from gradinit_mt.common.stored import to_store
from gradinit_mt.corpora.layout import PreparedCorpus
from gradinit_mt.corpora.text import read_lines
from gradinit_mt.evaluation import average, checks, generate, hypotheses
from gradinit_mt.evaluation.translate import (
    VOCABULARY_MAP,
    WEIGHTS,
    ExportedModel,
    Search,
    translate_subwords,
)
from gradinit_mt.training import checkpoints
from gradinit_mt.training.save_dir import RUN, read_run


class System(Protocol):
    """A model whose translations are scored."""

    @property
    def facts(self) -> checkpoints.CheckpointFacts:
        """About the checkpoint that it is, or comes from."""

    @property
    def name(self) -> str:
        """For the name of the result."""

    def settings(self, options: argparse.Namespace) -> dict[str, str | int]:
        """What determines its translations, beside the checkpoint: checksums of files, and options that not all use."""

    def translate(self, options: argparse.Namespace, directory: Path) -> tuple[list[str], dict]:
        """The hypotheses of the split as subwords, and what the result reports of how they were made."""


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint, which fairseq-generate translates with."""

    corpus: PreparedCorpus
    facts: checkpoints.CheckpointFacts
    name: str

    @classmethod
    def load(cls, path: Path, corpus: PreparedCorpus) -> "Checkpoint":
        """Raises UserError unless the checkpoint is whole, and its vocabulary is that of the corpus."""
        state, facts = checkpoints.load_with_facts(path)
        checks.require_vocabulary(corpus, state["model"], path)
        return cls(corpus, facts, path.stem)

    def settings(self, options: argparse.Namespace) -> dict[str, str | int]:
        """Nothing else does."""
        return {}

    def translate(self, options: argparse.Namespace, directory: Path) -> tuple[list[str], dict]:
        """See ``System``; fairseq's output is kept in ``directory``."""
        tokens = options.max_tokens or generate.BATCH_TOKENS
        arguments = generate.command_line(self.corpus, self.facts, options, tokens)
        checks.require_fits_a_batch(self.corpus, options.split, tokens)
        sentences = self.corpus.counts[options.split]
        output = generate.run(arguments, directory, sentences)
        checkpoints.require_unchanged(self.facts.file, self.facts.sha256)
        on_gpu = torch.cuda.is_available() and not options.cpu
        device = torch.cuda.get_device_name() if on_gpu else f"CPU, {usable_cores()} cores"
        subwords = hypotheses.parse(output, sentences, generate.nbest(options.further))
        system = {"device": device, "precision": generate.precision(directory), "max_tokens": tokens}
        return subwords, {**system, "command": shlex.join(arguments)}


@dataclass(frozen=True)
class Exported:
    """A model of ``scripts/export.sh``, which CTranslate2 translates with."""

    corpus: PreparedCorpus
    facts: checkpoints.CheckpointFacts
    model: ExportedModel

    @classmethod
    def load(cls, directory: Path, corpus: PreparedCorpus) -> "Exported":
        """Raises UserError unless the model is whole, and its subwords are those of the corpus."""
        model = ExportedModel.load(directory)
        checks.require_subwords(corpus, model)
        try:
            return cls(corpus, checkpoints.CheckpointFacts(**model.checkpoint), model)
        except TypeError as error:
            raise UserError(f"{directory}: lacks facts of its checkpoint ({error}); export it again") from error

    @property
    def name(self) -> str:
        """That of its checkpoint's file, and the type of its weights."""
        return f"{Path(self.facts.file).stem}-ctranslate2-{self.model.kind}"

    def settings(self, options: argparse.Namespace) -> dict[str, str | int]:
        """Checksums of its weights and of its vocabulary map if it has one, with which the size of batches counts."""
        files = {"exported_sha256": WEIGHTS}
        sizes = {}
        if self.model.vocabulary_map:  # a batch is then searched as a whole
            files["vocabulary_map_sha256"] = VOCABULARY_MAP
            sizes["max_tokens"] = self._batch_tokens(options)
        return {name: sha256(self.model.directory / file) for name, file in files.items()} | sizes

    def translate(self, options: argparse.Namespace, directory: Path) -> tuple[list[str], dict]:
        """See ``System``; ``directory`` is left as it is."""
        lines, threads = read_lines(self.corpus.text(options.split, self.corpus.source)), usable_cores()
        tokens = self._batch_tokens(options)
        sizes = {"beam": options.beam, "max_tokens": tokens, "threads": threads}
        subwords = translate_subwords(self.model, lines, Search(length_penalty=options.lenpen, **sizes))
        system = {"device": f"CPU, {threads} threads", "precision": f"CTranslate2 ({self.model.kind})"}
        return subwords, {**system, "max_tokens": tokens, "exported": to_store(self.model)}

    def _batch_tokens(self, options: argparse.Namespace) -> int:
        return options.max_tokens or self.model.batch_tokens


def add_model_options(parser: argparse.ArgumentParser) -> argparse._MutuallyExclusiveGroup:
    """Adds the options that choose a run, its corpus and a checkpoint; returns the group of the last of these."""
    add = parser.add_argument
    add("save_dir", type=Path, metavar="SAVE_DIR", help=f"directory of a training run, with its checkpoints and {RUN}")
    add("--data", type=Path, metavar="DIR", help=f"prepared corpus (default: the one named in {RUN})")
    choice = parser.add_mutually_exclusive_group()
    add = choice.add_argument
    add("--checkpoint", metavar="best|last|FILE", help="best on validation, last, or a file (default: best)")
    add("--average", type=command.number(int, 2), metavar="N", help="take the average of the last N checkpoints")
    return choice


def prepared_corpus(options: argparse.Namespace) -> PreparedCorpus:
    """The corpus of ``--data``, or the one named in the training run's ``run.json``.

    Raises:
        UserError: neither exists, or the corpus has changed since it was prepared.
    """
    if options.data is not None:
        return PreparedCorpus.load(options.data)
    if not options.save_dir.is_dir():
        raise UserError(f"{options.save_dir}: no such directory; name the save dir of a run")
    run = read_run(options.save_dir)
    if run is None:
        raise UserError(f"{options.save_dir} has no {RUN} to name the prepared corpus; give it with --data")
    data = Path(run["data"])
    if not data.exists():
        raise UserError(f"{data}: the corpus that {RUN} names is not there; if it has moved, give it with --data")
    return PreparedCorpus.load(data)


def chosen_system(options: argparse.Namespace, corpus: PreparedCorpus) -> System:
    """The system that the options choose.

    Raises:
        UserError: it is missing, damaged, or does not belong to the corpus.
    """
    if options.exported:
        return Exported.load(options.exported, corpus)
    return Checkpoint.load(checkpoint_path(options), corpus)


def checkpoint_path(options: argparse.Namespace) -> Path:
    """The checkpoint that the options choose; an average is made if it does not exist."""
    if options.average:
        return average.average_last(options.save_dir, options.average)
    return checkpoints.choose(options.save_dir, options.checkpoint or "best")
