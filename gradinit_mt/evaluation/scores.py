"""The two ways in which a translation is scored, kept apart: they differ by more than a point on the same output.

*Tokenized lowercase BLEU* is what papers on IWSLT'14 report: BLEU of Papineni et al. (2002) over the words of
Moses-tokenized, lowercased text, without smoothing (what ``multi-bleu.perl`` prints). It compares only with scores
of the same tokenization. *Detokenized* sacreBLEU (Post 2018) and chrF (Popovic 2015) tokenize the raw text
themselves; their signature says all that a reader needs to compare them.
"""

from dataclasses import asdict, dataclass

from sacrebleu.metrics import BLEU, CHRF

from gradinit_mt.evaluation import EvaluationError


@dataclass(frozen=True)
class Score:
    """One corpus score: ``value`` is on the scale 0 to 100, ``signature`` is sacrebleu's full one."""

    name: str
    value: float
    signature: str


@dataclass(frozen=True)
class Scores:
    """All scores of one set of hypotheses."""

    sentences: int
    tokenized_lowercase_bleu: Score
    detokenized_bleu: Score
    detokenized_chrf: Score

    def to_json(self) -> dict:
        """A value for ``json.dump``."""
        return asdict(self)

    def table(self) -> str:
        """The scores as lines of text, each with its signature."""
        scores = (self.tokenized_lowercase_bleu, self.detokenized_bleu, self.detokenized_chrf)
        width = max(len(score.name) for score in scores)
        return "\n".join(f"{score.name:{width}}  {score.value:6.2f}  {score.signature}" for score in scores)


def tokenized_lowercase_metric() -> BLEU:
    """BLEU over words separated by blanks, as ``multi-bleu.perl -lc`` counts it."""
    # force: the text is tokenized on purpose, sacrebleu need not warn of it
    return BLEU(lowercase=True, tokenize="none", smooth_method="none", force=True)


def detokenized_metrics(lowercase: bool) -> tuple[BLEU, CHRF]:
    """sacreBLEU with the tokenizer 13a, and chrF2; both ignore case where ``lowercase`` is set."""
    return BLEU(lowercase=lowercase, tokenize="13a"), CHRF(lowercase=lowercase)


def score(
    tokenized: list[str],
    tokenized_reference: list[str],
    detokenized: list[str],
    raw_reference: list[str],
    lowercase: bool,
) -> Scores:
    """Scores one system; every list holds one sentence per item, in the order of the corpus.

    Args:
        tokenized: hypotheses, Moses-tokenized (lowercased here if they are not yet).
        tokenized_reference: the reference in the same tokenization.
        detokenized: the same hypotheses as plain text.
        raw_reference: the reference as it was before any preparation.
        lowercase: the model was trained on lowercased text, so the detokenized scores ignore case.

    Raises:
        EvaluationError: the lists differ in length or are empty, or all hypotheses are empty.
    """
    counts = {
        "tokenized hypotheses": len(tokenized),
        "tokenized references": len(tokenized_reference),
        "detokenized hypotheses": len(detokenized),
        "raw references": len(raw_reference),
    }
    if len(set(counts.values())) != 1:
        listing = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise EvaluationError(f"sentence counts differ: {listing}; all four must be the same sentences in one order")
    if not tokenized:
        raise EvaluationError("there is no sentence to score; is the test file empty?")
    if not any(line.strip() for line in tokenized):
        raise EvaluationError(f"all {len(tokenized)} hypotheses are empty; did the model train at all?")
    bleu, chrf = detokenized_metrics(lowercase)
    return Scores(
        sentences=len(tokenized),
        tokenized_lowercase_bleu=_score(
            "BLEU, tokenized lowercase", tokenized_lowercase_metric(), tokenized, tokenized_reference
        ),
        detokenized_bleu=_score("sacreBLEU, detokenized", bleu, detokenized, raw_reference),
        detokenized_chrf=_score("chrF2, detokenized", chrf, detokenized, raw_reference),
    )


def _score(name: str, metric: BLEU | CHRF, hypotheses: list[str], references: list[str]) -> Score:
    value = metric.corpus_score(hypotheses, [references]).score
    return Score(name, value, str(metric.get_signature()))
