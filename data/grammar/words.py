"""What the lexicon stores of a word. All other forms are inflected from it by the two language modules."""

import enum
from dataclasses import dataclass


class Tense(enum.Enum):
    """A tense of the meaning. German says all but PAST with its present; the adverbial tells them apart."""

    PRESENT = "present"  # er liest oft        he often reads
    NOW = "now"  # er liest gerade     he is reading
    FUTURE = "future"  # er liest morgen     he will read tomorrow
    SINCE = "since"  # er liest seit ...   he has read for ...
    PAST = "past"  # er hat gelesen      he read


@dataclass(frozen=True)
class Fixed:
    """Words that are the same wherever they stand: a city, an adverb, a predicate adjective."""

    de: str
    en: str


@dataclass(frozen=True)
class Noun:
    """A noun. ``gender`` is m, f or n; an empty ``en_plural`` is regular; ``weak`` nouns add -n off the nominative."""

    de: str
    gender: str
    de_plural: str
    en: str
    en_plural: str = ""
    genitive: str = ""
    weak: bool = False
    mass: bool = False


@dataclass(frozen=True)
class Adjective:
    """An adjective. ``stem`` is the German form before endings (teuer: teur-); ``rank`` orders size, age, colour."""

    de: str
    en: str
    rank: int = 1
    stem: str = ""
    de_comparative: str = ""
    en_comparative: str = ""


@dataclass(frozen=True)
class GermanVerb:
    """A verb without its separable ``prefix``; ``changed`` is the stem of du and er where it differs (schläf-)."""

    infinitive: str
    participle: str
    prefix: str = ""
    changed: str = ""
    auxiliary: str = "haben"
    reflexive: bool = False


@dataclass(frozen=True)
class EnglishVerb:
    """A verb; empty forms are regular. ``tail`` follows the verb and never changes: get *up*, be *called*."""

    base: str
    past: str = ""
    participle: str = ""
    ing: str = ""
    tail: str = ""


@dataclass(frozen=True)
class Slot:
    """A complement a verb takes: nouns of some ``groups`` in a case, after a preposition if one is given.

    ``role`` places it: object, predicate, place or companion. Groups may be "location" and "direction" (see lexicon).
    """

    groups: tuple[str, ...]
    case: str = "acc"
    de: str = ""
    en: str = ""
    chance: float = 1.0
    role: str = "object"


@dataclass(frozen=True)
class Verb:
    """A verb in both languages with what it takes.

    ``stative`` verbs have no progressive and no modal, ``unwilled`` ones only no modal; ``lasting`` ones take seit.
    """

    de: GermanVerb
    en: EnglishVerb
    slots: tuple[Slot, ...] = ()
    subjects: tuple[str, ...] = ("person",)
    stative: bool = False
    lasting: bool = False
    unwilled: bool = False
    manners: tuple[Fixed, ...] = ()


@dataclass(frozen=True)
class Modal:
    """A German modal verb, or the adverb gern, and its English counterpart: an auxiliary, or a verb with a tail."""

    de: str
    en_verb: EnglishVerb | None = None
    en_auxiliary: str = ""
    en_past_auxiliary: str = ""
    en_tail: tuple[str, ...] = ()
    adverb: str = ""
    has_past: bool = False


@dataclass(frozen=True)
class Place:
    """A place with the prepositions for being there (German takes the dative) and for going there."""

    noun: Noun
    at_de: str
    at_en: str
    to_de: str
