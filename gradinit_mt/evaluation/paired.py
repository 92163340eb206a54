"""Whether two systems' scores on one test set differ by more than chance: sacrebleu's paired bootstrap (Koehn 2004).

1,000 resamples, sacrebleu's default seed 12345; both stand in the signatures (the environment variable
SACREBLEU_SEED changes the seed).
"""

from pathlib import Path

from sacrebleu.metrics.base import Metric
from sacrebleu.significance import PairedTest

from gradinit_mt.common.files import sha256, write_json
from gradinit_mt.evaluation import EvaluationError, results
from gradinit_mt.evaluation.scores import detokenized_metrics, tokenized_lowercase_metric


def compare(system: Path, baseline: Path) -> dict:
    """Tests the result in ``system`` against the one in ``baseline`` and notes the outcome in ``system``.

    Returns:
        What ``paired-CHECKSUM.json`` then holds: per score, both values, their difference, p-value and signature.

    Raises:
        EvaluationError: one of them is no result, or they are results over other data.
    """
    ours, theirs = results.load(system), results.load(baseline)
    for key, name in (("data_sha256", "data"), ("split", "split")):
        if ours["settings"][key] != theirs["settings"][key]:
            raise EvaluationError(f"{baseline}: other {name} than in {system}; a paired test needs the same")
    a, b = results.Texts.read(system), results.Texts.read(baseline)
    bleu, chrf = detokenized_metrics(ours["data"]["lowercased"])
    comparison = {
        "system": str(system.resolve()),
        "baseline": str(baseline.resolve()),
        "scores": {
            "tokenized_lowercase_bleu": paired_bootstrap(
                tokenized_lowercase_metric(), a.tokenized, b.tokenized, a.tokenized_reference
            ),
            "detokenized_bleu": paired_bootstrap(bleu, a.detokenized, b.detokenized, a.raw_reference),
            "detokenized_chrf": paired_bootstrap(chrf, a.detokenized, b.detokenized, a.raw_reference),
        },
    }
    write_json(system / f"paired-{sha256(baseline / results.SCORES)[:12]}.json", comparison)
    return comparison


def paired_bootstrap(metric: Metric, system: list[str], baseline: list[str], reference: list[str]) -> dict:
    """One score of two systems and the p-value of their difference (two-sided); 1 where there is no difference."""
    signatures, scores = PairedTest([("baseline", baseline), ("system", system)], {"": metric}, [reference], "bs")()
    ((name, signature),) = signatures.items()
    first, second = scores[name]
    return {
        "system": second.score,
        "baseline": first.score,
        "difference": second.score - first.score,
        # sacrebleu counts the resamples that differ by more; where none differs at all, that gives its smallest value
        "p": 1.0 if second.score == first.score else second.p_value,
        "signature": str(signature),
    }


def report(comparison: dict) -> str:
    """The comparison as lines of text."""
    lines = [f"against {comparison['baseline']}"]
    for name, test in comparison["scores"].items():
        values = f"{test['system']:6.2f} vs {test['baseline']:6.2f} ({test['difference']:+.2f}), p = {test['p']:.3f}"
        lines.append(f"{name.replace('_', ' '):25} {values}  {test['signature']}")
    return "\n".join(lines)
