"""Draws sentences about numbers, times and facts: how many there are, how old, how much, how long, when."""

from dataclasses import replace

from . import english, german, lexicon, phrases, time_lexicon, verb_lexicon
from .dice import Dice
from .meaning import Clause, Complement, NounPhrase, Phrase
from .spelling import Pair, say
from .words import Fixed, Tense, Verb


def existence(dice: Dice) -> Pair:
    """es gibt: there is, there are."""
    group, noun = dice.pick(phrases.members(("furniture", "vehicle", "thing")))
    adjectives = phrases.attributes(dice, group)
    kind = dice.pick(("a", "no", "many", "number"))
    number = phrases.quantity(dice, high=30) if kind == "number" else None
    plural = kind in ("many", "number")
    item = NounPhrase(noun, "" if number else kind, plural, adjectives, number)
    place = phrases.place_phrase(dice, dice.pick(lexicon.PLACES), "dat")
    thing, de_place = german.phrase(item, "acc"), german.complement(place)
    de = ["es", "gibt", *thing, *de_place] if dice.chance(0.4) else [*de_place, "gibt", "es", *thing]
    en = english.phrase(replace(item, determiner="") if kind == "no" else item)
    there = ["there", "are" if plural else "is", *(["no"] if kind == "no" else [])]
    return say(de, [*there, *en, *english.complement(place)])


def figure(dice: Dice) -> Pair:
    """Ages, prices, lengths of time and timetables."""
    return dice.pick((_age, _price, _length, _timetable, _profession, _duration_of_state))(dice)


def _stated(
    subject: Phrase, verb: Verb, de: str, en: str, tense: Tense = Tense.PRESENT, time: Fixed | None = None
) -> Pair:
    item = Clause(subject, verb, tense, (Complement(Fixed(de, en), role="predicate"),), time=time)
    return say(german.main_clause(item), english.main_clause(item))


def _age(dice: Dice) -> Pair:
    subject = phrases.subject(dice, ("person",))
    child = isinstance(subject, NounPhrase) and subject.noun in lexicon.NOUNS["child"]
    count = phrases.quantity(dice, 2, 14) if child else phrases.quantity(dice, 20, 79)
    return _stated(subject, verb_lexicon.TO_BE, f"{count.de} Jahre alt", f"{count.en} years old")


def _price(dice: Dice) -> Pair:
    group, noun = dice.pick(phrases.members(("goods", "vehicle", "pastry", "furniture")))
    subject = replace(phrases.noun_phrase(dice, group, noun), determiner="the", number=None, possessor=None)
    if group == "pastry":
        euros, cents = 2 + dice.below(18), dice.pick(("20", "50", "80"))
        de, en = f"{euros},{cents}", f"{euros}.{cents}"
    else:
        amount = phrases.quantity(dice)
        de, en = amount.de, amount.en
    return _stated(subject, verb_lexicon.TO_COST, f"{de} Euro", f"{en} euros", dice.pick((Tense.PRESENT, Tense.PAST)))


def _length(dice: Dice) -> Pair:
    noun = dice.pick(lexicon.NOUNS["event"])
    subject = replace(phrases.noun_phrase(dice, "event", noun), plural=False)
    unit = dice.pick(time_lexicon.SPANS[:3]) if noun.en == "course" else time_lexicon.SPANS[-1]
    count = phrases.quantity(dice, 2, 12)
    tense = dice.pick((Tense.PRESENT, Tense.PAST))
    return _stated(subject, verb_lexicon.TO_LAST, f"{count.de} {unit.de_plural}", f"{count.en} {unit.en}s", tense)


def _timetable(dice: Dice) -> Pair:
    hour, town = phrases.clock(dice), dice.pick(lexicon.TOWNS)
    kind = dice.pick(("leave", "arrive", "begin"))
    if kind == "begin":
        noun = dice.pick(lexicon.NOUNS["event"])
        subject = NounPhrase(noun, "the", adjectives=phrases.attributes(dice, "event"))
        verb, parts = verb_lexicon.TO_BEGIN, ()
    else:
        noun = dice.pick([noun for noun in lexicon.NOUNS["vehicle"] if noun.en in ("train", "bus", "ship")])
        subject = NounPhrase(noun, dice.pick(("the", "my", "our")))
        verb = verb_lexicon.TO_LEAVE if kind == "leave" else verb_lexicon.TO_ARRIVE
        parts = (Complement(town, "dat", "nach", "for", "place"),)
        if kind == "arrive":
            parts = (Complement(town, "dat", "in", "in", "place"),)
    item = Clause(subject, verb, dice.pick((Tense.PRESENT, Tense.PAST)), parts, time=hour)
    return say(german.main_clause(item), english.main_clause(item))


def _profession(dice: Dice) -> Pair:
    subject = phrases.subject(dice, ("kin",))
    while subject.plural:
        subject = phrases.subject(dice, ("kin",))
    job = dice.pick(lexicon.PROFESSIONS[subject.noun.gender])
    return _stated(subject, verb_lexicon.TO_BE, job.de, job.en, dice.pick((Tense.PRESENT, Tense.PAST)))


def _duration_of_state(dice: Dice) -> Pair:
    item = dice.pick((Fixed("krank", "ill"), Fixed("müde", "tired"), Fixed("in der Schweiz", "in Switzerland")))
    time = phrases.time(dice, Tense.SINCE)
    return _stated(phrases.subject(dice, ("person",)), verb_lexicon.TO_BE, item.de, item.en, Tense.SINCE, time)
