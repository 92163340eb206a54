"""Draws sentences: each kind combines clauses and expresses them in both languages."""

from dataclasses import replace

from . import clauses, english, german, lexicon, phrases, verb_lexicon
from .dice import Dice
from .figures import existence, figure
from .meaning import Clause, Gap, NounPhrase, Phrase, Pronoun
from .spelling import Pair, say
from .words import Fixed, Noun, Tense

# German conjunction, English conjunction.
CAUSES = (Fixed("weil", "because"), Fixed("obwohl", "although"))
CONDITIONS = (Fixed("wenn", "if"), Fixed("sobald", "as soon as"))
PAST_TIMES = (Fixed("als", "when"), Fixed("bevor", "before"))
PAST_KINDS = ("past", "past modal")
PRESENT_KINDS = ("present", "modal", "habit", "now", "will", "future", "since", "gern")
BEFORE_CONDITIONS = ("will", "future", "modal")


def sentence(dice: Dice) -> Pair:
    """One sentence in German and English, in which no noun occurs twice."""
    while True:
        pair = dice.weighted(KINDS)(dice)
        nouns = [word[:4] for word in pair[0].split() if word[0].isupper()]
        if len(set(nouns)) == len(nouns):
            return pair


def statement(dice: Dice) -> Pair:
    """One main clause, often with another part than the subject in front."""
    item = clauses.with_front(dice, clauses.clause(dice))
    return say(german.main_clause(item), english.main_clause(item))


def description(dice: Dice) -> Pair:
    """A description of somebody or something: adjectives, comparisons, haben for be."""
    item = clauses.state(dice, past=dice.chance(0.3))
    return say(german.main_clause(item), english.main_clause(item))


def liking(dice: Dice) -> Pair:
    """gefallen, whose subject is the English object."""
    item = clauses.liking(dice)
    return say(german.main_clause(item), english.main_clause(item))


def cause(dice: Dice) -> Pair:
    """weil or obwohl, before or after the main clause."""
    main = clauses.clause(dice)
    return _compound(dice, dice.pick(CAUSES), main, _other_clause(dice, main.subject, _kinds_beside(main)))


def condition(dice: Dice) -> Pair:
    """wenn or sobald, with "will" in the English main clause only."""
    conjunction = dice.pick(CONDITIONS)
    main = clauses.clause(dice, kinds=BEFORE_CONDITIONS, affirmative=conjunction.de == "sobald")
    return _compound(dice, conjunction, replace(main, time=None), _other_clause(dice, main.subject, ("condition",)))


def past_time(dice: Dice) -> Pair:
    """als or bevor, both clauses in the past."""
    conjunction = dice.pick(PAST_TIMES)
    main = clauses.clause(dice, kinds=("past",), affirmative=True)
    doer = phrases.pronoun_for(main.subject) or phrases.subject(dice, ("person",))
    if conjunction.de == "als" and dice.chance(0.4):
        other = clauses.state(dice, doer, past=True)
    else:
        other = clauses.clause(dice, doer, ("past",), affirmative=True)
    return _compound(dice, conjunction, replace(main, time=None), replace(other, time=None))


def _other_clause(dice: Dice, doer: Phrase, kinds: tuple[str, ...]) -> Clause:
    """The weather, a state, or a clause of these kinds; its subject usually refers to the first clause's ``doer``."""
    past = "past" in kinds and dice.chance(0.5 if "now" in kinds else 1)
    if dice.chance(0.12):
        verb = dice.pick((verb_lexicon.TO_RAIN, verb_lexicon.TO_SNOW))
        tense = Tense.PAST if past else Tense.NOW if "now" in kinds else Tense.PRESENT
        return Clause(lexicon.ES, verb, tense)
    pronoun = phrases.pronoun_for(doer) if dice.chance(0.6) else None
    subject = pronoun or phrases.subject(dice, ("person",))
    if dice.chance(0.3):
        return clauses.state(dice, subject, past=past)
    return clauses.clause(dice, subject, kinds)


def _kinds_beside(main: Clause) -> tuple[str, ...]:
    return PAST_KINDS if main.tense is Tense.PAST else PRESENT_KINDS


def _compound(dice: Dice, conjunction: Fixed, main: Clause, other: Clause) -> Pair:
    """A main and a subordinate clause; after a leading subordinate clause, the main verb follows immediately."""
    de_other = [conjunction.de, *german.verb_last(other)]
    en_other = [*conjunction.en.split(), *english.clause_words(other)]
    if dice.chance(0.4):
        return say([*de_other, ",", *german.verb_first(main)], [*en_other, ",", *english.clause_words(main)])
    main = clauses.with_front(dice, main)
    return say([*german.main_clause(main), ",", *de_other], [*english.main_clause(main), *en_other])


