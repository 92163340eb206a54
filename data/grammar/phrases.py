"""Draws phrases: who and what, where, when, and how many."""

from functools import cache

from . import english_forms, german_forms, lexicon, time_lexicon
from .dice import Dice
from .meaning import Complement, Gap, Name, NounPhrase, Phrase, Pronoun
from .words import Fixed, Noun, Place, Slot, Tense

PRONOUN_OBJECTS = (lexicon.ICH, lexicon.DU, lexicon.ER, lexicon.SIE, lexicon.WIR)
# Determiners of each group, with weights. "name" is Annas, "whose" a person in the genitive after the noun.
DETERMINERS = {
    "kin": (("my", 5), ("your", 4), ("his", 3), ("her", 4), ("our", 3), ("name", 2)),
    "friend": (("my", 4), ("your", 3), ("his", 2), ("her", 3), ("our", 3), ("the", 5), ("a", 2), ("this", 1)),
    "people": (("the", 9), ("a", 4), ("this", 3), ("every", 1), ("many", 1)),
    "clothes": (("the", 6), ("a", 7), ("this", 2), ("name", 2), ("my", 4), ("your", 2), ("his", 2), ("her", 2)),
    "thing": (
        *(("the", 8), ("a", 8), ("this", 2), ("whose", 4), ("name", 2)),
        *(("my", 3), ("your", 2), ("his", 2), ("her", 2), ("our", 2), ("many", 1), ("a few", 1), ("number", 3)),
    ),
    "fixed": (("the", 7), ("a", 2), ("this", 2)),
    "mass": (("", 7), ("the", 3), ("this", 1)),
}
DETERMINERS |= {
    "child": DETERMINERS["people"],
    "opening": DETERMINERS["fixed"],
    "event": DETERMINERS["fixed"],
    "place": DETERMINERS["fixed"],
}
PEOPLE = lexicon.GROUP_SETS["person"]


def quantity(dice: Dice, low: int = 2, high: int = 99) -> Fixed:
    """A number in words; above twelve, sometimes in digits."""
    top = 12 if low < 12 and dice.chance(0.6) else high
    value = low + dice.below(top - low + 1)
    if value > 12 and dice.chance(0.4):
        return Fixed(str(value), str(value))
    return Fixed(german_forms.number(value), english_forms.number(value))


@cache
def members(groups: tuple[str, ...]) -> tuple[tuple[str, Noun], ...]:
    """The nouns of groups and group sets, each with its own group."""
    names = [name for group in groups for name in lexicon.GROUP_SETS.get(group, (group,))]
    return tuple((name, noun) for name in names for noun in lexicon.NOUNS.get(name, ()))


def noun_phrase(dice: Dice, group: str, noun: Noun, subject: bool = False) -> NounPhrase:
    """A noun with a determiner, number and adjectives that suit its group."""
    habits = DETERMINERS["mass"] if noun.mass else DETERMINERS.get(group, DETERMINERS["thing"])
    determiner = dice.weighted([item for item in habits if subject or item[0] != "every"])
    number = possessor = None
    plural = bool(noun.de_plural) and determiner in ("the", "this", "my", "our") and dice.chance(0.2)
    if determiner in ("number", "many", "a few"):
        plural = True
        if determiner == "number":
            determiner, number = "", quantity(dice, high=12 if subject else 99)
    elif determiner == "name":
        determiner = dice.pick(lexicon.NAMES).text + "'s"
    elif determiner == "whose":
        determiner, possessor = "the", owner(dice)
    return NounPhrase(noun, determiner, plural, attributes(dice, group), number, possessor, human=group in PEOPLE)


def owner(dice: Dice) -> NounPhrase:
    """A person in the singular, for the genitive."""
    _, noun = dice.pick(members(("kin", "friend")))
    return NounPhrase(noun, dice.pick(("my", "your", "his", "her", "our")), human=True)


