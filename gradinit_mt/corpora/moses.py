"""Tokenization and lowercasing as the Moses scripts do them, in Python.

The library is sacremoses, a port of tokenizer.perl. It differs from the Perl script where a sentence ends in an
abbreviation; that rule is put right here, with a few rare characters, so that IWSLT'14 comes out byte for byte.
"""

from functools import partial

import regex
from sacremoses import MosesDetokenizer, MosesTokenizer

from gradinit_mt.corpora.workers import map_lines

# Python counts these four as white space; Perl does not, and the script deletes them without leaving a space.
SEPARATORS = regex.compile(r"[\x1c-\x1f]")
BLANK = regex.compile(r"[^\S\x1c-\x1f]*")


def perl_classes(rule: tuple) -> tuple:
    """A rule of sacremoses with Perl's character classes for its lists of letters and numbers.

    The lists lack Han and other scripts, so that those characters were torn apart, and hold Indic signs which are no
    letters to Perl.
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
    """sacremoses' tokenizer with what keeps it from tokenizer.perl put right."""

    PAD_NOT_ISALNUM = perl_classes(MosesTokenizer.PAD_NOT_ISALNUM)
    ENGLISH_SPECIFIC_APOSTROPHE = tuple(map(perl_classes, MosesTokenizer.ENGLISH_SPECIFIC_APOSTROPHE))
    FR_IT_SPECIFIC_APOSTROPHE = tuple(map(perl_classes, MosesTokenizer.FR_IT_SPECIFIC_APOSTROPHE))

    def islower(self, text: str) -> bool:
        """Whether all characters are lower case to Perl."""
        return regex.fullmatch(r"\p{Lowercase}+", text) is not None

    def isanyalpha(self, text: str) -> bool:
        """Whether any character is a letter to Perl."""
        return regex.search(r"\p{Alphabetic}", text) is not None

    def handles_nonbreaking_prefixes(self, text: str) -> str:
        """Splits the period off the last word whatever the word is: the script's rule since November 2018."""
        text = text.strip()
        if len(text) > 1 and text.endswith(".") and not text.endswith(" ."):
            text = text[:-1] + " ."
        return super().handles_nonbreaking_prefixes(text)

    def __call__(self, line: str) -> str:
        """The tokens of a line, joined by spaces, with the script's escapes (``&apos;``); a blank line as it is."""
        if BLANK.fullmatch(line):
            return line
        return self.tokenize(SEPARATORS.sub("", line), aggressive_dash_splits=False, return_str=True, escape=True)


def tokenize(lines: list[str], lang: str, workers: int = 1, label: str | None = None) -> list[str]:
    """Each line as ``tokenizer.perl -l lang`` writes it; compared with the script for German and English.

    Args:
        lines: sentences, one per line, without line ends.
        lang: language code; one that sacremoses has no abbreviations for is treated as English is.
        workers: processes to use.
        label: what a progress bar on stderr says; None shows none.
    """
    return map_lines(partial(PerlTokenizer, lang), lines, workers, label)


def detokenize(lines: list[str], lang: str) -> list[str]:
    """Each tokenized line (subwords joined already) as plain text, escapes undone, with sacremoses' detokenizer."""
    detokenizer = MosesDetokenizer(lang)
    return [detokenizer.detokenize(line.split()) for line in lines]


def lowercase(line: str) -> str:
    """The line as ``lowercase.perl`` writes it: character by character, also where Python knows a final sigma."""
    return "".join(map(str.lower, line)) if "Σ" in line else line.lower()