def report(dice: Dice) -> Pair:
    """A dass clause after a verb of saying or thinking."""
    doer = phrases.subject(dice, ("person",))
    matrix = Clause(doer, dice.pick(verb_lexicon.TO_SAY), Tense.PRESENT)
    other = _other_clause(dice, doer, PAST_KINDS + PRESENT_KINDS)
    return say(
        [*german.main_clause(matrix), ",", "dass", *german.verb_last(other)],
        [*english.main_clause(matrix), "that", *english.clause_words(other)],
    )


def doubt(dice: Dice) -> Pair:
    """An indirect question: ob, wo, wann or warum with the verb last; English has no do."""
    word = dice.pick((*QUESTION_WORDS, Fixed("ob", "whether")))
    other = _asked_about(dice, word)
    opening = dice.pick(OPENINGS)
    mark = "?" if opening.de.startswith(("weißt", "kannst")) else "."
    return say(
        [*opening.de.split(), ",", word.de, *german.verb_last(other)],
        [*opening.en.split(), word.en, *english.clause_words(other)],
        mark,
    )


def _asked_about(dice: Dice, word: Fixed) -> Clause:
    """A clause without the part that a question word asks for."""
    kinds = {"wann": ("past", "future", "modal"), "wo": ("past", "habit", "modal", "present")}.get(word.de, ())
    verbs = LOCATED if word.de == "wo" else verb_lexicon.VERBS
    item = clauses.clause(dice, kinds=kinds, verbs=verbs, affirmative=word.de in ("wo", "wann"))
    if word.de == "wann":
        item = replace(item, time=None)
    if word.de == "wo":
        item = replace(item, complements=tuple(part for part in item.complements if part.role != "place"))
    return item


def question(dice: Dice) -> Pair:
    """A question with or without a question word: the verb first or second, do in English."""
    word = dice.pick((None, None, *QUESTION_WORDS))
    item = _asked_about(dice, word or Fixed("", ""))
    de, en = german.verb_first(item), english.clause_words(item, inverted=True)
    return say([word.de, *de] if word else de, [word.en, *en] if word else en, "?")


def object_question(dice: Dice) -> Pair:
    """A question about an object: Welches Buch ..., Mit wem ...; English strands prepositions."""
    doer = phrases.subject(dice, ("person",))
    group, noun = dice.pick(phrases.members(("person", "goods", "vehicle", "drink", "dish")))
    item = clauses.clause(dice, doer, ("past", "modal", "present", "future"), clauses.takers(noun), Gap(), True)
    gap, *rest = item.complements
    asked = _question_phrase(dice, group, noun)
    lead = german.complement(replace(gap, phrase=asked))
    without = replace(item, complements=tuple(rest))
    return say(
        [*lead, *german.verb_first(without)],
        [*english.phrase(asked), *english.clause_words(item, inverted=True)],
        "?",
    )


def _question_phrase(dice: Dice, group: str, noun: Noun) -> Phrase:
    if group in phrases.PEOPLE:
        return WHO
    return NounPhrase(noun, "which", adjectives=phrases.attributes(dice, group))


def subject_question(dice: Dice) -> Pair:
    """A question about the subject: Wer ...? English has no do."""
    item = clauses.clause(dice, Gap(), affirmative=True)
    return say(["wer", *german.verb_first(item)], ["who", *english.clause_words(item)], "?")


def relative_subject(dice: Dice) -> Pair:
    """A relative clause within the subject."""
    item = clauses.clause(dice)
    while not _takes_relative(item.subject) or item.subject.determiner == "every":
        item = clauses.clause(dice)
    subject = replace(item.subject, determiner="the", possessor=None, number=None)
    item = clauses.with_front(dice, replace(item, subject=replace(subject, relative=clauses.relative(dice, subject))))
    return say(german.main_clause(item), english.main_clause(item))


def _takes_relative(item: Phrase) -> bool:
    """Whether a relative clause can identify the noun; relatives are too few to need one."""
    return isinstance(item, NounPhrase) and item.noun not in lexicon.NOUNS["kin"]


