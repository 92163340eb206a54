"""The two kinds of score: BLEU against the formula of Papineni et al., signatures, and what is refused."""

import math
import random
from collections import Counter

import pytest

from gradinit_mt.common.errors import UserError
from gradinit_mt.evaluation.results import Texts
from gradinit_mt.evaluation.scores import score, table


def papineni_bleu(hypotheses: list[str], references: list[str]) -> float:
    """BLEU-4 on a scale of 100 as the paper defines it, with one reference and no smoothing."""
    length = sum(len(line.split()) for line in hypotheses)
    reference_length = sum(len(line.split()) for line in references)
    log_precision = 0.0
    for n in range(1, 5):
        clipped = total = 0
        for hypothesis, reference in zip(hypotheses, references, strict=True):
            grams = [
                Counter(zip(*(line.split()[start:] for start in range(n)), strict=False))
                for line in (hypothesis, reference)
            ]
            clipped += sum(min(count, grams[1][gram]) for gram, count in grams[0].items())
            total += sum(grams[0].values())
        if clipped == 0:
            return 0.0
        log_precision += math.log(clipped / total) / 4
    penalty = 1.0 if length > reference_length else math.exp(1 - reference_length / length)
    return 100 * penalty * math.exp(log_precision)


def corpus(seed: int, shorten: int) -> tuple[list[str], list[str]]:
    rng = random.Random(seed)
    words = ["a", "the", "dog", "&apos;s", "tree", ",", ".", "runs", "under", "⁇"]
    references = [" ".join(rng.choices(words, k=rng.randint(6, 20))) for _ in range(30)]
    hypotheses = []
    for line in references:
        kept = line.split()[shorten:] + ([] if shorten else ["the"])
        hypotheses.append(" ".join(word if rng.random() < 0.8 else rng.choice(words) for word in kept))
    return hypotheses, references


def score_of(tokenized, reference, lowercase=False, target=""):
    return score(Texts(tokenized, reference, tokenized, reference), lowercase, target)


@pytest.mark.parametrize("shorten", [0, 2], ids=["long", "with brevity penalty"])
@pytest.mark.parametrize("seed", [1, 2])
def test_tokenized_bleu_follows_the_paper(seed, shorten):
    hypotheses, references = corpus(seed, shorten)
    expected = papineni_bleu(hypotheses, references)
    assert 5 < expected < 95
    assert score_of(hypotheses, references)["tokenized_lowercase_bleu"].value == pytest.approx(expected, abs=1e-9)


def test_tokenized_bleu_is_not_smoothed():
    found = score_of(["a b c x e f"], ["a b c d e f"])
    assert found["tokenized_lowercase_bleu"].value == 0
    assert found["detokenized_bleu"].value > 0


def test_case_counts_only_in_the_detokenized_score_of_a_cased_corpus():
    upper, lower = ["The Dog Runs Under The Tree ."], ["the dog runs under the tree ."]
    cased, lowercased = score_of(upper, lower), score_of(upper, lower, lowercase=True)
    assert cased["tokenized_lowercase_bleu"].value == pytest.approx(100)
    assert cased["detokenized_bleu"].value < 50 and cased["detokenized_chrf"].value < 80
    assert lowercased["detokenized_bleu"].value == pytest.approx(100)
    assert lowercased["detokenized_chrf"].value == pytest.approx(100)


def test_signatures_distinguish_the_two_kinds():
    found = score_of(["a b c d"], ["a b c d"], lowercase=True)
    assert "case:lc|eff:no|tok:none|smooth:none" in found["tokenized_lowercase_bleu"].signature
    assert "case:lc|eff:no|tok:13a|smooth:exp" in found["detokenized_bleu"].signature
    assert "case:lc" in found["detokenized_chrf"].signature and "nc:6|nw:0" in found["detokenized_chrf"].signature
    assert "case:mixed" in score_of(["a"], ["a"])["detokenized_bleu"].signature


LANGUAGES = [("zh", "tok:zh"), ("zh_CN", "tok:zh"), ("zho", "tok:zh"), ("ja", "tok:char"), ("JPN", "tok:char")]
LANGUAGES += [("de", "tok:13a")]


@pytest.mark.parametrize(("target", "signature"), LANGUAGES)
def test_text_without_spaces_is_scored_by_characters(target, signature):
    hypotheses, references = ["他今天早上没有吃早饭就去上班了。"], ["他今天早上没吃早饭就上班去了。"]
    score = score_of(hypotheses, references, target=target)["detokenized_bleu"]
    assert signature in score.signature
    assert (30 < score.value < 90) == (target != "de")


def test_the_table_shows_all_three():
    found = score_of(["a b c d"], ["a b c d"])
    assert found["tokenized_lowercase_bleu"].value == pytest.approx(100)
    lines = table(found).splitlines()
    assert len(lines) == 3
    assert "tokenized lowercase" in lines[0] and "sacreBLEU" in lines[1] and "chrF2" in lines[2]


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        (
            (["a", "b"], ["a"], ["a", "b"], ["a", "b"]),
            "2 tokenized, 1 tokenized reference, 2 detokenized, 2 raw reference",
        ),
        (([], [], [], []), "no sentence"),
        ((["", " "], ["a", "b"], ["", ""], ["a", "b"]), "all 2 hypotheses are empty"),
    ],
)
def test_texts_that_cannot_be_scored_are_refused(texts, message):
    with pytest.raises(UserError, match=message):
        score(Texts(*texts), lowercase=False)
