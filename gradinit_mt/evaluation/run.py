"""Translates a split of a prepared corpus with a trained model, and scores the translation.

    python -m gradinit_mt.evaluation.run SAVE_DIR [options] [-- options of fairseq-generate]

Choose the checkpoint on the validation set; the test set is only for the reported result.
"""

import argparse
import platform
import shlex
import sys
import time
from dataclasses import asdict
from pathlib import Path

from gradinit_mt.common import command
from gradinit_mt.common.errors import UserError, differing
from gradinit_mt.common.files import new_directory, write_json
from gradinit_mt.common.versions import package_version
from gradinit_mt.corpora.layout import PreparedCorpus
from gradinit_mt.corpora.text import read_lines
from gradinit_mt.evaluation import checks, generate, hypotheses, paired, results, scores
from gradinit_mt.evaluation.systems import System, add_model_options, chosen_system, prepared_corpus
from gradinit_mt.evaluation.translate import BATCH_HELP

PACKAGES = ("gradinit_mt", "fairseq", "torch", "ctranslate2", "sacrebleu", "sacremoses")


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """The options; those after ``--`` become ``further``."""
    parser = argparse.ArgumentParser(
        prog="scripts/evaluate.sh",
        description="Translate a split with a trained model and score it.",
        epilog="Options after -- are passed to fairseq-generate (for example: -- --fp16).",
    )
    choice = add_model_options(parser)
    exported = "evaluate a model of scripts/export.sh instead of a checkpoint, by CTranslate2 on the CPU"
    choice.add_argument("--exported", type=Path, metavar="DIR", help=exported)
    add = parser.add_argument
    add("--split", choices=("test", "valid"), default="test", help="what to translate (default: %(default)s)")
    add("--beam", type=command.positive_int, default=5, help="beam size (default: %(default)s)")
    add("--lenpen", type=command.finite, default=1.0, help="exponent of the length penalty (default: %(default)s)")
    tokens = f"subwords per batch, with padding (default: {generate.BATCH_TOKENS}; exported: {BATCH_HELP})"
    add("--max-tokens", type=command.positive_int, help=tokens)
    add("--output", type=Path, metavar="DIR", help="result directory (default: one in SAVE_DIR/evaluation)")
    add("--cpu", action="store_true", help="do not use a GPU (without one, the CPU is used anyway)")
    add("--paired-with", type=Path, metavar="DIR", help="compare with this result by paired bootstrap resampling")
    options = command.parse_with_further(parser, arguments)
    if options.exported and options.further:
        parser.error("--exported runs no fairseq-generate; drop the options after --")
    return options


def texts(corpus: PreparedCorpus, split: str, subwords: list[str]) -> results.Texts:
    """Hypotheses and references of both kinds, from the model's subwords and the corpus."""
    lang, kind, tokenized = corpus.target, corpus.subword, corpus.moses_tokenized
    raw = read_lines(corpus.raw(split, lang))
    # the reference of a tokenized corpus keeps exactly the tokenization that the model learned
    reference = hypotheses.join_subwords(read_lines(corpus.text(split, lang)), kind) if tokenized else raw
    words = hypotheses.join_subwords(subwords, kind)
    return results.Texts(
        tokenized=hypotheses.as_tokenized_lowercase(words, lang, tokenized),
        tokenized_reference=hypotheses.as_tokenized_lowercase(reference, lang, tokenized),
        detokenized=hypotheses.as_detokenized(words, lang, tokenized),
        raw_reference=raw,
    )