def attributes(dice: Dice, group: str) -> tuple:
    """No, one or two adjectives in the order size, age, colour."""
    count = dice.weighted(((0, 13), (1, 6), (2, 1)))
    choices = [item for item in lexicon.ADJECTIVES[group] if item.en not in lexicon.PREDICATE_ONLY]
    chosen = []
    for _ in range(count):
        item = dice.pick(choices)
        if all(item.rank != other.rank for other in chosen):
            chosen.append(item)
    return tuple(sorted(chosen, key=lambda item: item.rank))


def subject(dice: Dice, groups: tuple[str, ...]) -> Phrase:
    """A subject of these groups; persons are mostly pronouns and names."""
    if groups == ("person",):
        kind = dice.weighted((("pronoun", 9), ("name", 3), ("noun", 10)))
        if kind == "pronoun":
            return dice.pick(lexicon.PRONOUNS)
        if kind == "name":
            return dice.pick(lexicon.NAMES)
    group, noun = dice.pick(members(groups))
    return noun_phrase(dice, group, noun, subject=True)


def pronoun_for(item: Phrase) -> Pronoun | None:
    """The pronoun that refers to a person, or None for children and girls, where German usage varies."""
    if isinstance(item, Pronoun):
        return item
    if isinstance(item, Name):
        return lexicon.ER if item.gender == "m" else lexicon.SIE
    if not isinstance(item, NounPhrase) or not item.human:
        return None
    if item.plural:
        return lexicon.SIE_PLURAL
    return {"m": lexicon.ER, "f": lexicon.SIE, "n": None}[item.noun.gender]


def person_object(dice: Dice, doer: Phrase) -> Phrase:
    """A pronoun or a name as an object, but never the doer or a group that includes the doer.

    With a Gap it is never sie: die Frauen, die sie gefragt haben, is ambiguous.
    """
    if dice.chance(0.3):
        return dice.pick(lexicon.NAMES)
    choices = [
        item
        for item in PRONOUN_OBJECTS
        if (item.person == 3 or item.person != doer.person) and not (isinstance(doer, Gap) and item.acc == "sie")
    ]
    return dice.pick(choices)


def place_phrase(dice: Dice, place: Place, case: str) -> Complement:
    """In the park, with the dative, or to the park, with the accusative or zu."""
    adjectives = attributes(dice, "place") if dice.chance(0.4) else ()
    item = NounPhrase(place.noun, "the", adjectives=adjectives)
    if case == "dat":
        return Complement(item, "dat", place.at_de, place.at_en, "place")
    return Complement(item, "dat" if place.to_de == "zu" else "acc", place.to_de, "to", "place")


def spot(dice: Dice, case: str) -> Complement:
    """On, under, next to or behind a piece of furniture."""
    de, en, allowed = dice.pick(lexicon.SPOTS)
    noun = dice.pick([item for item in lexicon.NOUNS["furniture"] if item.en in allowed])
    determiner = dice.weighted((("the", 6), ("my", 1), ("your", 1), ("this", 1)))
    adjectives = attributes(dice, "furniture") if dice.chance(0.5) else ()
    return Complement(NounPhrase(noun, determiner, adjectives=adjectives), case, de, en, "place")


def whereabouts(dice: Dice, kind: str) -> Complement:
    """A complement of place: "location", "residence", "direction", "journey", "spot" or "onto"."""
    if kind in ("spot", "onto"):
        return spot(dice, "dat" if kind == "spot" else "acc")
    going = kind in ("direction", "journey")
    far = kind in ("residence", "journey")
    if dice.chance(0.75 if far else 0.15):
        town = dice.pick(lexicon.TOWNS)
        de, en = ("nach", "to") if going else ("in", "in")
        return Complement(town, "dat", de, en, "place")
    if dice.chance(0.25):
        there, thither = lexicon.SWITZERLAND if far else dice.pick(lexicon.BARE_PLACES)
        return Complement(thither if going else there, role="place")
    places = [place for place in lexicon.PLACES if not far or place.noun.en in ("city", "village")]
    return place_phrase(dice, dice.pick(places), "acc" if going else "dat")


