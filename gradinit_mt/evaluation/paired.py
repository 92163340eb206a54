"""Whether two systems' scores on one test set differ by more than chance: sacrebleu's paired bootstrap (Koehn 2004).

It takes 1,000 resamples with sacrebleu's default seed 12345, unless the environment variable SACREBLEU_SEED sets
another. The signatures contain both numbers.
"""

from pathlib import Path

from sacrebleu.metrics.base import Metric
from sacrebleu.significance import PairedTest, Result

from gradinit_mt.common.errors import UserError
from gradinit_mt.common.files import sha256, write_json
from gradinit_mt.evaluation import results
from gradinit_mt.evaluation.scores import kinds


def compare(system: Path, baseline: Path) -> dict:
    """Tests the result in ``system`` against the one in ``baseline`` and saves the outcome in ``system``.

    Returns:
        The content of ``paired-CHECKSUM.json``: per score, both values, their difference, p-value and signature.

    Raises:
        UserError: one of them is not a result, or the results are of different data.
    """
    ours, theirs = results.load(system), results.load(baseline)
    require_same_data(ours["settings"], theirs, baseline)
    lowercased, target = ours["data"]["lowercased"], ours["data"].get("target", "")
    our_kinds, their_kinds = (
        kinds(results.Texts.read(directory), lowercased, target) for directory in (system, baseline)
    )
    comparison = {
        "system": str(system.resolve()),
        "baseline": str(baseline.resolve()),
        "scores": {
            key: paired_bootstrap(kind.metric, kind.hypotheses, their_kinds[key].hypotheses, kind.references)
            for key, kind in our_kinds.items()
        },
    }
    write_json(system / f"paired-{sha256(baseline / results.SCORES)[:12]}.json", comparison)
    return comparison


def require_same_data(settings: dict, baseline: dict, directory: Path) -> None:
    """Raises UserError if the baseline, the result in ``directory``, is not of the data in ``settings``."""
    for key, name in (("data_sha256", "data"), ("split", "split")):
        if settings[key] != baseline["settings"].get(key):
            raise UserError(f"{directory}: the result of other {name}; a paired test needs the same")


def paired_bootstrap(metric: Metric, system: list[str], baseline: list[str], reference: list[str]) -> dict:
    """One score of two systems, and the two-sided p-value of their difference: 1 if there is no difference.

    Raises:
        UserError: the numbers of sentences differ.
    """
    counts = {"system": len(system), "baseline": len(baseline), "reference": len(reference)}
    if len(set(counts.values())) > 1:
        listing = ", ".join(f"{name} {count:,}" for name, count in counts.items())
        raise UserError(f"the numbers of sentences differ ({listing}); translate again")
    signatures, scores = PairedTest([("baseline", baseline), ("system", system)], {"": metric}, [reference], "bs")()
    ((name, signature),) = signatures.items()
    first, second = (result for result in scores[name] if isinstance(result, Result))
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
