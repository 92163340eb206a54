"""Pronouns, nouns, places and adjectives, in groups that verbs select: food is eaten, people are called."""

from .meaning import Name, Pronoun
from .words import Adjective, Fixed, Noun, Place

PRONOUNS = (
    Pronoun(1, False, "ich", "mich", "mir", "mich", "I", "me"),
    Pronoun(2, False, "du", "dich", "dir", "dich", "you", "you"),
    Pronoun(3, False, "er", "ihn", "ihm", "sich", "he", "him"),
    Pronoun(3, False, "sie", "sie", "ihr", "sich", "she", "her"),
    Pronoun(1, True, "wir", "uns", "uns", "uns", "we", "us"),
    Pronoun(3, True, "sie", "sie", "ihnen", "sich", "they", "them"),
)
ICH, DU, ER, SIE, WIR, SIE_PLURAL = PRONOUNS
# The object sie is always "her" here, never "them". The subject sie is identified by its verb. The formal Sie, and ihr
# for several people, are left out.
ES = Pronoun(3, False, "es", "es", "ihm", "sich", "it", "it")

NAMES = (
    Name("Anna", "f"),
    Name("Maria", "f"),
    Name("Julia", "f"),
    Name("Laura", "f"),
    Name("Peter", "m"),
    Name("Paul", "m"),
    Name("Martin", "m"),
    Name("Tim", "m"),
)

# English determiner -> German stem. "their" is left out on purpose: ihr is always "her".
POSSESSIVES = {"my": "mein", "your": "dein", "his": "sein", "her": "ihr", "our": "unser"}

