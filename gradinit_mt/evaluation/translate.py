"""Translates plain text with an exported model, by CTranslate2 on the CPU.

    python -m gradinit_mt.evaluation.translate MODEL_DIR < source > target

A model directory, made by ``gradinit_mt.evaluation.export``, is CTranslate2's own and two things more:

config.json  model.bin  *_vocabulary.json   CTranslate2's model
vmap.txt                                    its vocabulary map, if it has one
code | sentencepiece.{model,vocab}          the subword model of the corpus
export.json                                 the fields of ``ExportedModel``
"""

import argparse
import dataclasses
import os
import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

from tqdm import tqdm

from gradinit_mt.common import command
from gradinit_mt.common.errors import UserError
from gradinit_mt.common.files import sha256
from gradinit_mt.common.processor import instruction_sets, usable_cores
from gradinit_mt.common.stored import read_stored
from gradinit_mt.corpora import encoding
from gradinit_mt.corpora.layout import SUBWORD_FILES
from gradinit_mt.corpora.text import require_short, split_lines
from gradinit_mt.evaluation import hypotheses

DESCRIPTION = "export.json"
WEIGHTS = "model.bin"
VOCABULARY_MAP = "vmap.txt"
FORMAT = 3
MAX_LENGTH = 200  # subwords of a hypothesis, the default of fairseq-generate
# Source subwords per batch: the fastest of 256, 512 and 1,024 on the CPU where it was measured.
FLOAT32_TOKENS = 1024
FAST_TOKENS = 256  # with quantization or a vocabulary map
BATCH_HELP = f"{FLOAT32_TOKENS}; with quantization or a vocabulary map {FAST_TOKENS}"
CONTROL_SYMBOLS = ("<s>", "<blank>")  # beginning and padding, in CTranslate2's vocabulary


