"""The grammar of the sample corpus, compared with German and English forms written by hand."""

import pytest
from grammar import english, english_forms, german, german_forms, lexicon, verb_lexicon
from grammar.meaning import Clause, Complement, Gap, NounPhrase
from grammar.spelling import text
from grammar.words import Fixed, Tense

CASES = ("nom", "acc", "dat", "gen")


# ---- German forms

NOUNS = {noun.de: noun for group in lexicon.NOUNS.values() for noun in group}
ADJECTIVES = {adjective.de: adjective for group in lexicon.ADJECTIVES.values() for adjective in group}
VERBS = {german_forms.infinitive(verb.de): verb for verb in verb_lexicon.VERBS}
PARADIGMS = {
    ("the", "alt", "Mann", False): "der alte Mann|den alten Mann|dem alten Mann|des alten Mannes",
    ("a", "alt", "Mann", False): "ein alter Mann|einen alten Mann|einem alten Mann|eines alten Mannes",
    ("the", "alt", "Mann", True): "die alten Männer|die alten Männer|den alten Männern|der alten Männer",
    ("no", "alt", "Mann", True): "keine alten Männer|keine alten Männer|keinen alten Männern|keiner alten Männer",
    ("", "alt", "Mann", True): "alte Männer|alte Männer|alten Männern|alter Männer",
    ("our", "klug", "Frau", False): "unsere kluge Frau|unsere kluge Frau|unserer klugen Frau|unserer klugen Frau",
    ("this", "klug", "Frau", True): "diese klugen Frauen|diese klugen Frauen|diesen klugen Frauen|dieser klugen Frauen",
    ("my", "klein", "Kind", False): "mein kleines Kind|mein kleines Kind|meinem kleinen Kind|meines kleinen Kindes",
    ("this", "klein", "Kind", False): "dieses kleine Kind|dieses kleine Kind|diesem kleinen Kind|dieses kleinen Kindes",
    (
        "many",
        "klein",
        "Kind",
        True,
    ): "viele kleine Kinder|viele kleine Kinder|vielen kleinen Kindern|vieler kleiner Kinder",
    (
        "the",
        "jung",
        "Student",
        False,
    ): "der junge Student|den jungen Studenten|dem jungen Studenten|des jungen Studenten",
    (
        "a",
        "jung",
        "Nachbar",
        False,
    ): "ein junger Nachbar|einen jungen Nachbarn|einem jungen Nachbarn|eines jungen Nachbarn",
    ("every", "klug", "Mädchen", False): (
        "jedes kluge Mädchen|jedes kluge Mädchen|jedem klugen Mädchen|jedes klugen Mädchens"
    ),
    ("Anna's", "reich", "Freund", False): (
        "Annas reicher Freund|Annas reichen Freund|Annas reichem Freund|Annas reichen Freundes"
    ),
}
# The lexicon has no genitives of things, since only people own things.
SHORT_PARADIGMS = {
    ("", "kalt", "Wein", False): "kalter Wein|kalten Wein|kaltem Wein",
    ("", "kalt", "Milch", False): "kalte Milch|kalte Milch|kalter Milch",
    ("", "kalt", "Wasser", False): "kaltes Wasser|kaltes Wasser|kaltem Wasser",
    ("a", "teuer", "Auto", False): "ein teures Auto|ein teures Auto|einem teuren Auto",
    ("the", "teuer", "Auto", True): "die teuren Autos|die teuren Autos|den teuren Autos",
    ("her", "dunkel", "Zimmer", False): "ihr dunkles Zimmer|ihr dunkles Zimmer|ihrem dunklen Zimmer",
    ("a few", "grün", "Apfel", True): "ein paar grüne Äpfel|ein paar grüne Äpfel|ein paar grünen Äpfeln",
}


@pytest.mark.parametrize(("phrase", "forms"), [*PARADIGMS.items(), *SHORT_PARADIGMS.items()])
def test_noun_phrases_in_all_cases(phrase, forms):
    determiner, adjective, noun, plural = phrase
    item = NounPhrase(NOUNS[noun], determiner, plural, (ADJECTIVES[adjective],))
    written = forms.split("|")
    assert [" ".join(german.phrase(item, case)) for case in CASES[: len(written)]] == written