NOUNS = {
    "kin": (
        Noun("Bruder", "m", "Brüder", "brother", genitive="Bruders"),
        Noun("Schwester", "f", "Schwestern", "sister"),
        Noun("Vater", "m", "", "father", genitive="Vaters"),
        Noun("Mutter", "f", "", "mother"),
        Noun("Sohn", "m", "Söhne", "son", genitive="Sohnes"),
        Noun("Tochter", "f", "Töchter", "daughter"),
        Noun("Onkel", "m", "Onkel", "uncle", genitive="Onkels"),
        Noun("Tante", "f", "Tanten", "aunt"),
        Noun("Großvater", "m", "", "grandfather", genitive="Großvaters"),
        Noun("Großmutter", "f", "", "grandmother"),
    ),
    "friend": (
        Noun("Freund", "m", "Freunde", "friend", genitive="Freundes"),
        Noun("Nachbar", "m", "Nachbarn", "neighbour", genitive="Nachbarn", weak=True),
        Noun("Kollegin", "f", "Kolleginnen", "colleague"),
        Noun("Lehrer", "m", "Lehrer", "teacher", genitive="Lehrers"),
        Noun("Ärztin", "f", "Ärztinnen", "doctor"),
    ),
    "people": (
        Noun("Mann", "m", "Männer", "man", "men", genitive="Mannes"),
        Noun("Frau", "f", "Frauen", "woman", "women"),
        Noun("Student", "m", "Studenten", "student", genitive="Studenten", weak=True),
        Noun("Polizist", "m", "Polizisten", "policeman", "policemen", genitive="Polizisten", weak=True),
        Noun("Köchin", "f", "Köchinnen", "cook"),
        Noun("Künstlerin", "f", "Künstlerinnen", "artist"),
        Noun("Kellnerin", "f", "Kellnerinnen", "waitress"),
        Noun("Gast", "m", "Gäste", "guest", genitive="Gastes"),
    ),
    "child": (
        Noun("Kind", "n", "Kinder", "child", "children", genitive="Kindes"),
        Noun("Junge", "m", "Jungen", "boy", genitive="Jungen", weak=True),
        Noun("Mädchen", "n", "Mädchen", "girl", genitive="Mädchens"),
    ),
    "animal": (
        Noun("Hund", "m", "Hunde", "dog"),
        Noun("Katze", "f", "Katzen", "cat"),
        Noun("Pferd", "n", "Pferde", "horse"),
        Noun("Vogel", "m", "Vögel", "bird"),
    ),
    "food": (
        Noun("Apfel", "m", "Äpfel", "apple"),
        Noun("Banane", "f", "Bananen", "banana"),
        Noun("Tomate", "f", "Tomaten", "tomato", "tomatoes"),
        Noun("Kartoffel", "f", "Kartoffeln", "potato", "potatoes"),
        Noun("Ei", "n", "Eier", "egg"),
        Noun("Brot", "n", "", "bread", mass=True),
        Noun("Käse", "m", "", "cheese", mass=True),
        Noun("Fleisch", "n", "", "meat", mass=True),
        Noun("Schokolade", "f", "", "chocolate", mass=True),
    ),
    "stew": (Noun("Suppe", "f", "Suppen", "soup"), Noun("Reis", "m", "", "rice", mass=True)),
    "pastry": (Noun("Kuchen", "m", "Kuchen", "cake"), Noun("Pizza", "f", "Pizzas", "pizza")),
    "salad": (Noun("Salat", "m", "Salate", "salad"),),
    "drink": (
        Noun("Kaffee", "m", "", "coffee", mass=True),
        Noun("Tee", "m", "", "tea", mass=True),
        Noun("Milch", "f", "", "milk", mass=True),
        Noun("Wasser", "n", "", "water", mass=True),
        Noun("Wein", "m", "", "wine", mass=True),
    ),
    "writing": (
        Noun("Buch", "n", "Bücher", "book"),
        Noun("Brief", "m", "Briefe", "letter"),
        Noun("Geschichte", "f", "Geschichten", "story"),
        Noun("Gedicht", "n", "Gedichte", "poem"),
    ),
    "paper": (Noun("Zeitung", "f", "Zeitungen", "newspaper"), Noun("Zeitschrift", "f", "Zeitschriften", "magazine")),
    "thing": (
        Noun("Schlüssel", "m", "Schlüssel", "key"),
        Noun("Tasche", "f", "Taschen", "bag"),
        Noun("Uhr", "f", "Uhren", "watch", "watches"),
        Noun("Bild", "n", "Bilder", "picture"),
        Noun("Regenschirm", "m", "Regenschirme", "umbrella"),
        Noun("Koffer", "m", "Koffer", "suitcase"),
        Noun("Blume", "f", "Blumen", "flower"),
        Noun("Ball", "m", "Bälle", "ball"),
        Noun("Tasse", "f", "Tassen", "cup"),
        Noun("Geschenk", "n", "Geschenke", "present"),
    ),
    "machine": (
        Noun("Computer", "m", "Computer", "computer"),
        Noun("Lampe", "f", "Lampen", "lamp"),
        Noun("Radio", "n", "Radios", "radio"),
        Noun("Kamera", "f", "Kameras", "camera"),
    ),
    "clothes": (
        Noun("Hemd", "n", "Hemden", "shirt"),
        Noun("Kleid", "n", "Kleider", "dress", "dresses"),
        Noun("Hut", "m", "Hüte", "hat"),
        Noun("Mantel", "m", "Mäntel", "coat"),
        Noun("Jacke", "f", "Jacken", "jacket"),
    ),
    "vehicle": (
        Noun("Auto", "n", "Autos", "car"),
        Noun("Fahrrad", "n", "Fahrräder", "bike"),
        Noun("Zug", "m", "Züge", "train"),
        Noun("Bus", "m", "Busse", "bus", "buses"),
        Noun("Schiff", "n", "Schiffe", "ship"),
    ),
    "furniture": (
        Noun("Tisch", "m", "Tische", "table"),
        Noun("Stuhl", "m", "Stühle", "chair"),
        Noun("Bett", "n", "Betten", "bed"),
        Noun("Regal", "n", "Regale", "shelf", "shelves"),
        Noun("Schrank", "m", "Schränke", "cupboard"),
    ),
    "opening": (
        Noun("Tür", "f", "Türen", "door"),
        Noun("Fenster", "n", "Fenster", "window"),
    ),
    "building": (
        Noun("Haus", "n", "Häuser", "house"),
        Noun("Wohnung", "f", "Wohnungen", "flat"),
        Noun("Zimmer", "n", "Zimmer", "room"),
    ),
    "event": (
        Noun("Film", "m", "Filme", "film"),
        Noun("Konzert", "n", "Konzerte", "concert"),
        Noun("Kurs", "m", "Kurse", "course"),
    ),
}
# Sets of groups that a slot may name.
GROUP_SETS = {
    "person": ("kin", "friend", "people", "child"),
    "text": ("writing", "paper"),
    "dish": ("stew", "pastry", "salad"),
    "goods": ("thing", "machine", "clothes", "writing"),
    "portable": ("thing", "writing"),
    "sight": ("kin", "friend", "people", "child", "animal", "vehicle", "thing"),
}

