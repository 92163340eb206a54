"""Exports a trained model for deployment with CTranslate2: ``python -m gradinit_mt.evaluation.export SAVE_DIR``.

The conversion is CTranslate2's own, from fairseq's Transformer: a Post-LN model has the same parameters and layers.
Residual weights are folded into other parameters.
"""

import argparse
import dataclasses
import logging
import shlex
import shutil
import sys
import tempfile
from pathlib import Path

import torch

from gradinit_mt.common import command
from gradinit_mt.common.errors import UserError
from gradinit_mt.common.files import new_directory, write_json
from gradinit_mt.common.stored import to_store
from gradinit_mt.common.versions import package_version
from gradinit_mt.corpora.layout import SUBWORD_FILES, PreparedCorpus
from gradinit_mt.evaluation import checks, folding, systems
from gradinit_mt.evaluation.translate import DESCRIPTION, VOCABULARY_MAP, ExportedModel, load_ctranslate2
from gradinit_mt.evaluation.vocabulary_map import vocabulary_map
from gradinit_mt.training import checkpoints


def export(options: argparse.Namespace) -> None:
    """Makes the model directory that the command line describes.

    Raises:
        UserError: it exists; or the checkpoint is missing, does not fit the corpus, or has a model that CTranslate2
            does not support. No directory was made.
    """
    with new_directory(options.output) as directory:
        corpus = systems.prepared_corpus(options)
        path = systems.checkpoint_path(options)
        state, facts = checkpoints.load_with_facts(path)
        checkpoints.require_unchanged(facts.file, facts.sha256)
        checks.require_model(corpus, facts)
        checks.require_vocabulary(corpus, state["model"], path)
        subword_sha256 = corpus.checksums(SUBWORD_FILES[corpus.subword])
        command.step(f"converting {path} ({options.quantization})")
        try:
            convert(state, corpus, directory, options.quantization)
        except (ArithmeticError, AttributeError, ValueError, RuntimeError) as error:
            raise UserError(f"{path}: {' '.join(str(error).split())}") from error
        if options.vocabulary_map:
            likely = vocabulary_map(corpus, options.vocabulary_map)
            (directory / VOCABULARY_MAP).write_text(likely, encoding="utf-8")
        for name in SUBWORD_FILES[corpus.subword]:
            shutil.copyfile(corpus.directory / name, directory / name)
        model = ExportedModel(
            directory=directory,
            corpus=corpus.name,
            source=corpus.source,
            target=corpus.target,
            subword=corpus.subword,
            subword_sha256=subword_sha256,
            moses_tokenized=corpus.moses_tokenized,
            quantization=options.quantization,
            vocabulary_map=options.vocabulary_map,
            checkpoint=dataclasses.asdict(facts),
            versions={name: package_version(name) for name in ("gradinit_mt", "fairseq", "ctranslate2")},
        )
        write_json(directory / DESCRIPTION, to_store(model))


def convert(state: dict, corpus: PreparedCorpus, directory: Path, quantization: str) -> None:
    """Runs CTranslate2's converter.

    The converter reads a file, so it gets the parameters and options in one written here from the loaded checkpoint.

    Args:
        state: the checkpoint, as ``checkpoints.load`` returns it.
        corpus: has the dictionaries.
        directory: is emptied.
        quantization: one of the converter's.

    Raises:
        AttributeError: an option is missing.
        ValueError: CTranslate2 does not support the options, or a residual weight is 0.
        RuntimeError: the parameters are not those of a Transformer with these options.
    """
    logging.getLogger("fairseq").setLevel(logging.WARNING)  # the converter loads a task, which logs its dictionaries
    converters = load_ctranslate2().converters
    weights = {name: value.float().numpy() for name, value in state["model"].items() if name.endswith(folding.SUFFIX)}
    parameters = {name: value for name, value in state["model"].items() if name not in weights}
    with tempfile.TemporaryDirectory() as temporary:
        path = Path(temporary) / "checkpoint.pt"
        torch.save({"args": transformer_options(checkpoints.settings(state, "model")), "model": parameters}, path)
        converter = converters.FairseqConverter(str(path), str(corpus.bin), *corpus.languages)
        load = converter._load
        converter._load = lambda: folding.folded(load(), weights)
        converter.convert(str(directory), quantization=quantization, force=True)


def transformer_options(settings: dict) -> argparse.Namespace:
    """The model's options as those of fairseq's ``transformer``, complete for both sides.

    Only numbers and the activation are taken. Other text names files, or is run as code by fairseq.
    """
    given = {name: value for name, value in settings.items() if isinstance(value, int | float)}
    encoder = {name: value for name, value in given.items() if name.startswith("encoder_")}
    decoder = {name.replace("encoder_", "decoder_", 1): value for name, value in encoder.items()}
    names = {"arch": "transformer", "task": "translation", "activation_fn": str(settings.get("activation_fn"))}
    return argparse.Namespace(**decoder | given | names)


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """The options."""
    from ctranslate2.specs.model_spec import ACCEPTED_MODEL_TYPES

    parser = argparse.ArgumentParser(
        prog="scripts/export.sh",
        description="Export a trained model to CTranslate2, with its vocabularies and subword model.",
    )
    systems.add_model_options(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="new directory for the model")
    parser.add_argument(
        "--quantization",
        choices=ACCEPTED_MODEL_TYPES,
        default="float32",
        metavar="TYPE",
        help=f"type of the weights: {', '.join(ACCEPTED_MODEL_TYPES)} (default: %(default)s, as trained)",
    )
    parser.add_argument(
        "--vocabulary-map",
        type=command.positive_int,
        metavar="N",
        help="search only among the N likeliest translations of each source subword of a batch, learned from the "
        "training text, and the most frequent subwords: faster, with slightly other results (20 is a good value; "
        "default: the whole vocabulary)",
    )
    return parser.parse_args(arguments)


def main() -> None:
    load_ctranslate2()  # its absence is reported before the options need it
    options = parse_arguments(sys.argv[1:])
    export(options)
    print(f"{options.output}: translate with scripts/translate.sh {shlex.quote(str(options.output))} < source > target")


if __name__ == "__main__":
    command.run(main)
