"""Times translation: fairseq's beam search with stock's and with this package's model, and CTranslate2."""

import argparse
import copy
import statistics
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from fairseq import checkpoint_utils, tasks, utils
from fairseq import options as fairseq_options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.models.transformer import TransformerModelBase
from measuring import BFLOAT16, FLOAT32, STOCK, batches_by_length, interleaved, ratio
from sacrebleu.metrics import BLEU

from gradinit_mt.common.errors import UserError
from gradinit_mt.corpora.layout import PreparedCorpus
from gradinit_mt.corpora.text import read_lines
from gradinit_mt.evaluation import checks
from gradinit_mt.evaluation.hypotheses import as_detokenized, join_subwords
from gradinit_mt.evaluation.translate import ExportedModel, Search, load_translator, search_options
from gradinit_mt.training import checkpoints
from gradinit_mt.training.options import USER_DIR

BEAM = 5


@dataclass
class Translator:
    """A model, and the task and generator of fairseq that translate with it."""

    task: Any
    model: Any
    generator: Any

    def translate(self, batches: list[dict]) -> dict[int, list[int]]:
        """The best hypothesis of each sentence, as tokens."""
        found: dict[int, list[int]] = {}
        for batch in batches:
            hypotheses = self.task.inference_step(self.generator, [self.model], batch)
            found |= {
                i: best["tokens"].tolist() for i, (best, *_) in zip(batch["id"].tolist(), hypotheses, strict=True)
            }
        return found


@dataclass
class ExportedTranslator:
    """A model of ``scripts/export.sh``, with as many workers of CTranslate2 as PyTorch has threads."""

    model: ExportedModel
    translator: Any
    search: Search
    sources: list[str]
    dictionary: Any

    def translate(self, batches: list[dict]) -> dict[int, list[int]]:
        """The best hypothesis of each sentence, as tokens."""
        ids = [i for batch in batches for i in batch["id"].tolist()]
        results = self.translator.translate_batch(
            [self.sources[i].split() for i in ids], **search_options(self.model, self.search)
        )
        best = [map(self.dictionary.index, result.hypotheses[0]) for result in results]
        return {i: [*tokens, self.dictionary.eos()] for i, tokens in zip(ids, best, strict=True)}


def require_models(options: argparse.Namespace, corpus: PreparedCorpus) -> None:
    """Raises UserError if a model cannot translate the test set of the corpus, or not by both stock's code and ours."""
    state, facts = checkpoints.load_with_facts(options.checkpoint)
    if not facts.model.startswith("post_ln_transformer"):
        raise UserError(f"{options.checkpoint}: holds a model {facts.model}, expected post_ln_transformer")
    checks.require_model(corpus, facts)
    checks.require_vocabulary(corpus, state["model"], options.checkpoint)
    checks.require_short_sentences(corpus, "test", facts)
    for directory in options.exported:
        checks.require_subwords(corpus, ExportedModel.load(directory))


def build_translator(kind: str, corpus: PreparedCorpus, checkpoint: Path, device: torch.device) -> Translator:
    """A contender as ``fairseq-generate`` builds it; stock has fairseq's own Transformer of the same sizes."""
    arguments = [str(corpus.bin), "--source-lang", corpus.source, "--target-lang", corpus.target]
    arguments += ["--user-dir", USER_DIR, "--path", str(checkpoint), "--beam", str(BEAM)]
    if kind == STOCK:
        arguments += ["--task", "translation"]
    else:
        arguments += ["--task", "gradinit_translation", "--no-gradinit", "--precision", kind.removeprefix("ours, ")]
    parser = fairseq_options.get_generation_parser()
    cfg = convert_namespace_to_omegaconf(fairseq_options.parse_args_and_arch(parser, arguments))
    task = tasks.setup_task(cfg.task)
    (model,), _ = checkpoint_utils.load_model_ensemble([str(checkpoint)], task=task)
    if kind == STOCK:
        learned = model.state_dict()
        model = TransformerModelBase.build_model(copy.deepcopy(model.cfg), task)
        model.load_state_dict(learned)
    model.to(device).prepare_for_inference_(cfg)
    return Translator(task, model, task.build_generator([model], cfg.generation))


def measure_translation(options: argparse.Namespace, corpus: PreparedCorpus) -> dict:
    """Seconds per pass over the test set, sentences translated otherwise than by stock, and BLEU."""
    device = options.device
    translators: dict[str, Any] = {
        kind: build_translator(kind, corpus, options.checkpoint, device) for kind in (STOCK, FLOAT32, BFLOAT16)
    }
    task = translators[STOCK].task
    threads = torch.get_num_threads()
    search = Search(beam=BEAM, length_penalty=1.0, max_tokens=None, threads=threads)
    for directory in options.exported:
        model = ExportedModel.load(directory)
        translator = load_translator(model, threads)
        sources = read_lines(corpus.text("test", corpus.source))
        translators[f"CTranslate2, {model.kind}"] = ExportedTranslator(
            model, translator, search, sources, task.target_dictionary
        )
    torch.set_num_threads(threads)  # CTranslate2 has set its own number, of the same OpenMP
    task.load_dataset("test")
    batches = batches_by_length(task.dataset("test"), options.generation_tokens, options.generation_batches)
    if device.type == "cuda":
        batches = [utils.move_to_cuda(batch) for batch in batches]
    found = {kind: translator.translate(batches) for kind, translator in translators.items()}
    work = {
        kind: [partial(translator.translate, [batch]) for batch in batches] for kind, translator in translators.items()
    }
    times = interleaved(work, options.rounds, 0, device)  # every batch has just been translated
    ids = sorted(found[STOCK])
    return {
        "sentences": len(ids),
        "seconds": times,
        "differing": {kind: sum(tokens[i] != found[STOCK][i] for i in ids) for kind, tokens in found.items()},
        "bleu": {
            kind: bleu([task.target_dictionary.string(tokens[i]) for i in ids], ids, corpus)
            for kind, tokens in found.items()
        },
    }


def bleu(subwords: list[str], ids: list[int], corpus: PreparedCorpus) -> float:
    """Detokenized sacreBLEU of some sentences of the test set; case is ignored where the corpus has none."""
    text = as_detokenized(join_subwords(subwords, corpus.subword), corpus.target, corpus.moses_tokenized)
    reference = corpus.raw("test", corpus.target).read_text(encoding="utf-8").split("\n")
    return BLEU(lowercase=corpus.lowercased).corpus_score(text, [[reference[i] for i in ids]]).score


def translation_table(facts: dict) -> str:
    """The contenders, one a line."""
    times = facts["seconds"]
    lines = [
        f"{'translation':26}{'seconds':>9}{'  (min to max)':19}{'sentences/s':>12}"
        f"{'x stock':>9}{'differing':>11}{'BLEU':>7}"
    ]
    for kind, measured in times.items():
        median = statistics.median(measured)
        spread = f"  ({min(measured):.2f} to {max(measured):.2f})"
        lines.append(
            f"{kind:26}{median:9.2f}{spread:19}{facts['sentences'] / median:12.1f}{ratio(times, STOCK, kind):9.2f}"
            f"{facts['differing'][kind]:11}{facts['bleu'][kind]:7.2f}"
        )
    return "\n".join(lines)
