"""Two ways of scoring a translation, kept apart: on the same output they differ by more than a point.

*Tokenized lowercase BLEU* is what papers on IWSLT'14 report: BLEU of Papineni et al. (2002) over the words of
Moses-tokenized, lowercased text, without smoothing, as printed by ``multi-bleu.perl``. It is comparable only with
scores of the same tokenization. *Detokenized* sacreBLEU (Post 2018) and chrF (Popovic 2015) tokenize the raw text
themselves; their signatures contain everything a comparison needs.
"""

from dataclasses import dataclass

from sacrebleu.metrics import BLEU, CHRF

from gradinit_mt.common.errors import UserError
from gradinit_mt.evaluation.results import Texts

# sacreBLEU's tokenizers for target languages without spaces, in which 13a takes whole clauses for words. Its own choice
# for Japanese needs MeCab. A language may have several codes, and one such as zh_CN names a script or country, too.
TOKENIZERS = {**dict.fromkeys(("zh", "zho", "chi", "cmn"), "zh"), **dict.fromkeys(("ja", "jpn"), "char")}


@dataclass(frozen=True)
class Kind:
    """One kind of score, and the two texts that it compares."""

    name: str
    metric: BLEU | CHRF
    hypotheses: list[str]
    references: list[str]


@dataclass(frozen=True)
class Score:
    """One corpus score: ``value`` from 0 to 100, and sacrebleu's full signature."""

    name: str
    value: float
    signature: str


def kinds(texts: Texts, lowercase: bool, target: str = "") -> dict[str, Kind]:
    """The kinds of score, by their key in ``scores.json``, for texts in the language ``target``.

    With ``lowercase`` the detokenized ones ignore case.
    """
    tokenizer = TOKENIZERS.get(target.lower().partition("_")[0], "13a")
    # force: sacrebleu need not warn that the text is tokenized
    multi_bleu = BLEU(lowercase=True, tokenize="none", smooth_method="none", force=True)
    plain = texts.detokenized, texts.raw_reference
    return {
        "tokenized_lowercase_bleu": Kind(
            "BLEU, tokenized lowercase", multi_bleu, texts.tokenized, texts.tokenized_reference
        ),
        "detokenized_bleu": Kind("sacreBLEU, detokenized", BLEU(lowercase=lowercase, tokenize=tokenizer), *plain),
        "detokenized_chrf": Kind("chrF2, detokenized", CHRF(lowercase=lowercase), *plain),
    }


def score(texts: Texts, lowercase: bool, target: str = "") -> dict[str, Score]:
    """Scores one system; with ``lowercase``, for a model of lowercased text, the detokenized scores ignore case.

    The arguments are those of ``kinds``.

    Raises:
        UserError: the texts differ in length or are empty, or all hypotheses are empty.
    """
    counts = {name.replace("_", " "): len(lines) for name, lines in vars(texts).items()}
    if len(set(counts.values())) != 1:
        listing = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise UserError(f"sentence counts differ: {listing}; all four must be the same sentences in one order")
    if not texts.tokenized:
        raise UserError("there is no sentence to score; is the test file empty?")
    if not any(line.strip() for line in texts.tokenized):
        raise UserError(f"all {len(texts.tokenized)} hypotheses are empty; did the model train at all?")
    found = {}
    for key, kind in kinds(texts, lowercase, target).items():
        value = kind.metric.corpus_score(kind.hypotheses, [kind.references]).score
        found[key] = Score(kind.name, value, str(kind.metric.get_signature()))
    return found


def table(scores: dict[str, Score]) -> str:
    """The scores as lines of text, each with its signature."""
    width = max(len(score.name) for score in scores.values())
    return "\n".join(f"{score.name:{width}}  {score.value:6.2f}  {score.signature}" for score in scores.values())
