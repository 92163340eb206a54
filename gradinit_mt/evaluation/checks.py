"""What is checked before a checkpoint is used: that its model, its languages and its subwords fit the corpus."""

from pathlib import Path

from torch import Tensor

from gradinit_mt.common.errors import UserError
from gradinit_mt.corpora.layout import SUBWORD_FILES, PreparedCorpus
from gradinit_mt.corpora.text import read_lines, require_short
from gradinit_mt.evaluation.translate import ExportedModel
from gradinit_mt.training.checkpoints import CheckpointFacts
from gradinit_mt.training.save_dir import RUN, read_run

# The plugin's models and their baseline. Other models may read files, or run code in their options.
MODELS = (
    *("post_ln_transformer", "post_ln_transformer_base", "post_ln_transformer_iwslt_de_en"),
    *("post_ln_transformer_small", "post_ln_transformer_tiny", "transformer", "transformer_iwslt_de_en"),
    *("transformer_tiny", "transformer_vaswani_wmt_en_de_big", "transformer_vaswani_wmt_en_fr_big"),
    *("transformer_wmt_en_de", "transformer_wmt_en_de_big", "transformer_wmt_en_de_big_t2t"),
)


def data_checksums(corpus: PreparedCorpus, split: str) -> dict[str, str]:
    """The checksums of the split's text, after a comparison of all its files with those noted at preparation."""
    corpus.checksums(corpus.binarized(split))
    return corpus.checksums([*(f"{split}.{lang}" for lang in corpus.languages), f"raw/{split}.{corpus.target}"])


def require_model(corpus: PreparedCorpus, facts: CheckpointFacts) -> None:
    """Checks the checkpoint's model and its languages.

    Raises:
        UserError: a check failed. fairseq would build whatever model the file names, or translate in the wrong
            direction.
    """
    if facts.model not in MODELS:
        raise UserError(
            f"{facts.file}: its model is {facts.model!r}; expected one of {', '.join(MODELS)}. If you trust "
            "the file, use fairseq-generate itself"
        )
    if facts.source and facts.target and (facts.source, facts.target) != corpus.languages:
        raise UserError(
            f"{facts.file}: was trained from {facts.source} to {facts.target}, the corpus is "
            f"{' to '.join(corpus.languages)}; give a corpus of the model's direction with --data"
        )


def require_vocabulary(corpus: PreparedCorpus, parameters: dict[str, Tensor], path: Path) -> None:
    """Checks that the checkpoint at ``path`` was trained with the dictionaries of the corpus.

    Raises:
        UserError: it embeds another number of subwords, or the run beside it noted other dictionaries. With these the
            model would read and write the wrong words.
    """
    for side, lang in zip(("encoder", "decoder"), corpus.languages, strict=True):
        embeddings = parameters.get(f"{side}.embed_tokens.weight")
        rows = len(embeddings) if isinstance(embeddings, Tensor) else 0
        if rows != corpus.dictionary[lang]:
            raise UserError(
                f"{path}: its {side} has {rows:,} subwords, the dictionary of {corpus.directory} for {lang} "
                f"{corpus.dictionary[lang]:,}; give the corpus that the model was trained on with --data"
            )
    noted = (read_run(path.parent) or {}).get("data_sha256", {})  # runs of earlier versions noted none
    for name, digest in corpus.checksums(corpus.binarized()).items():
        if digest != noted.get(name, digest):
            raise UserError(
                f"{corpus.directory / name}: not the dictionary that {path} was trained with ({RUN} notes another "
                "sha256); give the corpus that the model was trained on with --data"
            )


def require_subwords(corpus: PreparedCorpus, model: ExportedModel) -> None:
    """Raises UserError if the exported model has other subwords than the corpus."""
    if model.subword_sha256 != corpus.checksums(SUBWORD_FILES[corpus.subword]):
        raise UserError(
            f"{model.directory}: its subwords are not those of {corpus.directory}; give the corpus that the model was "
            "trained on with --data"
        )


def require_short_sentences(corpus: PreparedCorpus, split: str, facts: CheckpointFacts) -> None:
    """Raises UserError if the model does not take every sentence: fairseq-generate would fail after minutes."""
    limits = (facts.max_source_positions, facts.max_target_positions)
    for side, lang, limit in zip(("source", "target"), corpus.languages, limits, strict=True):
        path = corpus.text(split, lang)
        remedy = f"train with --max-{side}-positions {{size}} or more, or prepare the corpus without this line"
        require_short(read_lines(path), limit, str(path), remedy)


def require_fits_a_batch(corpus: PreparedCorpus, split: str, max_tokens: int) -> None:
    """Raises UserError if a sentence is longer than a batch of fairseq-generate, which would fail."""
    for lang in corpus.languages:
        path = corpus.text(split, lang)
        require_short(read_lines(path), max_tokens, str(path), "give --max-tokens {size} or more")
