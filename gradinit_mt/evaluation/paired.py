"""Whether two systems' scores on one test set differ by more than chance: a paired bootstrap (Koehn 2004).

The resamples are sacrebleu's: 1,000, with its default seed 12345, unless the environment variable SACREBLEU_SEED sets
another. The signatures contain both numbers. The p-value is not sacrebleu's, which subtracts the mean of the absolute
differences and so counts one tail of their distribution: for a clear difference that is half of a two-sided p-value.
"""

import os
from pathlib import Path

import numpy as np
from sacrebleu.metrics.base import Metric
from sacrebleu.significance import _bootstrap_resample

from gradinit_mt.common.errors import UserError
from gradinit_mt.common.files import sha256, write_json
from gradinit_mt.evaluation import results
from gradinit_mt.evaluation.scores import kinds

RESAMPLES = 1000


def compare(system: Path, baseline: Path) -> dict:
    """Tests the result in ``system`` against the one in ``baseline`` and saves the outcome in ``system``.

    Returns:
        The content of ``paired-CHECKSUM.json``: per score, both values, their difference, p-value and signature.

    Raises:
        UserError: one of them is not a result, or they are not of the same references.
    """
    ours, theirs = results.load(system), results.load(baseline)
    require_same_data(ours["settings"], theirs, baseline)
    lowercased, target = ours["data"]["lowercased"], ours["data"].get("target", "")
    our_kinds, their_kinds = (
        kinds(results.Texts.read(directory), lowercased, target) for directory in (system, baseline)
    )
    for key, kind in our_kinds.items():
        if kind.references != their_kinds[key].references:
            raise UserError(f"{baseline}: other references for {kind.name}; prepare both corpora alike")
    comparison = {
        "system": str(system.resolve()),
        "baseline": str(baseline.resolve()),
        "scores": {
            key: paired_bootstrap(kind.metric, kind.hypotheses, their_kinds[key].hypotheses, kind.references)
            for key, kind in our_kinds.items()
        },
    }
    write_json(system / f"paired-{sha256(baseline / results.SCORES)[:12]}.json", comparison, shared=True)
    return comparison


def require_same_data(settings: dict, baseline: dict, directory: Path) -> None:
    """Raises UserError if the baseline, in ``directory``, is not of the split and references that ``settings`` name.

    Their subwords may differ: a test can be of two vocabularies.
    """
    if settings["split"] != baseline["settings"].get("split"):
        raise UserError(f"{directory}: the result of another split; a paired test needs the same")
    ours, theirs = (_references(of["data_sha256"]) for of in (settings, baseline["settings"]))
    if ours != theirs:
        raise UserError(f"{directory}: the result of other data; a paired test needs the same")


def _references(checksums: dict[str, str]) -> dict[str, str]:
    return {name: checksum for name, checksum in checksums.items() if name.startswith("raw/")}


def paired_bootstrap(metric: Metric, system: list[str], baseline: list[str], reference: list[str]) -> dict:
    """One score of two systems, and the two-sided p-value of their difference D.

    With the differences d of R resamples it is (1 + the number of d with |d - mean d| >= |D|) / (R + 1).

    Raises:
        UserError: the numbers of sentences differ, or SACREBLEU_SEED is not a number.
    """
    counts = {"system": len(system), "baseline": len(baseline), "reference": len(reference)}
    if len(set(counts.values())) > 1:
        listing = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        raise UserError(f"the numbers of sentences differ ({listing}); translate again")
    seed = _seed()  # which sacrebleu reads as well
    ours, theirs = (_resampled(metric, hypotheses, reference) for hypotheses in (system, baseline))
    difference = ours[0] - theirs[0]
    resampled = ours[1] - theirs[1]
    beyond = np.abs(resampled - resampled.mean()) >= abs(difference)
    signature = metric.get_signature()
    signature.update("bs", RESAMPLES)
    signature.update("seed", seed)
    return {
        "system": ours[0],
        "baseline": theirs[0],
        "difference": difference,
        "p": (1 + int(beyond.sum())) / (1 + RESAMPLES),
        "signature": str(signature),
    }


def _resampled(metric: Metric, hypotheses: list[str], reference: list[str]) -> tuple[float, np.ndarray]:
    """The score, and those of the resamples, which are the same sentences for every system."""
    score = metric.corpus_score(hypotheses, [reference]).score
    statistics = metric._extract_corpus_statistics(hypotheses, [reference])
    _, scores = _bootstrap_resample(statistics, metric, RESAMPLES)
    return score, np.array([resample.score for resample in scores])


def _seed() -> str:
    seed = os.environ.get("SACREBLEU_SEED", "12345")
    if not seed.isdecimal():  # with sacrebleu's "none" each system would have resamples of its own
        raise UserError(f"SACREBLEU_SEED is {seed}, expected a number, at least 0")
    return seed


def report(comparison: dict) -> str:
    """The comparison as lines of text."""
    lines = [f"against {comparison['baseline']}"]
    for name, test in comparison["scores"].items():
        values = f"{test['system']:6.2f} vs {test['baseline']:6.2f} ({test['difference']:+.2f}), p = {test['p']:.3f}"
        lines.append(f"{name.replace('_', ' '):25} {values}  {test['signature']}")
    return "\n".join(lines)
