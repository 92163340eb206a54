"""Days, months, and adverbials of time. Each adverbial fits only one tense, which determines the English form."""

from .words import Fixed, Noun, Tense

WEEKDAYS = (
    Fixed("Montag", "Monday"),
    Fixed("Dienstag", "Tuesday"),
    Fixed("Mittwoch", "Wednesday"),
    Fixed("Donnerstag", "Thursday"),
    Fixed("Freitag", "Friday"),
    Fixed("Samstag", "Saturday"),
    Fixed("Sonntag", "Sunday"),
)
MONTHS = (
    Fixed("Januar", "January"),
    Fixed("März", "March"),
    Fixed("Mai", "May"),
    Fixed("Juli", "July"),
    Fixed("Oktober", "October"),
    Fixed("Dezember", "December"),
)
# Units of time, as nouns for numerals in the dative.
SPANS = (
    Noun("Tag", "m", "Tage", "day"),
    Noun("Woche", "f", "Wochen", "week"),
    Noun("Monat", "m", "Monate", "month"),
    Noun("Jahr", "n", "Jahre", "year"),
    Noun("Stunde", "f", "Stunden", "hour"),
)
TIMES = {
    Tense.PAST: (
        Fixed("gestern", "yesterday"),
        Fixed("gestern Abend", "last night"),
        Fixed("heute Morgen", "this morning"),
        Fixed("letzte Woche", "last week"),
        Fixed("letztes Jahr", "last year"),
        Fixed("letzten Sommer", "last summer"),
    ),
    Tense.FUTURE: (
        Fixed("morgen", "tomorrow"),
        Fixed("morgen früh", "tomorrow morning"),
        Fixed("heute Abend", "tonight"),
        Fixed("nächste Woche", "next week"),
        Fixed("nächstes Jahr", "next year"),
        Fixed("bald", "soon"),
    ),
    Tense.PRESENT: (
        Fixed("jeden Tag", "every day"),
        Fixed("jeden Morgen", "every morning"),
        Fixed("jeden Abend", "every evening"),
        Fixed("am Wochenende", "at the weekend"),
        Fixed("im Sommer", "in summer"),
        Fixed("im Winter", "in winter"),
        Fixed("montags", "on Mondays"),
    ),
    Tense.NOW: (Fixed("jetzt", "now"), Fixed("im Moment", "at the moment")),
}
FREQUENCIES = (
    Fixed("oft", "often"),
    Fixed("immer", "always"),
    Fixed("manchmal", "sometimes"),
    Fixed("selten", "rarely"),
    Fixed("nie", "never"),
)
JUST_NOW = Fixed("gerade", "")  # English expresses it with the progressive alone
