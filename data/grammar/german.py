"""German word order: phrases, the middle field, and clauses with the verb second, first or last."""

from dataclasses import replace

from . import german_forms as forms
from .lexicon import POSSESSIVES
from .meaning import Clause, Complement, Gap, Name, NounPhrase, Phrase, Pronoun
from .time_lexicon import JUST_NOW
from .words import Fixed, GermanVerb, Tense

DETERMINERS = {"the": "der", "a": "ein", "no": "kein", "this": "dies", "every": "jed", "which": "welch"}
DETERMINERS |= {"many": "viel", "a few": "ein paar", **POSSESSIVES}
CONTRACTIONS = {
    ("in", "dem"): "im",
    ("in", "das"): "ins",
    ("an", "dem"): "am",
    ("an", "das"): "ans",
    ("auf", "das"): "aufs",
    ("zu", "dem"): "zum",
    ("zu", "der"): "zur",
    ("von", "dem"): "vom",
}
# The middle field from left to right; SUBJECT is for a subject that is not in front.
LIGHT, SUBJECT, PRONOUN, KNOWN, TIME, FREQUENCY, OBJECT, NEGATION, MANNER, PLACE, BARE = range(11)


def phrase(item: Phrase, case: str) -> list[str]:
    """The words of a phrase in a case."""
    match item:
        case Pronoun():
            return [getattr(item, case)]
        case Name():
            return [item.text]
        case Gap():
            return []
        case Fixed():
            return item.de.split()
    return _noun_phrase(item, case)


def _noun_phrase(item: NounPhrase, case: str) -> list[str]:
    gender, plural = item.noun.gender, item.plural
    stem = item.determiner
    stem = stem.replace("'s", "s") if stem.endswith("'s") else DETERMINERS.get(stem, stem)
    word, endings = forms.determiner(stem, case, gender, plural)
    words = word.split()
    if item.number:
        words.append(item.number.de)
    words += [forms.adjective(adjective, endings, case, gender, plural) for adjective in item.adjectives]
    words.append(forms.noun(item.noun, case, plural))
    if item.possessor:
        words += phrase(item.possessor, "gen")
    if item.relative:
        words += relative(item)
    return words


def complement(item: Complement) -> list[str]:
    """A complement with its preposition, contracted with a definite article (in dem: im)."""
    words = phrase(item.phrase, item.case)
    if not item.de:
        return words
    if isinstance(item.phrase, NounPhrase) and item.phrase.determiner == "the":
        contracted = CONTRACTIONS.get((item.de, words[0]))
        if contracted:
            return [contracted, *words[1:]]
    return [item.de, *words]


def relative(item: NounPhrase) -> list[str]:
    """The relative clause of a noun phrase, commas included: , dem ich geholfen habe ,"""
    clause = item.relative
    case, preposition = "nom", []
    for part in clause.complements:
        if isinstance(part.phrase, Gap):
            case, preposition = part.case, part.de.split()
    pronoun = (
        "denen" if item.plural and case == "dat" else forms.ending(forms.DEFINITE, case, item.noun.gender, item.plural)
    )
    return [",", *preposition, pronoun, *verb_last(clause, without_gap=True), ","]


def _verbs(clause: Clause) -> tuple[str, list[str]]:
    """The finite verb, and its infinitive or participle."""
    verb, subject = clause.verb.de, clause.subject
    person, plural, past = subject.person, subject.plural, clause.tense is Tense.PAST
    if clause.modal and clause.modal.de:
        modal = clause.modal.de
        finite = forms.preterite(modal, person, plural) if past else None
        return finite or forms.present(GermanVerb(modal, ""), person, plural), [forms.infinitive(verb)]
    if not past:
        return forms.present(verb, person, plural), []
    finite = None if verb.prefix else forms.preterite(verb.infinitive, person, plural)
    if finite:
        return finite, []
    return forms.present(GermanVerb(verb.auxiliary, ""), person, plural), [verb.participle]


def _is_known(item: Phrase) -> bool:
    """Whether an object is definite and therefore precedes adverbs and nicht."""
    return isinstance(item, Name) or (
        isinstance(item, NounPhrase) and item.determiner not in ("", "a", "no", "many", "a few")
    )