def test_prepositions_contract_with_the_article_and_only_with_it():
    def said(preposition, case, place, determiner="the"):
        noun = next(item.noun for item in lexicon.PLACES if item.noun.de == place)
        return " ".join(german.complement(Complement(NounPhrase(noun, determiner), case, preposition, "")))

    assert said("in", "dat", "Park") == "im Park"
    assert said("in", "acc", "Theater") == "ins Theater"
    assert said("in", "acc", "Park") == "in den Park"
    assert said("in", "dat", "Küche") == "in der Küche"
    assert said("zu", "dat", "Bahnhof") == "zum Bahnhof"
    assert said("in", "dat", "Park", "this") == "in diesem Park"


@pytest.mark.parametrize(
    ("verb", "forms"),
    [
        ("kaufen", "kaufe kaufst kauft kaufen kaufen"),
        ("arbeiten", "arbeite arbeitest arbeitet arbeiten arbeiten"),
        ("öffnen", "öffne öffnest öffnet öffnen öffnen"),
        ("lernen", "lerne lernst lernt lernen lernen"),
        ("reisen", "reise reist reist reisen reisen"),
        ("putzen", "putze putzt putzt putzen putzen"),
        ("schließen", "schließe schließt schließt schließen schließen"),
        ("füttern", "füttere fütterst füttert füttern füttern"),
        ("lesen", "lese liest liest lesen lesen"),
        ("essen", "esse isst isst essen essen"),
        ("geben", "gebe gibst gibt geben geben"),
        ("fahren", "fahre fährst fährt fahren fahren"),
        ("haben", "habe hast hat haben haben"),
        ("einladen", "lade lädst lädt laden laden"),
    ],
)
def test_present(verb, forms):
    persons = ((1, False), (2, False), (3, False), (1, True), (3, True))
    assert [german_forms.present(VERBS[verb].de, *person) for person in persons] == forms.split()


def test_participles_have_ge_unless_the_verb_has_an_unstressed_prefix_or_ends_in_ieren():
    for name, verb in VERBS.items():
        unstressed = verb.de.infinitive.startswith(("be", "er", "ver", "gehör")) or name.endswith("ieren")
        stem = verb.de.participle.removeprefix(verb.de.prefix)
        assert verb.de.participle == verb.de.prefix + stem
        assert stem.startswith("ge") != unstressed or name == "gehören", name


NUMBERS = {
    1: ("eins", "one"),
    2: ("zwei", "two"),
    7: ("sieben", "seven"),
    10: ("zehn", "ten"),
    11: ("elf", "eleven"),
    12: ("zwölf", "twelve"),
    13: ("dreizehn", "thirteen"),
    15: ("fünfzehn", "fifteen"),
    16: ("sechzehn", "sixteen"),
    17: ("siebzehn", "seventeen"),
    18: ("achtzehn", "eighteen"),
    20: ("zwanzig", "twenty"),
    21: ("einundzwanzig", "twenty-one"),
    30: ("dreißig", "thirty"),
    34: ("vierunddreißig", "thirty-four"),
    43: ("dreiundvierzig", "forty-three"),
    56: ("sechsundfünfzig", "fifty-six"),
    60: ("sechzig", "sixty"),
    67: ("siebenundsechzig", "sixty-seven"),
    70: ("siebzig", "seventy"),
    71: ("einundsiebzig", "seventy-one"),
    82: ("zweiundachtzig", "eighty-two"),
    99: ("neunundneunzig", "ninety-nine"),
}


def test_number_words():
    assert {value: (german_forms.number(value), english_forms.number(value)) for value in NUMBERS} == NUMBERS
    for forms in (german_forms, english_forms):
        assert len({forms.number(value) for value in range(1, 100)}) == 99
        for value in (0, 100):
            with pytest.raises(ValueError, match=f"{value}: expected 1 to 99"):
                forms.number(value)


# ---- English forms


