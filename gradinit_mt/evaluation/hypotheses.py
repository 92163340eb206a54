"""From the output of ``fairseq-generate`` to hypotheses in corpus order, as tokenized and as plain text.

fairseq is not asked to post-process, so its ``H-`` lines hold the subwords exactly as the model produced them, and this
module joins them. (Its ``D-`` lines depend on ``--bpe``, ``--tokenizer`` and ``--post-process``, options that a
comparison could get wrong.)

An unknown symbol in a hypothesis becomes a separate word, ``⁇`` as in SentencePiece. It matches no reference, so both
kinds of score count it as one wrong word.
"""

import re

from gradinit_mt.common.errors import UserError
from gradinit_mt.corpora import moses

UNKNOWN = "<unk>"  # as written by fairseq's Dictionary.string
UNKNOWN_WORD = "⁇"

_HYPOTHESIS = re.compile(r"H-(\d+)\t([^\t]+)\t(.*)", re.DOTALL)


def parse(lines: list[str], sentences: int, nbest: int = 1) -> list[str]:
    """The best hypothesis of each sentence, as subwords, in the order of the corpus.

    Args:
        lines: the output of ``fairseq-generate``, which orders sentences by length; other lines are ignored.
        sentences: size of the corpus; its ids are 0 to ``sentences`` - 1.
        nbest: number of hypotheses requested per sentence; the one with the highest score is taken.

    Raises:
        UserError: an id is missing, unknown, or has more than ``nbest`` hypotheses; a score is not a number.
    """
    found: dict[int, list[tuple[float, str]]] = {}
    for match in filter(None, map(_HYPOTHESIS.fullmatch, lines)):
        try:
            found.setdefault(int(match[1]), []).append((float(match[2]), match[3]))
        except ValueError:
            raise UserError(f"sentence {match[1]}: {match[2]!r} is not a score of fairseq-generate") from None
    _check_ids(found, sentences, nbest)
    return [max(found[number], key=lambda scored: scored[0])[1] for number in range(sentences)]


def _check_ids(found: dict[int, list], sentences: int, nbest: int) -> None:
    if missing := [number for number in range(sentences) if number not in found]:
        raise UserError(
            f"{len(missing)} of {sentences} sentences have no hypothesis (first: {missing[0]}); generation stopped "
            "early, or skipped them (--skip-invalid-size-inputs-valid-test, --required-batch-size-multiple above 1)"
        )
    if unknown := [number for number in found if number >= sentences]:
        raise UserError(
            f"hypothesis for sentence {min(unknown)}, but the reference has {sentences} (0 to {sentences - 1}); "
            "was another corpus translated?"
        )
    for number, scored in found.items():
        if len(scored) > nbest:
            raise UserError(
                f"sentence {number} has {len(scored)} hypotheses, not {nbest}; is this the output of two runs?"
            )


def join_subwords(lines: list[str], subword: str) -> list[str]:
    """The words of each line of subwords.

    Args:
        lines: subwords separated by spaces.
        subword: "subword-nmt" (a final ``@@`` joins a piece to the next) or "sentencepiece" (an initial ``▁`` begins a
            word).
    """
    words = []
    for line in lines:
        if subword == "subword-nmt":
            text = re.sub(r"@@( |$)", "", line.replace(UNKNOWN, f" {UNKNOWN_WORD} "))
        else:
            text = line.replace(" ", "").replace("▁", " ").replace(UNKNOWN, f" {UNKNOWN_WORD} ")
        words.append(" ".join(text.split()))
    return words


def as_tokenized_lowercase(text: list[str], lang: str, moses_tokenized: bool) -> list[str]:
    """Moses tokens in lower case; text that is already Moses-tokenized is only lowercased."""
    tokenized = text if moses_tokenized else moses.tokenize(text, lang)
    return [moses.lowercase(line) for line in tokenized]


def as_detokenized(text: list[str], lang: str, moses_tokenized: bool) -> list[str]:
    """Plain text; text that was never Moses-tokenized is returned as it is."""
    return moses.detokenize(text, lang) if moses_tokenized else text