def load_ctranslate2() -> ModuleType:
    """CTranslate2 with its converters; raises UserError if it is not installed.

    Its AVX-512 kernels are off by default, and are turned on here where the processor has what they need. A value of
    ``CT2_FORCE_CPU_ISA`` in the environment is kept.
    """
    if {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"} <= instruction_sets():
        os.environ.setdefault("CT2_FORCE_CPU_ISA", "AVX512")  # read at the import
    try:
        import ctranslate2.converters
    except ImportError as error:
        raise UserError(f"CTranslate2 cannot be imported ({error}); run scripts/install.sh") from error
    return ctranslate2


@dataclasses.dataclass(frozen=True, kw_only=True)
class ExportedModel:
    """A model directory and the content of its ``export.json``."""

    directory: Path
    corpus: str
    source: str
    target: str
    subword: str  # "subword-nmt" or "sentencepiece"
    subword_sha256: dict[str, str]  # file of the subword model -> checksum
    moses_tokenized: bool
    quantization: str
    vocabulary_map: int | None  # likeliest translations per source subword; None: the whole vocabulary
    checkpoint: dict  # the fields of ``checkpoints.CheckpointFacts``
    versions: dict[str, str]
    format: int = FORMAT

    @property
    def kind(self) -> str:
        """What was changed for speed, for tables and names: ``int8``, ``int8-map20``."""
        return f"{self.quantization}-map{self.vocabulary_map}" if self.vocabulary_map else self.quantization

    @property
    def batch_tokens(self) -> int:
        """The source subwords per batch at which it was fastest."""
        return FLOAT32_TOKENS if self.kind == "float32" else FAST_TOKENS

    @classmethod
    def load(cls, directory: Path) -> "ExportedModel":
        """Reads ``export.json``.

        Raises:
            UserError: it is missing, of another format, or was changed; or its vocabulary map is missing, or its
                subword model is another: CTranslate2 would translate such subwords without complaint.
        """
        path = directory / DESCRIPTION
        if not path.is_file():
            raise UserError(f"{directory}: not an exported model (no {DESCRIPTION}); make one with scripts/export.sh")
        stored = read_stored(path, cls, "export it again")
        if wrong := _wrong_entries(stored):
            raise UserError(f"{path}: wrong: {', '.join(wrong)}; export it again")
        if stored["vocabulary_map"] is not None and not (directory / VOCABULARY_MAP).is_file():
            raise UserError(f"{directory / VOCABULARY_MAP}: missing, though the model has a map; export it again")
        for name, digest in stored["subword_sha256"].items():
            if not (directory / name).is_file() or sha256(directory / name) != digest:
                raise UserError(f"{directory / name}: missing, or not the file of the export; export it again")
        return cls(directory=directory, **stored)


def _wrong_entries(stored: dict) -> list[str]:
    """The entries of ``export.json`` that have the expected type, but another form or value."""
    wrong = []
    limits = [stored["checkpoint"].get(f"max_{side}_positions", "") for side in ("source", "target")]
    if not all(limit is None or isinstance(limit, int) for limit in limits):
        wrong.append("checkpoint")
    if stored["subword"] not in SUBWORD_FILES:
        wrong.append(f"subword {stored['subword']!r}")
    elif stored["subword_sha256"].keys() != {*SUBWORD_FILES[stored["subword"]]}:
        wrong.append("subword_sha256")
    if not re.fullmatch(r"\w+", stored["quantization"]):  # it becomes part of a directory's name
        wrong.append(f"quantization {stored['quantization']!r}")
    return wrong


@dataclasses.dataclass(frozen=True, kw_only=True)
class Search:
    """Settings of the beam search and its batches."""

    beam: int
    length_penalty: float  # fairseq's --lenpen
    max_tokens: int | None  # source subwords per batch, with padding; None: the model's own
    threads: int


def load_translator(model: ExportedModel, threads: int) -> Any:
    """CTranslate2's own, with one worker for each thread; raises UserError if CTranslate2 cannot load the model."""
    try:
        return load_ctranslate2().Translator(str(model.directory), inter_threads=threads, intra_threads=1)
    except RuntimeError as error:
        raise UserError(f"{model.directory}: CTranslate2 cannot load it ({error}); export it again") from error


def search_options(model: ExportedModel, search: Search) -> dict[str, Any]:
    """The options of CTranslate2 for a search like that of ``fairseq-generate``; see ``translate_subwords``."""
    longest = (model.checkpoint["max_target_positions"] or MAX_LENGTH + 1) - 1
    return {
        "max_batch_size": search.max_tokens or model.batch_tokens,
        "batch_type": "tokens",
        "beam_size": search.beam,
        "length_penalty": search.length_penalty,
        "max_input_length": 0,  # no silent cut
        "max_decoding_length": min(MAX_LENGTH, longest),
        "suppress_sequences": [[symbol] for symbol in CONTROL_SYMBOLS],
        "use_vmap": model.vocabulary_map is not None,
    }


def translate_subwords(model: ExportedModel, lines: list[str], search: Search) -> list[str]:
    """The best hypothesis of each line, found as by ``fairseq-generate`` with its defaults.

    As in fairseq, a score is the sum of log-probabilities, divided by the length to the power of the length penalty,
    where the length includes the end. A search is over when as many hypotheses have ended as the beam is wide.
    Without quantization and vocabulary map there are three differences:

    - With a length penalty of 0, CTranslate2 also waits until the best hypothesis has ended, and so finds better ones.
    - At 200 subwords it cuts a hypothesis, where fairseq adds an end with its probability.
    - It excludes an end before the first subword ahead of the softmax, fairseq after it. This shifts the scores of all
      hypotheses of a sentence by the same log-probability.

    With a vocabulary map the candidates are those of the whole batch, so results depend on its size.

    The subwords of a line are separated by spaces.

    Raises:
        UserError: CTranslate2 cannot load the model.
    """
    sources = [line.split() for line in lines]
    results = load_translator(model, search.threads).translate_iterable(sources, **search_options(model, search))
    bar = tqdm(results, desc="translating", total=len(sources), unit=" sentences", disable=None, mininterval=0.5)
    return [" ".join(result.hypotheses[0]) for result in bar]


def translate_text(model: ExportedModel, lines: list[str], search: Search) -> list[str]:
    """Translates plain text, one sentence per line; the translation of a blank line is empty.

    Raises:
        UserError: a line is longer than the model takes; also as ``translate_subwords``.
    """
    encoded = encoding.encode(lines, model.source, model.subword, model.directory)
    require_short(encoded, model.checkpoint["max_source_positions"], "standard input", "split the line")
    given = [number for number, line in enumerate(encoded) if line.strip()]
    subwords = translate_subwords(model, [encoded[number] for number in given], search)
    words = hypotheses.join_subwords(subwords, model.subword)
    translations = [""] * len(lines)
    for number, text in zip(given, hypotheses.as_detokenized(words, model.target, model.moses_tokenized), strict=True):
        translations[number] = text
    return translations


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """The options."""
    parser = argparse.ArgumentParser(
        prog="scripts/translate.sh",
        description="Translate standard input, one sentence per line in UTF-8, with a model of scripts/export.sh.",
    )
    add = parser.add_argument
    add("model_dir", type=Path, metavar="MODEL_DIR", help="directory made by scripts/export.sh")
    add("--beam", type=command.positive_int, default=5, help="beam size (default: %(default)s)")
    penalty = "exponent of the length penalty, as fairseq's --lenpen (default: %(default)s)"
    add("--length-penalty", type=command.finite, default=1.0, metavar="X", help=penalty)
    tokens = f"source subwords per batch (default: {BATCH_HELP})"
    add("--max-tokens", type=command.positive_int, metavar="N", help=tokens)
    add("--threads", type=command.positive_int, default=usable_cores(), metavar="N", help="default: all cores")
    return parser.parse_args(arguments)


def main() -> None:
    settings = vars(parse_arguments(sys.argv[1:]))
    if sys.stdin is None or sys.stdout is None:
        raise UserError("standard input or output is closed; give it text, and a place for the translation")
    model = ExportedModel.load(settings.pop("model_dir"))
    lines = split_lines(sys.stdin.buffer.read(), "standard input")
    translations = translate_text(model, lines, Search(**settings))
    sys.stdout.buffer.write("".join(f"{line}\n" for line in translations).encode("utf-8"))


if __name__ == "__main__":
    command.run(main)
