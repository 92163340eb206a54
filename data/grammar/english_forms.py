"""English inflection: plurals, verb forms, a or an, and number words."""

from .words import EnglishVerb, Noun

VOWELS = "aeiou"


def plural(noun: Noun) -> str:
    """The plural of a noun: from the lexicon if irregular, otherwise with -s, -es or -ies."""
    return noun.en_plural or add_s(noun.en)


def add_s(word: str) -> str:
    """-s as nouns and verbs take it: watches, stories, days."""
    if word.endswith("y") and word[-2] not in VOWELS:
        return word[:-1] + "ies"
    return word + ("es" if word.endswith(("s", "sh", "ch", "x", "z", "go", "do")) else "s")


def article(next_word: str) -> str:
    """a or an; in this vocabulary only "hour" is not pronounced as spelled."""
    return "an" if next_word[0] in VOWELS or next_word == "hour" else "a"


def third_person(verb: EnglishVerb) -> str:
    """he calls, he has (be has its own forms)."""
    return "has" if verb.base == "have" else add_s(verb.base)


def past(verb: EnglishVerb) -> str:
    """The simple past: irregular from the lexicon, else -ed."""
    if verb.past:
        return verb.past
    if verb.base.endswith("e"):
        return verb.base + "d"
    if verb.base.endswith("y") and verb.base[-2] not in VOWELS:
        return verb.base[:-1] + "ied"
    return verb.base + "ed"


def participle(verb: EnglishVerb) -> str:
    """The past participle, the same as the past unless the lexicon says otherwise."""
    return "been" if verb.base == "be" else verb.participle or past(verb)


def ing(verb: EnglishVerb) -> str:
    """The present participle; verbs that double a consonant have it in the lexicon."""
    if verb.ing:
        return verb.ing
    silent_e = verb.base.endswith("e") and not verb.base.endswith("ee") and verb.base != "be"
    return (verb.base[:-1] if silent_e else verb.base) + "ing"


def to_be(tense: str, person: int, plural_subject: bool) -> str:
    """am, are, is; was, were. ``tense`` is "present" or "past"."""
    first_or_third = not plural_subject and person != 2
    if tense == "past":
        return "was" if first_or_third else "were"
    if plural_subject or person == 2:
        return "are"
    return "am" if person == 1 else "is"


UNITS = (
    *("", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"),
    *("thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen"),
)
TENS = ("", "", "twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")


def number(value: int) -> str:
    """The number word for 1 to 99: twenty-one.

    Raises:
        ValueError: ``value`` is out of that range.
    """
    if not 1 <= value <= 99:
        raise ValueError(f"number word for {value}: expected 1 to 99")
    if value < 20:
        return UNITS[value]
    tens, units = divmod(value, 10)
    return TENS[tens] + (f"-{UNITS[units]}" if units else "")
