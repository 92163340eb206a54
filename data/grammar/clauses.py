"""Draws clauses: a verb with its complements, a tense, and a part that may be in front."""

from dataclasses import replace
from functools import cache

from . import lexicon, phrases, time_lexicon, verb_lexicon
from .dice import Dice
from .meaning import Clause, Complement, Gap, NounPhrase, Phrase, Pronoun
from .words import Adjective, Fixed, Noun, Tense, Verb

UNWILLED_KINDS = (("past", 9), ("future", 4), ("will", 2), ("habit", 3), ("now", 3))
DYNAMIC_KINDS = (*UNWILLED_KINDS, ("modal", 4), ("past modal", 2), ("gern", 2))
STATIVE_KINDS = (("present", 6), ("past", 3))
# How often a kind has an adverbial of time that its verb form does not need.
OPTIONAL_TIME = {"past": 0.6, "modal": 0.35, "now": 0.25}


def clause(
    dice: Dice,
    doer: Phrase | None = None,
    kinds: tuple[str, ...] = (),
    verbs: tuple[Verb, ...] = verb_lexicon.VERBS,
    gap: Gap | None = None,
    affirmative: bool = False,
) -> Clause:
    """A clause with one of the verbs.

    ``doer`` is the subject, drawn if not given. ``kinds`` restricts the tenses; "condition", the bare present of wenn
    clauses, must be named. ``gap`` replaces the first complement.
    """
    usable = [verb for verb in verbs if _kinds_of(verb, kinds) and (doer is None or verb.subjects == ("person",))]
    verb = dice.pick(usable)
    kind = dice.weighted(_kinds_of(verb, kinds))
    doer = doer or phrases.subject(dice, verb.subjects)
    parts = [phrases.fill(dice, slot, doer) for slot in verb.slots if slot.chance == 1 or dice.chance(slot.chance)]
    if gap:
        parts[0] = replace(parts[0], phrase=gap)
    if verb.manners and dice.chance(0.45):
        parts.append(Complement(dice.pick(verb.manners), role="manner"))
    item = temporal(dice, Clause(doer, verb, Tense.PRESENT, tuple(parts)), kind)
    return item if affirmative else negate(dice, item)


def _kinds_of(verb: Verb, kinds: tuple[str, ...]) -> list[tuple[str, int]]:
    base = STATIVE_KINDS if verb.stative else UNWILLED_KINDS if verb.unwilled else DYNAMIC_KINDS
    own = [*base, ("condition", 6)]
    if verb.lasting:
        own.append(("since", 2))
    return [(kind, weight) for kind, weight in own if (kind in kinds if kinds else kind != "condition")]


def temporal(dice: Dice, item: Clause, kind: str) -> Clause:
    """The clause with a tense and adverbials of this kind."""
    if kind == "past":
        timed = not item.verb.stative and dice.chance(OPTIONAL_TIME[kind])
        return replace(item, tense=Tense.PAST, time=phrases.time(dice, Tense.PAST) if timed else None)
    if kind == "future":
        return replace(item, tense=Tense.FUTURE, time=phrases.time(dice, Tense.FUTURE))
    if kind == "now":
        when = phrases.time(dice, Tense.NOW) if dice.chance(OPTIONAL_TIME[kind]) else None
        return replace(item, tense=Tense.NOW, time=when)
    if kind == "since":
        return replace(item, tense=Tense.SINCE, time=phrases.time(dice, Tense.SINCE))
    if kind == "habit":
        if dice.chance(0.6):
            return replace(item, frequency=dice.pick(time_lexicon.FREQUENCIES))
        return replace(item, time=phrases.time(dice, Tense.PRESENT))
    if kind == "gern":
        return replace(item, modal=verb_lexicon.LIKING)
    if kind == "will":
        return replace(item, modal=verb_lexicon.WILL)
    if kind in ("modal", "past modal"):
        return _modal(dice, item, past=kind == "past modal")
    return item


def _modal(dice: Dice, item: Clause, past: bool) -> Clause:
    modal = dice.pick([modal for modal in verb_lexicon.MODALS[:-2] if modal.has_past or not past])
    when = None
    if dice.chance(OPTIONAL_TIME["modal"]):
        when = phrases.time(dice, Tense.PAST if past else Tense.FUTURE)
    return replace(item, modal=modal, tense=Tense.PAST if past else Tense.PRESENT, time=when)


def negate(dice: Dice, item: Clause, chance: float = 0.15) -> Clause:
    """The clause, sometimes negated: with kein for an indefinite object, otherwise with nicht."""
    if item.frequency or item.tense in (Tense.SINCE, Tense.NOW) or item.modal is verb_lexicon.LIKING:
        return item
    if not dice.chance(chance) or (isinstance(item.subject, NounPhrase) and item.subject.determiner == "every"):
        return item
    complements = list(item.complements)
    for index, part in enumerate(complements):
        noun = part.phrase
        if isinstance(noun, Fixed) and part.role == "object":
            return item
        if isinstance(noun, NounPhrase) and part.role == "object" and (noun.number or noun.determiner in VAGUE):
            return item
        if isinstance(noun, NounPhrase) and noun.determiner in ("", "a") and not part.de and part.role == "object":
            complements[index] = replace(part, phrase=replace(noun, determiner="no"))
    return replace(item, negated=True, complements=tuple(complements))


VAGUE = ("many", "a few", "every")


def with_front(dice: Dice, item: Clause) -> Clause:
    """The clause, sometimes with a time, an object or a place in front, if the case still identifies the subject."""
    if item.time and dice.chance(0.45):
        return replace(item, front="time")
    if item.negated or not dice.chance(0.5):
        return item
    candidates = [part for part in item.complements if can_lead(item, part)]
    return replace(item, front=dice.pick(candidates)) if candidates else item