PLACES = (
    Place(Noun("Park", "m", "Parks", "park"), "in", "in", "in"),
    Place(Noun("Garten", "m", "Gärten", "garden"), "in", "in", "in"),
    Place(Noun("Wald", "m", "Wälder", "forest"), "in", "in", "in"),
    Place(Noun("Stadt", "f", "Städte", "city"), "in", "in", "in"),
    Place(Noun("Dorf", "n", "Dörfer", "village"), "in", "in", "in"),
    Place(Noun("Küche", "f", "Küchen", "kitchen"), "in", "in", "in"),
    Place(Noun("Bibliothek", "f", "Bibliotheken", "library"), "in", "in", "in"),
    Place(Noun("Museum", "n", "Museen", "museum"), "in", "in", "in"),
    Place(Noun("Theater", "n", "Theater", "theatre"), "in", "in", "in"),
    Place(Noun("Restaurant", "n", "Restaurants", "restaurant"), "in", "in", "in"),
    Place(Noun("Supermarkt", "m", "Supermärkte", "supermarket"), "in", "in", "in"),
    Place(Noun("Bahnhof", "m", "Bahnhöfe", "station"), "an", "at", "zu"),
    Place(Noun("Flughafen", "m", "Flughäfen", "airport"), "an", "at", "zu"),
    Place(Noun("Markt", "m", "Märkte", "market"), "auf", "at", "auf"),
)
TOWNS = (
    Fixed("Berlin", "Berlin"),
    Fixed("Hamburg", "Hamburg"),
    Fixed("Paris", "Paris"),
    Fixed("München", "Munich"),
    Fixed("Wien", "Vienna"),
    Fixed("Köln", "Cologne"),
    Fixed("Italien", "Italy"),
    Fixed("Frankreich", "France"),
)
# (being there, going there) for places without an article in both languages.
BARE_PLACES = (
    (Fixed("zu Hause", "at home"), Fixed("nach Hause", "home")),
    (Fixed("in der Schule", "at school"), Fixed("in die Schule", "to school")),
)
SWITZERLAND = (Fixed("in der Schweiz", "in Switzerland"), Fixed("in die Schweiz", "to Switzerland"))
# German preposition, English preposition, and suitable furniture; accusative for going there, otherwise dative.
SPOTS = (
    ("auf", "on", ("table", "chair", "bed", "shelf")),
    ("unter", "under", ("table", "chair", "bed")),
    ("neben", "next to", ("table", "bed", "shelf", "cupboard")),
    ("hinter", "behind", ("shelf", "cupboard")),
)