def test_english_spelling():
    def verb(base, **forms):
        return verb_lexicon.EnglishVerb(base, **forms)

    assert [english_forms.third_person(verb(base)) for base in ("call", "watch", "cry", "play", "go", "have")] == (
        ["calls", "watches", "cries", "plays", "goes", "has"]
    )
    assert [english_forms.past(verb(base)) for base in ("call", "dance", "try", "play")] == (
        ["called", "danced", "tried", "played"]
    )
    assert [english_forms.ing(verb(base)) for base in ("write", "see", "cry", "be")] == [
        "writing",
        "seeing",
        "crying",
        "being",
    ]
    plurals = {noun.en: english_forms.plural(noun) for noun in NOUNS.values()}
    assert {word: plurals[word] for word in ("child", "woman", "story", "watch", "potato", "shelf", "boy", "bus")} == (
        {"child": "children", "woman": "women", "story": "stories", "watch": "watches"}
        | {"potato": "potatoes", "shelf": "shelves", "boy": "boys", "bus": "buses"}
    )
    words = ("apple", "old", "umbrella", "hour", "house", "young")
    assert [english_forms.article(word) for word in words] == ["an", "an", "an", "an", "a", "a"]


# ---- clauses in both languages


def the(noun, determiner="the", **more):
    return NounPhrase(NOUNS[noun], determiner, human=noun in ("Mann", "Frau", "Lehrer"), **more)


def said(item, order="main"):
    """German and English for a clause as a statement, a question, or a subordinate clause."""
    if order == "main":
        return text(german.main_clause(item)), text(english.main_clause(item))
    if order == "question":
        return text(german.verb_first(item), "?"), text(english.clause_words(item, inverted=True), "?")
    return " ".join(german.verb_last(item)), " ".join(english.clause_words(item))


def calling(**more):
    return Clause(lexicon.ER, VERBS["anrufen"], more.pop("tense", Tense.PRESENT), (Complement(the("Frau")),), **more)


MUST = next(modal for modal in verb_lexicon.MODALS if modal.de == "müssen")
YESTERDAY, TOMORROW, OFTEN = Fixed("gestern", "yesterday"), Fixed("morgen", "tomorrow"), Fixed("oft", "often")


@pytest.mark.parametrize(
    ("clause", "order", "de", "en"),
    [
        (calling(frequency=OFTEN), "main", "Er ruft die Frau oft an.", "He often calls the woman."),
        (calling(frequency=OFTEN), "last", "er die Frau oft anruft", "he often calls the woman"),
        (calling(frequency=OFTEN), "question", "Ruft er die Frau oft an?", "Does he often call the woman?"),
        (calling(tense=Tense.NOW), "main", "Er ruft gerade die Frau an.", "He is calling the woman."),
        (
            calling(tense=Tense.FUTURE, time=TOMORROW, front="time"),
            "main",
            "Morgen ruft er die Frau an.",
            "Tomorrow he will call the woman.",
        ),
        (
            calling(tense=Tense.PAST, time=YESTERDAY, front="time"),
            "main",
            "Gestern hat er die Frau angerufen.",
            "Yesterday he called the woman.",
        ),
        (calling(tense=Tense.PAST), "last", "er die Frau angerufen hat", "he called the woman"),
        (
            calling(tense=Tense.PAST, negated=True, time=YESTERDAY),
            "main",
            "Er hat die Frau gestern nicht angerufen.",
            "He did not call the woman yesterday.",
        ),
        (calling(tense=Tense.PAST), "question", "Hat er die Frau angerufen?", "Did he call the woman?"),
        (calling(modal=MUST), "main", "Er muss die Frau anrufen.", "He has to call the woman."),
        (calling(modal=MUST), "last", "er die Frau anrufen muss", "he has to call the woman"),
        (
            calling(modal=MUST, negated=True),
            "main",
            "Er muss die Frau nicht anrufen.",
            "He does not have to call the woman.",
        ),
        (
            calling(modal=MUST, tense=Tense.PAST),
            "question",
            "Musste er die Frau anrufen?",
            "Did he have to call the woman?",
        ),
        (calling(modal=verb_lexicon.LIKING), "main", "Er ruft die Frau gern an.", "He likes to call the woman."),
    ],
)
def test_a_separable_verb_in_every_order(clause, order, de, en):
    assert said(clause, order) == (de, en)


def test_an_infinitive_with_zu_keeps_zu_inside_a_separable_verb():
    item = Clause(lexicon.ER, VERBS["anrufen"], Tense.PRESENT, (Complement(lexicon.DU),))
    assert german.infinitive_clause(item) == ["dich", "anzurufen"]
    assert english.infinitive_clause(item) == ["to", "call", "you"]
    reading = Clause(lexicon.ER, VERBS["lesen"], Tense.PRESENT, (Complement(the("Buch")),))
    assert " ".join(german.infinitive_clause(reading)) == "das Buch zu lesen"


