"""The Moses tokenizer in Python, on cases whose expected output is that of tokenizer.perl."""

import pytest

from gradinit_mt.corpora.moses import detokenize, lowercase, tokenize

PERL = [
    # The period is split off any last word.
    ("de", "Sie nimmt die Linie A.", "Sie nimmt die Linie A ."),
    ("en", "He lives in the U.S.", "He lives in the U.S ."),
    ("en", "John vs. Doe, says vs.", "John vs. Doe , says vs ."),
    ("en", "No. 5 is alive. No.", "No. 5 is alive . No ."),
    # Abbreviations inside a sentence keep their period.
    ("de", "Das ist z.B. gut, d.h. sehr gut.", "Das ist z.B. gut , d.h. sehr gut ."),
    ("de", "Dr. Schmidt wohnt in Nr. 5.", "Dr. Schmidt wohnt in Nr. 5 ."),
    ("en", "e.g. this one...", "e.g. this one ..."),
    # Numbers, commas, hyphens.
    ("de", "Es kostet 1.000,50 Euro (ca. 3 %).", "Es kostet 1.000,50 Euro ( ca. 3 % ) ."),
    ("en", "A,B,C,D and 5,300", "A , B , C , D and 5,300"),
    ("de", "Top-Qualität – 5,", "Top-Qualität – 5 ,"),  # noqa: RUF001
    # Apostrophes by language, escapes.
    ("de", "Wie geht's?", "Wie geht &apos; s ?"),
    ("en", "Mr. Smith said it's the dogs' bone.", "Mr. Smith said it &apos;s the dogs &apos; bone ."),
    ("en", "It was the 1990's.", "It was the 1990 &apos;s ."),
    ("en", "rock'n'roll", "rock &apos;n&apos;roll"),
    ("en", "'quoted.'", "&apos;quoted . &apos; "),
    ("de", '"Hallo", sagt er...', "&quot; Hallo &quot; , sagt er ..."),
    ("de", "a|b [c] <d> & e", "a &#124; b &#91; c &#93; &lt; d &gt; &amp; e"),
    # Letters unknown to sacremoses, and characters that are white space to Python only.
    ("de", "Er liest 漢字 und kana あい.", "Er liest 漢字 und kana あい ."),
    ("en", "The 漢's '漢' sign", "The 漢 &apos;s &apos; 漢 &apos; sign"),
    ("de", "ein\x1cWort", "einWort"),
    ("de", "  viele   Leerzeichen  ", "viele Leerzeichen"),
    ("de", "\u00a0", "\u00a0"),
    ("de", "", ""),
]


@pytest.mark.parametrize(("lang", "line", "expected"), PERL)
def test_tokenizes_like_the_perl_script(lang, line, expected):
    assert tokenize([line], lang) == [expected]


def test_processes_keep_the_order():
    lines = [f"Satz {number}, Linie A." for number in range(2500)]
    assert tokenize(lines, "de", workers=2) == [f"Satz {number} , Linie A ." for number in range(2500)]


def test_lowercase_has_no_rule_for_a_final_sigma():
    assert lowercase("ΟΔΟΣ ÄÖÜ İ") == "οδοσ äöü i̇"


@pytest.mark.parametrize(
    ("lang", "text"),
    [
        ("en", "I can't; it's the dogs' bone (well-known)."),
        ("de", 'Er sagt: "Es kostet 1.000,50 Euro & mehr!"'),
        ("de", "a [b] | c"),
    ],
)
def test_detokenize_undoes_tokenize(lang, text):
    assert detokenize(tokenize([text], lang), lang) == [text]
