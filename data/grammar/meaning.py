"""The meaning of a sentence, shared by both languages: phrases and clauses without word order."""

from dataclasses import dataclass

from .words import Adjective, Fixed, Modal, Noun, Tense, Verb


@dataclass(frozen=True)
class Pronoun:
    """A personal pronoun: German forms by case, reflexive form, English subject and object form."""

    person: int
    plural: bool
    nom: str
    acc: str
    dat: str
    reflexive: str
    en_subject: str
    en_object: str


@dataclass(frozen=True)
class Name:
    """A person's first name, the same in both languages."""

    text: str
    gender: str
    person: int = 3
    plural: bool = False


@dataclass(frozen=True)
class Gap:
    """An empty position, replaced by a relative pronoun, a question word or an infinitive."""

    person: int = 3
    plural: bool = False


@dataclass(frozen=True)
class NounPhrase:
    """A noun with its modifiers. ``determiner`` is English ("the", "a", "no", "my", a name's "Anna's", or "")."""

    noun: Noun
    determiner: str = ""
    plural: bool = False
    adjectives: tuple[Adjective, ...] = ()
    number: Fixed | None = None
    possessor: "NounPhrase | None" = None
    relative: "Clause | None" = None
    human: bool = False
    person: int = 3


Phrase = Pronoun | Name | Gap | NounPhrase | Fixed


@dataclass(frozen=True)
class Complement:
    """A phrase in its case, after the prepositions ``de`` and ``en`` if given; ``role`` as in Slot."""

    phrase: Phrase
    case: str = "acc"
    de: str = ""
    en: str = ""
    role: str = "object"


@dataclass(frozen=True)
class Clause:
    """One clause. ``time`` may be fronted, ``frequency`` stays inside; ``english`` replaces the clause in English."""

    subject: Phrase
    verb: Verb
    tense: Tense
    complements: tuple[Complement, ...] = ()
    modal: Modal | None = None
    negated: bool = False
    time: Fixed | None = None
    frequency: Fixed | None = None
    front: str | Complement = "subject"
    english: "Clause | None" = None