def fill(dice: Dice, slot: Slot, doer: Phrase) -> Complement:
    """A complement for a slot of a verb."""
    kind = slot.groups[0]
    if kind == "game":
        return Complement(dice.pick(lexicon.GAMES))
    if kind == "language" and (len(slot.groups) == 1 or dice.chance(0.5)):
        return Complement(dice.pick(lexicon.LANGUAGES))
    if kind == "transport":
        noun = dice.pick(lexicon.NOUNS["vehicle"])
        return Complement(Fixed(_the_dative(noun), noun.en), "dat", "mit", "by", "companion")
    if slot.role == "place":
        return whereabouts(dice, kind)
    if "pronoun" in slot.groups and dice.chance(0.4):
        item = person_object(dice, doer)
    else:
        item = noun_phrase(dice, *dice.pick(members(slot.groups)))
    return Complement(item, slot.case, slot.de, slot.en, slot.role)


def _the_dative(noun: Noun) -> str:
    return f"{german_forms.ending(german_forms.DEFINITE, 'dat', noun.gender, False)} {noun.de}"


def clock(dice: Dice) -> Fixed:
    """A time of day: halb acht is half past seven."""
    hour = 1 + dice.below(12)
    de, en = german_forms.number(hour), english_forms.number(hour)
    kind = dice.weighted((("full", 4), ("half", 3), ("after", 2), ("before", 2), ("digits", 3)))
    if kind == "full":
        return Fixed("um ein Uhr" if hour == 1 else f"um {de} Uhr", f"at {en} o'clock")
    if kind == "half":
        earlier = english_forms.number(hour - 1 or 12)
        return Fixed(f"um halb {de}", f"at half past {earlier}")
    if kind == "digits":
        hour, minute = 6 + dice.below(16), 5 + 5 * dice.below(11)
        return Fixed(f"um {hour}.{minute:02d} Uhr", f"at {hour}:{minute:02d}")
    word = {"after": ("nach", "past"), "before": ("vor", "to")}[kind]
    return Fixed(f"um Viertel {word[0]} {de}", f"at a quarter {word[1]} {en}")


def span(dice: Dice, units: tuple[Noun, ...] = time_lexicon.SPANS) -> tuple[str, str]:
    """A length of time, the German in the dative: drei Tagen, einer Woche."""
    noun = dice.pick(units)
    count = dice.weighted(((1, 2), (2, 3), (3, 3), (4, 1), (5, 2), (10, 1)))
    if count == 1:
        word, _ = german_forms.determiner("ein", "dat", noun.gender, False)
        return f"{word} {noun.de}", f"{english_forms.article(noun.en)} {noun.en}"
    de = f"{german_forms.number(count)} {german_forms.noun(noun, 'dat', True)}"
    return de, f"{english_forms.number(count)} {english_forms.plural(noun)}"


def time(dice: Dice, tense: Tense) -> Fixed:
    """An adverbial that fits one tense and no other."""
    if tense is Tense.SINCE:
        de, en = span(dice, time_lexicon.SPANS[:4])
        return Fixed(f"seit {de}", f"for {en}")
    if tense not in (Tense.PAST, Tense.FUTURE):
        return dice.pick(time_lexicon.TIMES[tense])
    kind = dice.weighted((("word", 9), ("day", 3), ("span", 3), ("date", 2), ("clock", 2)))
    day = dice.pick(time_lexicon.WEEKDAYS)
    if kind == "day":
        return Fixed(f"am {day.de}", f"on {day.en}")
    if kind == "span":
        de, en = span(dice)
        return Fixed(f"vor {de}", f"{en} ago") if tense is Tense.PAST else Fixed(f"in {de}", f"in {en}")
    if kind == "date":
        date, month = 1 + dice.below(28), dice.pick(time_lexicon.MONTHS)
        return Fixed(f"am {date}. {month.de}", f"on {date} {month.en}")
    if kind == "clock":
        hour = clock(dice)
        first = Fixed("gestern", "yesterday") if tense is Tense.PAST else Fixed("morgen", "tomorrow")
        return Fixed(f"{first.de} {hour.de}", f"{first.en} {hour.en}")
    return dice.pick(time_lexicon.TIMES[tense])
