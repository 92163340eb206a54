"""From the output of ``fairseq-generate`` to hypotheses in corpus order, as tokenized and as plain text.

The ``H-`` lines are read, and fairseq is asked for no post-processing, so they hold the subwords exactly as the model
produced them; words are put together here. (fairseq's ``D-`` lines would pass through its own ``--bpe`` and
``--tokenizer``, and its ``--post-process`` is one more option that a comparison could get wrong.)

An unknown symbol in a hypothesis becomes a word of its own, ``⁇`` (as SentencePiece writes it): it matches no
reference and so counts as one wrong word, in both kinds of score.
"""

import re

from gradinit_mt.corpora import moses
from gradinit_mt.evaluation import EvaluationError

UNKNOWN = "<unk>"  # fairseq's symbol, in the output of its Dictionary.string
UNKNOWN_WORD = "⁇"

_HYPOTHESIS = re.compile(r"H-(\d+)\t([^\t]+)\t(.*)", re.DOTALL)


def parse(lines: list[str], sentences: int, nbest: int = 1) -> list[str]:
    """The best hypothesis of each sentence, as subwords, in the order of the corpus.

    Args:
        lines: the output of ``fairseq-generate``, which orders sentences by length; other lines are passed over.
        sentences: how many sentences the corpus has; their ids are 0 to ``sentences`` - 1.
        nbest: how many hypotheses per sentence were asked for; the one of highest score is taken.

    Raises:
        EvaluationError: an id is missing, unknown, or has more than ``nbest`` hypotheses; a score is no number.
    """
    found: dict[int, list[tuple[float, str]]] = {}
    for line in lines:
        match = _HYPOTHESIS.fullmatch(line)
        if match is None:
            continue
        number, text = int(match[1]), match[3]
        try:
            found.setdefault(number, []).append((float(match[2]), text))
        except ValueError:
            raise EvaluationError(f"sentence {number}: {match[2]!r} is no score of fairseq-generate") from None
    _check_ids(found, sentences, nbest)
    return [max(found[number], key=lambda scored: scored[0])[1] for number in range(sentences)]


def _check_ids(found: dict[int, list], sentences: int, nbest: int) -> None:
    missing = [number for number in range(sentences) if number not in found]
    if missing:
        raise EvaluationError(
            f"{len(missing)} of {sentences} sentences have no hypothesis (first: {missing[0]}); generation stopped "
            "early, or left them out (--skip-invalid-size-inputs-valid-test, --required-batch-size-multiple above 1)"
        )
    strange = [number for number in found if number >= sentences]
    if strange:
        raise EvaluationError(
            f"hypothesis for sentence {min(strange)}, but the reference has {sentences} (0 to {sentences - 1}); "
            "was another corpus translated?"
        )
    for number, scored in found.items():
        if len(scored) > nbest:
            raise EvaluationError(f"sentence {number} has {len(scored)} hypotheses, not {nbest}; output of two runs?")


def join_subwords(lines: list[str], subword: str) -> list[str]:
    """The words of each line of subwords.

    Args:
        lines: subwords separated by blanks.
        subword: "subword-nmt" (``@@`` at the end of a piece joins it to the next) or "sentencepiece" (``▁`` at the
            start of a piece begins a word).

    Raises:
        EvaluationError: ``subword`` is neither of them.
    """
    if subword not in ("subword-nmt", "sentencepiece"):
        raise EvaluationError(f"unknown kind of subword {subword!r}; expected 'subword-nmt' or 'sentencepiece'")
    words = []
    for line in lines:
        if subword == "subword-nmt":
            text = re.sub(r"@@( |$)", "", line.replace(UNKNOWN, f" {UNKNOWN_WORD} "))
        else:
            text = line.replace(" ", "").replace("▁", " ").replace(UNKNOWN, f" {UNKNOWN_WORD} ")
        words.append(" ".join(text.split()))
    return words


def as_tokenized_lowercase(text: list[str], lang: str, moses_tokenized: bool) -> list[str]:
    """Moses tokens in lower case; text that is Moses-tokenized already is only lowercased."""
    tokenized = text if moses_tokenized else moses.tokenize(text, lang)
    return [moses.lowercase(line) for line in tokenized]


def as_detokenized(text: list[str], lang: str, moses_tokenized: bool) -> list[str]:
    """Plain text; text that was never Moses-tokenized is plain already."""
    return moses.detokenize(text, lang) if moses_tokenized else text