def _is_bare(item: Phrase) -> bool:
    """Whether an object stays next to the verb: Klavier spielen, Wein trinken."""
    return isinstance(item, Fixed) or (isinstance(item, NounPhrase) and item.noun.mass and item.determiner == "")


def _rank(item: Complement, known_first: bool, after_subject: bool) -> int:
    """The position of a complement; pronouns precede a subject that is a noun: hat mich der Lehrer gefragt.

    sie (and ihr) does not: weil sie die Frau gefragt hat would have another meaning.
    """
    if item.de or item.role != "object":
        return PLACE if item.role == "place" else MANNER
    if isinstance(item.phrase, Pronoun):
        return PRONOUN if after_subject or item.phrase.acc == "sie" else LIGHT
    if _is_bare(item.phrase):
        return BARE
    return KNOWN if known_first and _is_known(item.phrase) else OBJECT


def _middle_field(clause: Clause, front) -> list[str]:
    """Everything between the two verb positions, except the part in front."""
    adverb = clause.frequency or (Fixed(clause.modal.adverb, "") if clause.modal and clause.modal.adverb else None)
    known_first = clause.negated or adverb is not None
    light_subject = isinstance(clause.subject, Pronoun)
    parts = [
        (_rank(item, known_first, light_subject), complement(item)) for item in clause.complements if item is not front
    ]
    if front != "subject":
        parts.append((SUBJECT, phrase(clause.subject, "nom")))
    if clause.verb.de.reflexive:
        parts.append((PRONOUN, [clause.subject.reflexive]) if light_subject else (LIGHT, ["sich"]))
    if clause.time and front != "time":
        parts.append((TIME, clause.time.de.split()))
    if clause.tense is Tense.NOW and clause.time is None:
        parts.append((TIME, JUST_NOW.de.split()))
    if adverb:
        parts.append((FREQUENCY, adverb.de.split()))
    if clause.negated and not _has_kein(clause):
        parts.append((NEGATION, ["nicht"]))
    parts.sort(key=lambda part: part[0])
    return [word for _, words in parts for word in words]


def _has_kein(clause: Clause) -> bool:
    return any(isinstance(item.phrase, NounPhrase) and item.phrase.determiner == "no" for item in clause.complements)


def _extraposed(clause: Clause) -> tuple[Clause, list[str]]:
    """The clause without the relative clause of an object, and that relative clause, which moves to the end."""
    for index, item in enumerate(clause.complements):
        if item is not clause.front and isinstance(item.phrase, NounPhrase) and item.phrase.relative:
            bare = replace(item, phrase=replace(item.phrase, relative=None))
            rest = (*clause.complements[:index], bare, *clause.complements[index + 1 :])
            return replace(clause, complements=rest), relative(item.phrase)
    return clause, []


def verb_first(clause: Clause, front=None) -> list[str]:
    """The finite verb, the middle field, the other verb or the separated prefix: ruft er gestern an."""
    clause, extraposed = _extraposed(clause)
    finite, others = _verbs(clause)
    prefix = [clause.verb.de.prefix] if clause.verb.de.prefix and not others else []
    return [finite, *_middle_field(clause, front), *others, *prefix, *extraposed]


def main_clause(clause: Clause) -> list[str]:
    """A statement: the finite verb is second, after the part that ``clause.front`` names."""
    front = clause.front
    if front == "subject":
        words = phrase(clause.subject, "nom")
    elif front == "time":
        words = clause.time.de.split()
    else:
        words = complement(front)
    return words + verb_first(clause, front)


def verb_last(clause: Clause, without_gap: bool = False) -> list[str]:
    """A subordinate clause without its conjunction; prefix and verb are one word again: anruft."""
    if without_gap:
        clause = replace(clause, complements=tuple(c for c in clause.complements if not isinstance(c.phrase, Gap)))
    finite, others = _verbs(clause)
    if not others:
        finite = clause.verb.de.prefix + finite
    return [*_middle_field(clause, None), *others, finite]


def infinitive_clause(clause: Clause) -> list[str]:
    """An infinitive with zu, after its complements: dich anzurufen."""
    return [*_middle_field(clause, "subject"), forms.infinitive(clause.verb.de, zu=True)]