def evaluate(options: argparse.Namespace) -> Path:
    """Makes the result directory, or finds an existing one for the same checkpoint and settings.

    Raises:
        UserError: see the message; no result directory was made.
    """
    corpus = prepared_corpus(options)
    system = chosen_system(options, corpus)
    checks.require_model(corpus, system.facts)
    checks.require_short_sentences(corpus, options.split, system.facts)
    settings = {
        "checkpoint_sha256": system.facts.sha256,
        "data_sha256": checks.data_checksums(corpus, options.split),
        "split": options.split,
        "beam": options.beam,
        "lenpen": options.lenpen,
        "further_options": options.further,
        **system.settings(options),
    }
    if options.paired_with:  # before minutes of translation
        paired.require_same_data(settings, results.load(options.paired_with), options.paired_with)
        results.Texts.read(options.paired_with)
    name = f"{options.split}-{system.name}-beam{options.beam}-lenpen{options.lenpen}"
    output = options.output or options.save_dir / "evaluation" / name
    if output.exists():
        found = results.load(output)
        if changes := other_settings(found, settings, options):
            raise UserError(f"{output}: a result with other settings ({'; '.join(changes)}); name another --output")
        made_on = found.get("device", "an unnamed device")
        command.say(f"{output}: exists already, with this checkpoint and these settings, made on {made_on}")
        return output
    with new_directory(output) as directory:
        _make_result(directory, options, corpus, settings, system)
    return output


def other_settings(result: dict, settings: dict, options: argparse.Namespace) -> list[str]:
    """Each setting of an existing result that is not the one wanted, with both values."""
    there, here = dict(result["settings"]), dict(settings)
    # The size of batches and the device change only roundings. They count where they are asked for and the result
    # notes them.
    if options.max_tokens and "max_tokens" in result:
        there["max_tokens"], here["max_tokens"] = result["max_tokens"], options.max_tokens
    if options.cpu and not str(result.get("device", "CPU")).startswith("CPU"):
        there["device"], here["device"] = result["device"], "CPU"
    return differing(there, here)


def _make_result(
    directory: Path,
    options: argparse.Namespace,
    corpus: PreparedCorpus,
    settings: dict,
    system: System,
) -> None:
    start = time.monotonic()
    subwords, made = system.translate(options, directory)
    generated = time.monotonic()
    both = texts(corpus, options.split, subwords)
    both.write(directory)
    found = scores.score(both, corpus.lowercased, corpus.target)
    result = {
        "settings": settings,
        "scores": {"sentences": len(subwords), **{key: asdict(score) for key, score in found.items()}},
        "checkpoint": asdict(system.facts),
        "data": {
            **{key: getattr(corpus, key) for key in ("name", "source", "target", "lowercased")},
            "directory": str(corpus.directory.resolve()),
        },
        "unknown_symbols": sum(line.split().count(hypotheses.UNKNOWN) for line in subwords),
        "seconds": {"generation": round(generated - start, 1), "scoring": round(time.monotonic() - generated, 1)},
        "versions": {"python": platform.python_version(), **{name: package_version(name) for name in PACKAGES}},
        **made,
    }
    (directory / results.TABLE).write_text(f"{described(result)}\n{scores.table(found)}\n", encoding="utf-8")
    write_json(directory / results.SCORES, result)


def described(result: dict) -> str:
    """What was evaluated, in three lines, from the content of ``scores.json``."""
    data, facts, settings = result["data"], result["checkpoint"], result["settings"]
    metric = facts["validation_metric"]
    validation = f", validation {metric} {facts['validation_value']}" if metric else ""
    if metric == "loss":
        validation += " bits" + " (as trained: with label smoothing)" * bool(facts["label_smoothing"])
    averaged = f", average of {len(facts['averaged_from'])} checkpoints" if facts["averaged_from"] else ""
    further = f", {shlex.join(settings['further_options'])}" if settings["further_options"] else ""
    return (
        f"{data['name']}, {data['source']} to {data['target']}, {settings['split']}: "
        f"{result['scores']['sentences']:,} sentences\n"
        f"{Path(facts['file']).name}: {facts['updates']:,} updates{averaged}{validation}\n"
        f"beam {settings['beam']}, lenpen {settings['lenpen']}{further}, {result['precision']}; "
        f"{result['unknown_symbols']} unknown symbols; {result['seconds']['generation']:.0f} s on {result['device']}"
    )


def main() -> None:
    options = parse_arguments(sys.argv[1:])
    output = evaluate(options)
    print((output / results.TABLE).read_text(encoding="utf-8"), end="")
    print(f"in {output}")
    if options.paired_with:
        print(paired.report(paired.compare(output, options.paired_with)))


if __name__ == "__main__":
    command.run(main)
