"""The paired bootstrap test, and what it refuses to compare."""

import json
import random

import pytest
from unchanged import unchanged

from gradinit_mt.common.errors import UserError
from gradinit_mt.evaluation import paired
from gradinit_mt.evaluation.results import Texts
from gradinit_mt.evaluation.scores import kinds

WORDS = [f"word{number}" for number in range(50)]
REFERENCE = [" ".join(random.Random(line).choices(WORDS, k=15)) for line in range(100)]


def noisy(share: float, seed: int) -> list[str]:
    rng = random.Random(seed)
    return [" ".join(w if rng.random() > share else "wrong" for w in line.split()) for line in REFERENCE]


def result(directory, hypotheses, split="test", subwords="0", raw="0", tokenized=REFERENCE):
    directory.mkdir()
    Texts(hypotheses, tokenized, hypotheses, REFERENCE).write(directory)
    checksums = {"test.en": subwords, "raw/test.en": raw}
    stored = {"settings": {"split": split, "data_sha256": checksums}, "data": {"lowercased": False}}
    (directory / "scores.json").write_text(json.dumps(stored))
    return directory


def test_a_clear_difference_is_significant_and_noise_is_not(tmp_path):
    system, worse, equal = (
        result(tmp_path / name, noisy(share, seed))
        for name, share, seed in (("a", 0.1, 1), ("b", 0.2, 2), ("c", 0.1, 3))
    )
    clear, noise = paired.compare(system, worse)["scores"], paired.compare(system, equal)["scores"]
    for name in ("tokenized_lowercase_bleu", "detokenized_bleu", "detokenized_chrf"):
        assert clear[name]["difference"] > 2 and clear[name]["p"] < 0.01
        assert noise[name]["p"] > 0.05
        assert "seed:12345" in clear[name]["signature"] and "bs:1000" in clear[name]["signature"]


def test_a_system_does_not_differ_from_itself(tmp_path):
    a, b = (result(tmp_path / name, noisy(0.1, 1)) for name in "ab")
    assert {test["p"] for test in paired.compare(a, b)["scores"].values()} == {1.0}


def test_two_systems_without_a_correct_word_do_not_differ(tmp_path):
    """Nor do systems that differ only in words without a match: every resample has the same scores."""
    collapsed = result(tmp_path / "a", ["xx yy zz"] * 100), result(tmp_path / "b", ["vv ww xx yy"] * 100)
    texts = noisy(0.1, 1), [line.replace("wrong", "wronq", 1) for line in noisy(0.1, 1)]
    assert texts[0] != texts[1]
    nearly = result(tmp_path / "c", texts[0]), result(tmp_path / "d", texts[1])
    for pair in (collapsed, nearly):
        for test in (
            paired.compare(*pair)["scores"][name] for name in ("tokenized_lowercase_bleu", "detokenized_bleu")
        ):
            assert test["difference"] == 0
            assert test["p"] == 1.0


def test_systems_of_equal_quality_have_every_p_value_equally_often():
    """A test that rejects more often than it says would report noise as progress."""
    reference, metric = REFERENCE[:40], kinds(Texts([], [], [], []), lowercase=False)["tokenized_lowercase_bleu"].metric
    found = [
        paired.paired_bootstrap(metric, *(noisy(0.2, seed)[:40] for seed in (2 * pair, 2 * pair + 1)), reference)["p"]
        for pair in range(60)
    ]
    assert 2 <= sum(p < 0.1 for p in found) <= 12  # binomial, 60 of probability 0.1: 99.1 %
    assert 20 <= sum(p > 0.5 for p in found) <= 40  # of probability 0.5: 99.7 %


def test_the_outcome_is_saved_and_reproducible(tmp_path):
    a, b = result(tmp_path / "a", noisy(0.1, 1)), result(tmp_path / "b", noisy(0.12, 2))
    comparison = paired.compare(a, b)
    (noted,) = a.glob("paired-*.json")
    assert json.loads(noted.read_text()) == comparison == paired.compare(a, b)
    assert "p = " in paired.report(comparison)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"split": "valid"}, "b: the result of another split"),
        ({"raw": "1"}, "b: the result of other data"),
        ({"tokenized": REFERENCE[::-1]}, "b: other references for BLEU, tokenized lowercase"),
    ],
)
def test_other_references_are_refused(tmp_path, other, message):
    a, b = result(tmp_path / "a", noisy(0.1, 1)), result(tmp_path / "b", noisy(0.1, 2), **other)
    with unchanged(tmp_path), pytest.raises(UserError, match=message):
        paired.compare(a, b)


def test_systems_of_two_vocabularies_are_compared(tmp_path):
    a, b = result(tmp_path / "a", noisy(0.1, 1)), result(tmp_path / "b", noisy(0.2, 2), subwords="1")
    assert paired.compare(a, b)["scores"]["detokenized_bleu"]["p"] < 0.01


def test_a_directory_without_a_result_is_refused(tmp_path):
    with pytest.raises(UserError, match="no complete result"):
        paired.compare(result(tmp_path / "a", noisy(0.1, 1)), tmp_path)


def test_a_missing_hypothesis_is_refused_and_nothing_is_noted(tmp_path):
    a, b = result(tmp_path / "a", noisy(0.1, 1)), result(tmp_path / "b", noisy(0.1, 2)[:-1])
    with (
        unchanged(tmp_path),
        pytest.raises(UserError, match=r"sentences differ \(system 100, baseline 99, reference 100\); translate again"),
    ):
        paired.compare(a, b)


@pytest.mark.parametrize("seed", ["abc", "none", "-1"])
def test_another_seed_is_a_number(tmp_path, monkeypatch, seed):
    monkeypatch.setenv("SACREBLEU_SEED", seed)
    a, b = result(tmp_path / "a", noisy(0.1, 1)), result(tmp_path / "b", noisy(0.1, 2))
    with pytest.raises(UserError, match=f"SACREBLEU_SEED is {seed}, expected a number"):
        paired.compare(a, b)
