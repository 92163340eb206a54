"""What the lexicon stores for a word. The two language modules inflect all other forms."""

import enum
from dataclasses import dataclass


class Tense(enum.Enum):
    """A tense of the meaning. German uses its present for all except PAST; the adverbial distinguishes them."""

    PRESENT = "present"  # er liest oft        he often reads
    NOW = "now"  # er liest gerade     he is reading
    FUTURE = "future"  # er liest morgen     he will read tomorrow
    SINCE = "since"  # er liest seit ...   he has read for ...
    PAST = "past"  # er hat gelesen      he read


@dataclass(frozen=True)
class Fixed:
    """Words that are never inflected: a city, an adverb, a predicate adjective."""

    de: str
    en: str


@dataclass(frozen=True)
class Noun:
    """A noun. ``gender`` is m, f or n; an empty ``en_plural`` is regular; ``weak`` nouns have -n in other cases."""

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
    """A complement of a verb: nouns of some ``groups`` in a case, after an optional preposition.

    ``role`` determines its position: object, predicate, place or companion. Groups include "location" and "direction"
    (see lexicon).
    """

    groups: tuple[str, ...]
    case: str = "acc"
    de: str = ""
    en: str = ""
    chance: float = 1.0
    role: str = "object"


@dataclass(frozen=True)
class Verb:
    """A verb in both languages with its complements.

    ``stative`` verbs have no progressive and no modal, ``unwilled`` verbs no modal; ``lasting`` verbs allow seit.
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