def can_lead(item: Clause, part: Complement) -> bool:
    """Whether a complement in front cannot be mistaken for the subject."""
    if part.role == "place":
        return isinstance(part.phrase, NounPhrase | Fixed)
    noun = part.phrase
    if part.role != "object" or part.de or not isinstance(noun, NounPhrase):
        return False
    if part.case == "acc" and isinstance(item.subject, Pronoun) and item.subject.nom != "sie":
        return noun.determiner != ""
    if noun.determiner in ("", "a few") or noun.determiner.endswith("'s"):
        return False
    return part.case == "dat" or (noun.noun.gender == "m" and not noun.plural)


def state(dice: Dice, doer: Phrase | None = None, past: bool = False) -> Clause:
    """Somebody or something is old, tired, hungry or bigger than another, in the simple present or past."""
    tense = Tense.PAST if past else Tense.PRESENT
    if doer is None and dice.chance(0.4):
        return _thing_state(dice, tense)
    doer = _definite(doer or phrases.subject(dice, ("person",)))
    if dice.chance(0.3):
        return Clause(doer, verb_lexicon.TO_HAVE_AILMENT, tense, (Complement(dice.pick(verb_lexicon.AILMENTS)),))
    adjective = dice.pick(lexicon.PERSONAL)
    if adjective.de_comparative and dice.chance(0.25):
        other = phrases.person_object(dice, doer)
        if other is not doer:
            return _comparison(dice, doer, adjective, tense, other)
    return negate(dice, Clause(doer, verb_lexicon.TO_BE, tense, (_predicate(dice, adjective),)))


def _definite(item: Phrase) -> Phrase:
    """The noun phrase with "the" instead of "a", which would make a statement about all dogs."""
    return replace(item, determiner="the") if isinstance(item, NounPhrase) and item.determiner == "a" else item


def _predicate(dice: Dice, adjective: Adjective) -> Complement:
    if adjective in lexicon.COLOURS:
        return Complement(Fixed(adjective.de, adjective.en), role="predicate")
    degree = dice.weighted(((("", ""), 5), (("sehr ", "very "), 3), (("zu ", "too "), 1)))
    return Complement(Fixed(degree[0] + adjective.de, degree[1] + adjective.en), role="predicate")


def _thing_state(dice: Dice, tense: Tense) -> Clause:
    group = dice.pick(("thing", "clothes", "vehicle", "building", "writing", "machine", "pastry", "event", "place"))
    nouns = [place.noun for place in lexicon.PLACES] if group == "place" else lexicon.NOUNS[group]
    noun = dice.pick(nouns)
    doer = replace(_definite(phrases.noun_phrase(dice, group, noun, subject=True)), adjectives=())
    adjective = dice.pick(lexicon.ADJECTIVES[group])
    if adjective.de_comparative and dice.chance(0.35):
        other = phrases.noun_phrase(dice, group, dice.pick([item for item in nouns if item is not noun]))
        return _comparison(dice, doer, adjective, tense, _definite(other))
    return negate(dice, Clause(doer, verb_lexicon.TO_BE, tense, (_predicate(dice, adjective),)))


def _comparison(dice: Dice, doer: Phrase, adjective: Adjective, tense: Tense, other: Phrase) -> Clause:
    if dice.chance(0.4):
        parts = (
            Complement(Fixed(f"so {adjective.de}", f"as {adjective.en}"), role="predicate"),
            Complement(other, "nom", "wie", "as", "predicate"),
        )
    else:
        parts = (
            Complement(Fixed(adjective.de_comparative, adjective.en_comparative), role="predicate"),
            Complement(other, "nom", "als", "than", "predicate"),
        )
    return negate(dice, Clause(doer, verb_lexicon.TO_BE, tense, parts))


def liking(dice: Dice) -> Clause:
    """Das Buch gefällt mir is "I like the book": subject and object are swapped."""
    group, noun = dice.pick(phrases.members(("goods", "vehicle", "building", "event")))
    liked = phrases.noun_phrase(dice, group, noun)
    while liked.determiner in ("a", "many", "a few") or liked.number:
        liked = phrases.noun_phrase(dice, group, noun)
    liker = phrases.subject(dice, ("person",))
    english = Clause(liker, verb_lexicon.TO_PLEASE, Tense.PRESENT, (Complement(liked),))
    german = Clause(liked, verb_lexicon.TO_PLEASE, Tense.PRESENT, (Complement(liker, "dat"),), english=english)
    part = german.complements[0]
    if dice.chance(0.4) and (isinstance(liker, Pronoun) or can_lead(german, part)):
        german = replace(german, front=part)
    return german


def relative(dice: Dice, noun: NounPhrase, kinds: tuple[str, ...] = ("past", "present", "habit", "modal")) -> Clause:
    """A relative clause for a noun phrase, which is a Gap in it.

    The gap is an object only with ich, du, er or wir: die Frau, die das Kind sieht, is ambiguous.
    """
    gap = Gap(plural=noun.plural)
    if noun.human and dice.chance(0.6):
        return clause(dice, gap, kinds)
    doer = dice.pick((lexicon.ICH, lexicon.DU, lexicon.ER, lexicon.WIR))
    return clause(dice, doer, kinds, takers(noun.noun), gap, affirmative=True)


@cache
def takers(noun: Noun) -> tuple[Verb, ...]:
    """The verbs that can have this noun as their only object."""
    return tuple(
        verb
        for verb in verb_lexicon.VERBS
        if len(objects := [slot for slot in verb.slots if slot.role == "object"]) == 1
        and verb.slots[0] is objects[0]
        and any(noun is member for _, member in phrases.members(objects[0].groups))
    )