def test_perfect_with_sein_and_place():
    town = Complement(Fixed("nach Berlin", "to Berlin"), role="place")
    going = Clause(lexicon.WIR, VERBS["fahren"], Tense.PAST, (town,), time=YESTERDAY)
    assert said(going) == ("Wir sind gestern nach Berlin gefahren.", "We went to Berlin yesterday.")


def test_an_object_in_front_puts_the_subject_after_the_verb():
    book = Complement(the("Brief"))
    item = Clause(the("Frau"), VERBS["lesen"], Tense.PAST, (book,), time=YESTERDAY, front=book)
    assert said(item) == ("Den Brief hat die Frau gestern gelesen.", "The woman read the letter yesterday.")


def test_kein_and_any():
    tea = Complement(NounPhrase(NOUNS["Tee"], "no"))
    drinking = Clause(lexicon.SIE, VERBS["trinken"], Tense.PAST, (tea,), negated=True)
    assert said(drinking) == ("Sie hat keinen Tee getrunken.", "She did not drink any tea.")
    apple = Complement(NounPhrase(NOUNS["Apfel"], "no"))
    eating = Clause(lexicon.SIE, VERBS["essen"], Tense.PAST, (apple,), negated=True)
    assert said(eating) == ("Sie hat keinen Apfel gegessen.", "She did not eat an apple.")


def test_two_objects_and_a_genitive():
    bag = the("Tasche", possessor=NounPhrase(NOUNS["Bruder"], "my", human=True))
    parts = (Complement(the("Lehrer"), "dat"), Complement(bag))
    item = Clause(lexicon.ICH, VERBS["zeigen"], Tense.PAST, parts)
    assert said(item) == (
        "Ich habe dem Lehrer die Tasche meines Bruders gezeigt.",
        "I showed the teacher my brother's bag.",
    )


@pytest.mark.parametrize(
    ("noun", "plural", "verb", "case", "prepositions", "de", "en"),
    [
        ("Mann", False, "helfen", "dat", ("", ""), ", dem ich geholfen habe ,", "that I helped"),
        ("Frau", False, "warten", "acc", ("auf", "for"), ", auf die ich gewartet habe ,", "that I waited for"),
        ("Mann", True, "danken", "dat", ("", ""), ", denen ich gedankt habe ,", "that I thanked"),
        ("Brief", False, "lesen", "acc", ("", ""), ", den ich gelesen habe ,", "that I read"),
    ],
)
def test_relative_pronouns_agree_in_gender_and_take_the_case_of_their_clause(
    noun, plural, verb, case, prepositions, de, en
):
    gap = Complement(Gap(plural=plural), case, *prepositions)
    clause = Clause(lexicon.ICH, VERBS[verb], Tense.PAST, (gap,))
    item = the(noun, plural=plural, relative=clause)
    assert " ".join(german.relative(item)) == de
    assert " ".join(english.relative(item)) == en


def test_a_relative_clause_of_an_object_moves_after_the_final_verb():
    who = Clause(Gap(), VERBS["arbeiten"], Tense.PRESENT, frequency=OFTEN)
    item = Clause(lexicon.ICH, VERBS["abholen"], Tense.PAST, (Complement(the("Mann", relative=who)),))
    assert said(item) == ("Ich habe den Mann abgeholt, der oft arbeitet.", "I picked up the man who often works.")


def test_a_particle_comes_after_a_pronoun():
    item = Clause(lexicon.ER, VERBS["abholen"], Tense.PAST, (Complement(lexicon.SIE),))
    assert said(item) == ("Er hat sie abgeholt.", "He picked her up.")


def test_pronouns_come_before_a_subject_that_is_a_noun():
    thinking = Clause(the("Lehrer"), VERBS["erinnern"], Tense.PAST, (Complement(the("Frau"), "acc", "an"),))
    assert said(thinking, "last") == ("sich der Lehrer an die Frau erinnert hat", "the teacher remembered the woman")
    asking = Clause(the("Lehrer"), VERBS["fragen"], Tense.PAST, (Complement(lexicon.DU),))
    assert said(asking, "question") == ("Hat dich der Lehrer gefragt?", "Did the teacher ask you?")