BIG = Adjective("groß", "big", 0, "", "größer", "bigger")
SMALL = Adjective("klein", "small", 0, "", "kleiner", "smaller")
NEW = Adjective("neu", "new", 1, "", "neuer", "newer")
OLD = Adjective("alt", "old", 1, "", "älter", "older")
DEAR = Adjective("teuer", "expensive", 1, "teur", "teurer", "more expensive")
CHEAP = Adjective("billig", "cheap", 1, "", "billiger", "cheaper")
NICE = Adjective("schön", "beautiful", 0, "", "schöner", "more beautiful")
HEAVY = Adjective("schwer", "heavy", 1, "", "schwerer", "heavier")
FAST = Adjective("schnell", "fast", 1, "", "schneller", "faster")
SLOW = Adjective("langsam", "slow", 1, "", "langsamer", "slower")
YOUNG = Adjective("jung", "young", 1, "", "jünger", "younger")
FRESH, WARM, COLD = Adjective("frisch", "fresh"), Adjective("warm", "warm", 1), Adjective("kalt", "cold", 1)
RED, BLUE, GREEN = Adjective("rot", "red", 2), Adjective("blau", "blue", 2), Adjective("grün", "green", 2)
BLACK, WHITE = Adjective("schwarz", "black", 2), Adjective("weiß", "white", 2)
COLOURS = (RED, BLUE, GREEN, BLACK, WHITE)
LONG = Adjective("lang", "long", 0, "", "länger", "longer")
SHORT = Adjective("kurz", "short", 0, "", "kürzer", "shorter")
INTERESTING = Adjective("interessant", "interesting", 1, "", "interessanter", "more interesting")
BORING = Adjective("langweilig", "boring", 1, "", "langweiliger", "more boring")
QUIET = Adjective("ruhig", "quiet", 1, "", "ruhiger", "quieter")
DARK = Adjective("dunkel", "dark", 1, "dunkl", "dunkler", "darker")
DIRTY, CLEAN = Adjective("schmutzig", "dirty"), Adjective("sauber", "clean")
PERSONAL = (
    # For people groß is "tall": the only adjective whose translation depends on its noun.
    Adjective("groß", "tall", 0, "", "größer", "taller"),
    OLD,
    YOUNG,
    Adjective("klug", "clever", 0, "", "klüger", "cleverer"),
    Adjective("freundlich", "friendly", 0, "", "freundlicher", "friendlier"),
    Adjective("reich", "rich", 0, "", "reicher", "richer"),
    Adjective("fleißig", "hard-working", 0, "", "fleißiger", "more hard-working"),
    Adjective("müde", "tired", 0),
    Adjective("krank", "ill", 0),
    Adjective("glücklich", "happy", 0, "", "glücklicher", "happier"),
    Adjective("traurig", "sad", 0, "", "trauriger", "sadder"),
)
# Predicates only: before a noun these would sound odd ("my ill brother").
PREDICATE_ONLY = ("tired", "ill", "happy", "sad")

ADJECTIVES = {
    "kin": PERSONAL,
    "friend": PERSONAL,
    "people": PERSONAL,
    "child": (PERSONAL[0], *(Adjective("klein", "small", 0), PERSONAL[3], PERSONAL[4], PERSONAL[6])),
    "animal": (BIG, SMALL, OLD, YOUNG, FAST, BLACK, WHITE),
    "food": (FRESH, CHEAP, DEAR, COLD),
    "stew": (WARM, COLD, CHEAP, DEAR),
    "pastry": (FRESH, WARM, COLD, CHEAP, DEAR),
    "salad": (FRESH, CHEAP, DEAR),
    "drink": (WARM, COLD, FRESH, DEAR, CHEAP),
    "writing": (LONG, SHORT, INTERESTING, BORING, NEW, OLD),
    "paper": (INTERESTING, BORING, NEW, OLD),
    "thing": (NEW, OLD, BIG, SMALL, DEAR, CHEAP, NICE, HEAVY, *COLOURS),
    "machine": (NEW, OLD, SMALL, DEAR, CHEAP, HEAVY, BLACK, WHITE),
    "clothes": (NEW, OLD, WARM, DEAR, NICE, DIRTY, CLEAN, *COLOURS),
    "vehicle": (NEW, OLD, FAST, SLOW, DEAR, BIG, *COLOURS),
    "furniture": (NEW, OLD, BIG, SMALL, HEAVY, NICE),
    "opening": (BIG, SMALL, OLD, NEW),
    "building": (BIG, SMALL, OLD, NEW, QUIET, DARK, DEAR),
    "event": (LONG, SHORT, INTERESTING, BORING, NEW),
    "place": (BIG, SMALL, OLD, NEW, QUIET, NICE),
}

GAMES = (
    Fixed("Klavier", "the piano"),
    Fixed("Gitarre", "the guitar"),
    Fixed("Fußball", "football"),
    Fixed("Tennis", "tennis"),
    Fixed("Schach", "chess"),
)
LANGUAGES = (
    Fixed("Deutsch", "German"),
    Fixed("Englisch", "English"),
    Fixed("Französisch", "French"),
    Fixed("Spanisch", "Spanish"),
)
PROFESSIONS = {
    "m": (Fixed("Lehrer", "a teacher"), Fixed("Arzt", "a doctor"), Fixed("Ingenieur", "an engineer")),
    "f": (Fixed("Lehrerin", "a teacher"), Fixed("Ärztin", "a doctor"), Fixed("Künstlerin", "an artist")),
}
