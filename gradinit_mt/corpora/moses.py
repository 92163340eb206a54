"""Tokenization and lowercasing as the Moses scripts do them, in Python.

sacremoses is a port of tokenizer.perl. It differs from the script where a sentence ends in an abbreviation and for a
few rare characters. This file corrects both, so that IWSLT'14 comes out byte for byte.
"""

import regex
from sacremoses import MosesDetokenizer, MosesTokenizer

from gradinit_mt.corpora.workers import map_lines

# White space to Python but not to Perl: the script deletes these four characters without leaving a space.
SEPARATORS = regex.compile(r"[\x1c-\x1f]")
BLANK = regex.compile(r"[^\S\x1c-\x1f]*")


def perl_classes(rule: tuple[regex.Pattern, str]) -> tuple[regex.Pattern, str]:
    """A rule of sacremoses with Perl's character classes in place of its lists of letters and numbers.

    The lists lack Han and other scripts, whose words were therefore split into characters. They also contain Indic
    signs that are not letters in Perl.
    """
    pattern, replacement = rule[0].pattern, rule[1]
    for listed, properties in (
        (MosesTokenizer.IsAlnum, r"\p{Alphabetic}\p{Nd}"),
        (MosesTokenizer.IsAlpha, r"\p{Alphabetic}"),
        (MosesTokenizer.IsN, r"\p{N}"),
    ):
        pattern = pattern.replace(listed, properties)
    return regex.compile(pattern), replacement


class PerlTokenizer(MosesTokenizer):
    """sacremoses' tokenizer, corrected to match tokenizer.perl."""

    PAD_NOT_ISALNUM = perl_classes(MosesTokenizer.PAD_NOT_ISALNUM)
    ENGLISH_SPECIFIC_APOSTROPHE = tuple(map(perl_classes, MosesTokenizer.ENGLISH_SPECIFIC_APOSTROPHE))
    FR_IT_SPECIFIC_APOSTROPHE = tuple(map(perl_classes, MosesTokenizer.FR_IT_SPECIFIC_APOSTROPHE))

    def islower(self, text: str) -> bool:
        """Whether Perl considers all characters lower case."""
        return regex.fullmatch(r"\p{Lowercase}+", text) is not None

    def isanyalpha(self, text: str) -> bool:
        """Whether Perl considers any character a letter."""
        return regex.search(r"\p{Alphabetic}", text) is not None

    def handles_nonbreaking_prefixes(self, text: str) -> str:
        """Splits the period off the last word, whatever it is: the script's rule since November 2018."""
        text = text.strip()
        if len(text) > 1 and text.endswith(".") and not text.endswith(" ."):
            text = text[:-1] + " ."
        return super().handles_nonbreaking_prefixes(text)

    def __call__(self, line: str) -> str:
        """The tokens of a line, joined by spaces, with the script's escapes (``&apos;``); blank lines are unchanged."""
        if BLANK.fullmatch(line):
            return line
        return self.tokenize(SEPARATORS.sub("", line), aggressive_dash_splits=False, return_str=True, escape=True)


def tokenize(lines: list[str], lang: str, workers: int = 1, label: str | None = None) -> list[str]:
    """Each line as ``tokenizer.perl -l lang`` writes it; compared with the script for German and English.

    A language without abbreviations in sacremoses is treated as English. ``workers`` and ``label``: see ``map_lines``.
    """
    return map_lines(PerlTokenizer(lang), lines, workers, label)


def detokenize(lines: list[str], lang: str) -> list[str]:
    """Each tokenized line, its subwords already joined, as plain text without escapes, by sacremoses."""
    detokenizer = MosesDetokenizer(lang)
    return [detokenizer.detokenize(line.split()) for line in lines]


def lowercase(line: str) -> str:
    """The line as ``lowercase.perl`` writes it: character by character, without Python's rule for a final sigma."""
    return "".join(map(str.lower, line)) if "Σ" in line else line.lower()
