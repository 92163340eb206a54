"""English word order: phrases, and clauses with do, progressive, future and modals where needed."""

from . import english_forms as forms
from .meaning import Clause, Complement, Gap, Name, NounPhrase, Phrase, Pronoun
from .words import EnglishVerb, Fixed, Tense

ROLES = ("object", "predicate", "manner", "place", "companion")


def phrase(item: Phrase, subject: bool = False) -> list[str]:
    """The words of a phrase, as a subject or an object."""
    match item:
        case Pronoun():
            return [item.en_subject if subject else item.en_object]
        case Name():
            return [item.text]
        case Gap():
            return []
        case Fixed():
            return item.en.split()
    return _noun_phrase(item)


def _noun_phrase(item: NounPhrase) -> list[str]:
    words = [adjective.en for adjective in item.adjectives]
    words.append(forms.plural(item.noun) if item.plural else item.noun.en)
    if item.number:
        words.insert(0, item.number.en)
    determiner = item.determiner.split()
    if item.possessor:
        *others, owner = phrase(item.possessor)
        determiner = [*others, owner + "'s"]
    elif item.determiner == "this" and item.plural:
        determiner = ["these"]
    elif item.determiner == "no" and (item.plural or item.noun.mass):
        determiner = ["any"]
    elif item.determiner in ("a", "no"):
        determiner = [forms.article(words[0])]
    return determiner + words + (relative(item) if item.relative else [])


def complement(item: Complement) -> list[str]:
    """A complement with its preposition; the preposition of a gap is left stranded."""
    return [*item.en.split(), *phrase(item.phrase)]


def relative(item: NounPhrase) -> list[str]:
    """The relative clause of a noun phrase: who lives here, that I talked to."""
    is_subject = isinstance(item.relative.subject, Gap)
    return ["who" if item.human and is_subject else "that", *clause_words(item.relative)]


def _be(clause: Clause) -> str:
    tense = "past" if clause.tense is Tense.PAST else "present"
    return forms.to_be(tense, clause.subject.person, clause.subject.plural)


def _inflected(verb: EnglishVerb, clause: Clause, support: bool) -> tuple[str, str]:
    """Auxiliary and verb of the simple tenses; ``support`` adds do."""
    third = clause.subject.person == 3 and not clause.subject.plural
    if verb.base == "be":
        return _be(clause), ""
    if clause.tense is Tense.PAST:
        return ("did", verb.base) if support else ("", forms.past(verb))
    if support:
        return "does" if third else "do", verb.base
    return "", forms.third_person(verb) if third else verb.base


def _verbs(clause: Clause, support: bool) -> tuple[str, list[str]]:
    """The auxiliary, or "", and the other verbs."""
    verb, modal = clause.verb.en, clause.modal
    if modal:
        rest = [*modal.en_tail, verb.base]
        if not modal.en_verb:
            past = clause.tense is Tense.PAST
            return modal.en_past_auxiliary if past else modal.en_auxiliary, rest
        auxiliary, finite = _inflected(modal.en_verb, clause, support)
        return auxiliary, [finite, *rest]
    if clause.tense is Tense.NOW and not clause.verb.stative:
        return _be(clause), [forms.ing(verb)]
    if clause.tense is Tense.FUTURE:
        return "will", [verb.base]
    if clause.tense is Tense.SINCE:
        third = clause.subject.person == 3 and not clause.subject.plural
        return "has" if third else "have", [forms.participle(verb)]
    auxiliary, finite = _inflected(verb, clause, support)
    return auxiliary, [finite]


def _after_verb(clause: Clause) -> list[str]:
    """What follows the verbs; a particle comes after a pronoun: pick me up, pick up the guest."""
    parts = [complement(item) for item in sorted(clause.complements, key=lambda item: ROLES.index(item.role))]
    tail = clause.verb.en.tail.split()
    first = clause.complements[0] if clause.complements else None
    after_pronoun = first is not None and isinstance(first.phrase, Pronoun) and not first.en
    parts.insert(1 if after_pronoun else 0, tail)
    if clause.time and clause.front != "time":
        parts.append(clause.time.en.split())
    return [word for part in parts for word in part]


def clause_words(clause: Clause, inverted: bool = False) -> list[str]:
    """A clause; ``inverted`` puts the auxiliary before the subject, as questions do."""
    auxiliary, verbs = _verbs(clause, support=clause.negated or inverted)
    subject = phrase(clause.subject, subject=True)
    words = [auxiliary, *subject] if inverted else [*subject, auxiliary]
    if clause.negated:
        words.append("not")
    if clause.frequency:
        words.append(clause.frequency.en)
    words += verbs + _after_verb(clause)
    return [word for word in words if word]


def main_clause(clause: Clause) -> list[str]:
    """A statement; of the fronted parts, only a time is also in front here."""
    clause = clause.english or clause
    front = clause.time.en.split() if clause.front == "time" else []
    return front + clause_words(clause)


def infinitive_clause(clause: Clause) -> list[str]:
    """An infinitive with to: to call you."""
    return ["to", clause.verb.en.base, *_after_verb(clause)]
