"""German inflection: determiners, adjectives, nouns, verbs and numbers. Cases are nom, acc, dat, gen."""

from .words import Adjective, GermanVerb, Noun

# Each row gives the forms for masculine, feminine, neuter and the plural of all genders.
COLUMNS = ("m", "f", "n", "pl")
DEFINITE = {
    "nom": ("der", "die", "das", "die"),
    "acc": ("den", "die", "das", "die"),
    "dat": ("dem", "der", "dem", "den"),
    "gen": ("des", "der", "des", "der"),
}
DER_WORD = {
    "nom": ("er", "e", "es", "e"),
    "acc": ("en", "e", "es", "e"),
    "dat": ("em", "er", "em", "en"),
    "gen": ("es", "er", "es", "er"),
}
EIN_WORD = DER_WORD | {"nom": ("", "e", "", "e"), "acc": ("en", "e", "", "e")}
# Adjectives: weak after der words, mixed after ein words, strong if no determiner shows the case.
WEAK = {
    "nom": ("e", "e", "e", "en"),
    "acc": ("en", "e", "e", "en"),
    "dat": ("en", "en", "en", "en"),
    "gen": ("en", "en", "en", "en"),
}
MIXED = WEAK | {"nom": ("er", "e", "es", "en"), "acc": ("en", "e", "es", "en")}
STRONG = DER_WORD | {"gen": ("en", "er", "en", "er")}
DER_STEMS = ("dies", "jed", "welch")


def ending(table: dict, case: str, gender: str, plural: bool) -> str:
    """The entry of an ending table."""
    return table[case][COLUMNS.index("pl" if plural else gender)]


def determiner(stem: str, case: str, gender: str, plural: bool) -> tuple[str, dict]:
    """The inflected determiner and the adjective endings it requires.

    ``stem`` is "der", a der word (dies-, jed-, welch-), an ein word (ein, kein, mein, ...), "viel", or any other word
    or "", which are not inflected. The last three take strong endings: Annas alter Hund.
    """
    if stem == "der":
        return ending(DEFINITE, case, gender, plural), WEAK
    if stem in DER_STEMS:
        return stem + ending(DER_WORD, case, gender, plural), WEAK
    if stem in ("ein", "kein", "mein", "dein", "sein", "ihr", "unser"):
        return stem + ending(EIN_WORD, case, gender, plural), MIXED
    if stem == "viel":
        return stem + ending(DER_WORD, case, gender, plural), STRONG
    return stem, STRONG


def adjective(word: Adjective, table: dict, case: str, gender: str, plural: bool) -> str:
    """An adjective before its noun."""
    return (word.stem or word.de) + ending(table, case, gender, plural)


def noun(word: Noun, case: str, plural: bool) -> str:
    """A noun in its case. The genitive singular of masculine and neuter nouns must be in the lexicon."""
    if plural:
        needs_n = case == "dat" and not word.de_plural.endswith(("n", "s"))
        return word.de_plural + ("n" if needs_n else "")
    if word.weak and case in ("acc", "dat"):
        return word.genitive
    if case == "gen" and word.gender != "f":
        if not word.genitive:
            raise ValueError(f"{word.de}: has no genitive in the lexicon")
        return word.genitive
    return word.de


# Persons in the order ich, du, er, wir, (ihr is not used), sie.
IRREGULAR_PRESENT = {
    "sein": ("bin", "bist", "ist", "sind", "sind"),
    "haben": ("habe", "hast", "hat", "haben", "haben"),
    "werden": ("werde", "wirst", "wird", "werden", "werden"),
    "wissen": ("weiß", "weißt", "weiß", "wissen", "wissen"),
    "können": ("kann", "kannst", "kann", "können", "können"),
    "müssen": ("muss", "musst", "muss", "müssen", "müssen"),
    "wollen": ("will", "willst", "will", "wollen", "wollen"),
    "dürfen": ("darf", "darfst", "darf", "dürfen", "dürfen"),
    "sollen": ("soll", "sollst", "soll", "sollen", "sollen"),
    "mögen": ("mag", "magst", "mag", "mögen", "mögen"),
    "möchten": ("möchte", "möchtest", "möchte", "möchten", "möchten"),
}
PRETERITE_STEMS = {
    "haben": "hatte",
    "können": "konnte",
    "müssen": "musste",
    "wollen": "wollte",
    "dürfen": "durfte",
}


def _slot(person: int, plural: bool) -> int:
    if plural:
        return 3 if person == 1 else 4
    return person - 1


def _stem(infinitive: str) -> str:
    return infinitive[:-2] if infinitive.endswith("en") else infinitive[:-1]


def _needs_e(stem: str) -> bool:
    """Whether -st and -t need a vowel before them: arbeitest, regnet, öffnet, but lernt, wohnt, kommt."""
    return stem.endswith(("t", "d")) or (stem[-1] in "nm" and stem[-2] not in "aeiouäöülrhnm")


def present(verb: GermanVerb, person: int, plural: bool) -> str:
    """The present of a verb, without its separable prefix."""
    if verb.infinitive in IRREGULAR_PRESENT:
        return IRREGULAR_PRESENT[verb.infinitive][_slot(person, plural)]
    if plural:
        return verb.infinitive
    stem = _stem(verb.infinitive)
    if person == 1:
        return stem + "e"
    vowel = "e" if _needs_e(stem) and not verb.changed else ""
    stem = verb.changed or stem
    if person == 2:
        return stem + vowel + ("t" if stem.endswith(("s", "ß", "z")) else "st")
    # A changed stem in -d or -t has no extra e: er lädt.
    return stem + vowel + "t"


def preterite(infinitive: str, person: int, plural: bool) -> str | None:
    """The preterite of sein, haben and the modals, which use it instead of the perfect; None for other verbs."""
    if infinitive == "sein":
        return ("war", "warst", "war", "waren", "waren")[_slot(person, plural)]
    stem = PRETERITE_STEMS.get(infinitive)
    return None if stem is None else stem + ("", "st", "", "n", "n")[_slot(person, plural)]


def infinitive(verb: GermanVerb, zu: bool = False) -> str:
    """anrufen, or with zu: anzurufen, zu lesen."""
    if not zu:
        return verb.prefix + verb.infinitive
    return f"{verb.prefix}zu{verb.infinitive}" if verb.prefix else f"zu {verb.infinitive}"


UNITS = ("", "ein", "zwei", "drei", "vier", "fünf", "sechs", "sieben", "acht", "neun", "zehn", "elf", "zwölf")
TENS = ("", "", "zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig")
TEENS = {13: "dreizehn", 14: "vierzehn", 15: "fünfzehn", 16: "sechzehn", 17: "siebzehn", 18: "achtzehn", 19: "neunzehn"}


def number(value: int) -> str:
    """The number word for 1 to 99; units come before tens: einundzwanzig.

    Raises:
        ValueError: ``value`` is out of that range.
    """
    if not 1 <= value <= 99:
        raise ValueError(f"number word for {value}: expected 1 to 99")
    if value == 1:
        return "eins"
    if value <= 12:
        return UNITS[value]
    if value < 20:
        return TEENS[value]
    tens, units = divmod(value, 10)
    return TENS[tens] if units == 0 else f"{UNITS[units]}und{TENS[tens]}"