def relative_object(dice: Dice) -> Pair:
    """A relative clause of the last object, which German moves after the final verb."""
    while True:
        item = replace(clauses.clause(dice, affirmative=True), time=None)
        last = item.complements[-1] if item.complements else None
        if last and last.role == "object" and _takes_relative(last.phrase) and item.tense in BARE_TENSES:
            break
    noun = replace(last.phrase, possessor=None, number=None, determiner=dice.pick(("the", "a")))
    if noun.plural or noun.noun.mass:
        noun = replace(noun, determiner="the")
    noun = replace(noun, relative=clauses.relative(dice, noun))
    item = replace(item, complements=(*item.complements[:-1], replace(last, phrase=noun)))
    return say(german.main_clause(item), english.main_clause(item))


def purpose(dice: Dice) -> Pair:
    """um ... zu after a verb of motion."""
    main = clauses.clause(dice, kinds=("past", "future", "modal", "will"), verbs=MOTION, affirmative=True)
    if main.time:
        main = replace(main, front="time")
    doer = phrases.pronoun_for(main.subject) or main.subject
    other = _intended(dice, doer)
    other = replace(other, complements=tuple(part for part in other.complements if part.role != "place"))
    return say(
        [*german.main_clause(main), ",", "um", *german.infinitive_clause(other)],
        [*english.main_clause(main), *english.infinitive_clause(other)],
    )


def _intended(dice: Dice, doer: Phrase) -> Clause:
    """A clause whose verb can be an infinitive, without tense or modal."""
    item = clauses.clause(dice, doer, ("past",), INTENDED, affirmative=True)
    return replace(item, tense=Tense.PRESENT, time=None)


def attempt(dice: Dice) -> Pair:
    """An infinitive with zu after versuchen, vergessen or beschließen."""
    main = clauses.clause(dice, kinds=("past",), verbs=verb_lexicon.TO_ATTEMPT)
    if main.time:
        main = replace(main, front="time")
    other = _intended(dice, phrases.pronoun_for(main.subject) or main.subject)
    return say(
        [*german.main_clause(main), ",", *german.infinitive_clause(other)],
        [*english.main_clause(main), *english.infinitive_clause(other)],
    )


def pair_of_clauses(dice: Dice) -> Pair:
    """Two main clauses with aber, und or deshalb; deshalb is in front and moves the verb before the subject."""
    first = clauses.with_front(dice, clauses.clause(dice))
    second = _other_clause(dice, first.subject, _kinds_beside(first))
    word = dice.pick((Fixed("aber", "but"), Fixed("und", "and"), Fixed("deshalb", "so")))
    follow = german.verb_first(second) if word.de == "deshalb" else german.main_clause(second)
    comma = [] if word.de == "und" else [","]
    return say(
        [*german.main_clause(first), *comma, word.de, *follow],
        [*english.main_clause(first), ",", word.en, *english.main_clause(second)],
    )


QUESTION_WORDS = (Fixed("wo", "where"), Fixed("wann", "when"), Fixed("warum", "why"))
OPENINGS = (
    Fixed("ich weiß nicht", "I do not know"),
    Fixed("wir wissen nicht", "we do not know"),
    Fixed("weißt du", "do you know"),
    Fixed("kannst du mir sagen", "can you tell me"),
    Fixed("er möchte wissen", "he would like to know"),
    Fixed("sie fragt sich", "she wonders"),
)
WHO = Pronoun(3, False, "wer", "wen", "wem", "sich", "who", "who")
BARE_TENSES = (Tense.PAST, Tense.PRESENT)
MOTION = tuple(
    verb for verb in verb_lexicon.VERBS if any(slot.groups[0] in ("direction", "journey") for slot in verb.slots)
)
LOCATED = tuple(
    verb
    for verb in verb_lexicon.VERBS
    if any(slot.groups[0] in ("location", "residence", "spot") for slot in verb.slots)
)
INTENDED = tuple(
    verb
    for verb in verb_lexicon.VERBS
    if not (verb.stative or verb.unwilled) and not any(slot.role == "place" and slot.chance == 1 for slot in verb.slots)
)

KINDS = (
    (statement, 30),
    (cause, 10),
    (condition, 6),
    (past_time, 5),
    (report, 7),
    (doubt, 4),
    (question, 8),
    (object_question, 4),
    (subject_question, 2),
    (relative_subject, 5),
    (relative_object, 7),
    (purpose, 4),
    (attempt, 4),
    (pair_of_clauses, 5),
    (description, 8),
    (liking, 4),
    (existence, 4),
    (figure, 7),
)
