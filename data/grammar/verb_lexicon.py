"""Verbs with their complements, modals, and adverbs of manner for some verbs."""

from .words import EnglishVerb, Fixed, GermanVerb, Modal, Slot, Verb

WELL, LOUDLY, QUIETLY = Fixed("gut", "well"), Fixed("laut", "loudly"), Fixed("leise", "quietly")
ALONE, LONG_TIME, MUCH = Fixed("allein", "alone"), Fixed("lange", "for a long time"), Fixed("viel", "a lot")

PERSON = Slot(("person", "pronoun"))
TO_PERSON = Slot(("person", "pronoun"), "dat")
WITH = Slot(("person", "pronoun"), "dat", "mit", "with", 0.3, "companion")
FOR = Slot(("person", "pronoun"), "acc", "für", "for", 0.3, "companion")
HERE = Slot(("location",), "dat", chance=0.35, role="place")
BY = Slot(("transport",), "dat", "mit", "by", 0.4, "companion")
g, e = GermanVerb, EnglishVerb

VERBS = (
    # one object
    Verb(g("kaufen", "gekauft"), e("buy", "bought"), (Slot(("goods", "food", "drink", "vehicle", "furniture")), FOR)),
    Verb(g("verkaufen", "verkauft"), e("sell", "sold"), (Slot(("vehicle", "machine", "building", "furniture")),)),
    Verb(g("essen", "gegessen", changed="iss"), e("eat", "ate"), (Slot(("food", "dish")), HERE)),
    Verb(g("trinken", "getrunken"), e("drink", "drank"), (Slot(("drink",)), HERE)),
    Verb(g("lesen", "gelesen", changed="lies"), e("read", "read"), (Slot(("text",)), HERE)),
    Verb(g("schreiben", "geschrieben"), e("write", "wrote"), (Slot(("writing",)),)),
    Verb(g("sehen", "gesehen", changed="sieh"), e("see", "saw"), (Slot(("sight", "pronoun")), HERE), stative=True),
    Verb(g("suchen", "gesucht"), e("look"), (Slot(("portable", "animal", "pronoun"), en="for"), HERE)),
    Verb(g("finden", "gefunden"), e("find", "found"), (Slot(("portable", "animal")), HERE), unwilled=True),
    Verb(g("verlieren", "verloren"), e("lose", "lost"), (Slot(("thing",)), HERE), unwilled=True),
    Verb(g("öffnen", "geöffnet"), e("open"), (Slot(("opening",)),)),
    Verb(g("schließen", "geschlossen"), e("close"), (Slot(("opening",)),)),
    Verb(g("besuchen", "besucht"), e("visit"), (PERSON, HERE)),
    Verb(g("treffen", "getroffen", changed="triff"), e("meet", "met"), (PERSON, HERE)),
    Verb(g("fragen", "gefragt"), e("ask"), (PERSON,)),
    Verb(g("waschen", "gewaschen", changed="wäsch"), e("wash"), (Slot(("clothes", "vehicle")),)),
    Verb(g("putzen", "geputzt"), e("clean"), (Slot(("building", "opening", "vehicle")),)),
    Verb(g("reparieren", "repariert"), e("repair"), (Slot(("vehicle", "machine", "opening", "furniture")), FOR)),
    Verb(g("malen", "gemalt"), e("paint"), (Slot(("person", "animal", "building")),)),
    Verb(g("kochen", "gekocht"), e("cook"), (Slot(("stew",)), FOR)),
    Verb(g("backen", "gebacken"), e("bake"), (Slot(("pastry",)), FOR)),
    Verb(g("bestellen", "bestellt"), e("order"), (Slot(("dish", "drink")), FOR)),
    Verb(g("bezahlen", "bezahlt"), e("pay", "paid"), (Slot(("dish", "drink", "clothes"), en="for"),)),
    Verb(g("tragen", "getragen", changed="träg"), e("wear", "wore"), (Slot(("clothes",)),)),
    Verb(g("füttern", "gefüttert"), e("feed", "fed"), (Slot(("animal",)), HERE)),
    Verb(
        g("vergessen", "vergessen", changed="vergiss"),
        e("forget", "forgot", ing="forgetting"),
        (Slot(("thing", "text")), HERE),
        unwilled=True,
    ),
    # separable, one object
    Verb(g("rufen", "angerufen", "an"), e("call"), (PERSON,)),
    Verb(g("holen", "abgeholt", "ab"), e("pick", tail="up"), (PERSON, HERE)),
    Verb(g("laden", "eingeladen", "ein", "läd"), e("invite"), (PERSON,)),
    Verb(g("bringen", "mitgebracht", "mit"), e("bring", "brought"), (Slot(("food", "dish", "portable")),)),
    Verb(g("ziehen", "angezogen", "an"), e("put", "put", ing="putting", tail="on"), (Slot(("clothes",)),)),
    Verb(g("ziehen", "ausgezogen", "aus"), e("take", "took", tail="off"), (Slot(("clothes",)),)),
    Verb(g("schalten", "eingeschaltet", "ein"), e("turn", tail="on"), (Slot(("machine",)),)),
    Verb(g("schalten", "ausgeschaltet", "aus"), e("turn", tail="off"), (Slot(("machine",)),)),
    Verb(g("hören", "zugehört", "zu"), e("listen"), (Slot(("person", "pronoun"), "dat", en="to"),)),
    # no object
    Verb(g("stehen", "aufgestanden", "auf", auxiliary="sein"), e("get", "got", ing="getting", tail="up")),
    Verb(
        g("schlafen", "eingeschlafen", "ein", "schläf", "sein"),
        e("fall", "fell", tail="asleep"),
        (HERE,),
        unwilled=True,
    ),
    Verb(g("kaufen", "eingekauft", "ein"), e("go", "went", tail="shopping"), (WITH,)),
    Verb(g("sehen", "ferngesehen", "fern", "sieh"), e("watch", tail="TV"), (WITH,)),
    Verb(g("kommen", "zurückgekommen", "zurück", auxiliary="sein"), e("come", "came", tail="back")),
    Verb(g("schlafen", "geschlafen", changed="schläf"), e("sleep", "slept"), (HERE,), manners=(WELL, LONG_TIME)),
    Verb(g("arbeiten", "gearbeitet"), e("work"), (HERE,), lasting=True, manners=(ALONE, MUCH)),
    Verb(g("tanzen", "getanzt"), e("dance"), (WITH, HERE), manners=(ALONE,)),
    Verb(g("singen", "gesungen"), e("sing", "sang"), (WITH, HERE), manners=(WELL, LOUDLY, QUIETLY)),
    Verb(g("lachen", "gelacht"), e("laugh"), manners=(LOUDLY, MUCH)),
    Verb(g("weinen", "geweint"), e("cry"), manners=(LOUDLY, LONG_TIME), unwilled=True),
    Verb(g("sitzen", "gesessen"), e("sit", "sat", ing="sitting"), (Slot(("location",), "dat", role="place"),)),
    # fixed objects
    Verb(g("spielen", "gespielt"), e("play"), (Slot(("game",)), WITH, HERE)),
    Verb(g("lernen", "gelernt"), e("learn"), (Slot(("language",)), HERE), lasting=True),
    Verb(g("verstehen", "verstanden"), e("understand", "understood"), (Slot(("language", "text")),), stative=True),
    # motion and position
    Verb(
        g("gehen", "gegangen", auxiliary="sein"),
        e("go", "went"),
        (WITH, Slot(("direction",), role="place")),
    ),
    Verb(
        g("fahren", "gefahren", changed="fähr", auxiliary="sein"),
        e("go", "went"),
        (BY, Slot(("journey",), role="place")),
    ),
    Verb(
        g("reisen", "gereist", auxiliary="sein"),
        e("travel", "travelled", ing="travelling"),
        (WITH, Slot(("journey",), role="place")),
    ),
    Verb(g("kommen", "gekommen", auxiliary="sein"), e("come", "came"), (Slot(("direction",), role="place"),)),
    Verb(g("legen", "gelegt"), e("put", "put", ing="putting"), (Slot(("portable",)), Slot(("onto",), role="place"))),
    Verb(
        g("stellen", "gestellt"),
        e("put", "put", ing="putting"),
        (Slot(("thing", "machine")), Slot(("onto",), role="place")),
    ),
    Verb(g("liegen", "gelegen"), e("be"), (Slot(("spot",), "dat", role="place"),), ("portable",), stative=True),
    Verb(g("wohnen", "gewohnt"), e("live"), (Slot(("residence",), "dat", role="place"),), stative=True, lasting=True),
    # dative objects, and two objects
    Verb(g("helfen", "geholfen", changed="hilf"), e("help"), (TO_PERSON, HERE)),
    Verb(g("danken", "gedankt"), e("thank"), (TO_PERSON,)),
    Verb(g("antworten", "geantwortet"), e("answer"), (TO_PERSON,)),
    Verb(g("folgen", "gefolgt", auxiliary="sein"), e("follow"), (Slot(("person", "pronoun", "vehicle"), "dat"),)),
    Verb(
        g("gehören", "gehört"),
        e("belong"),
        (Slot(("person", "pronoun"), "dat", en="to"),),
        ("goods", "vehicle", "building"),
        stative=True,
    ),
    Verb(g("geben", "gegeben", changed="gib"), e("give", "gave"), (TO_PERSON, Slot(("goods", "food")))),
    Verb(g("zeigen", "gezeigt"), e("show"), (TO_PERSON, Slot(("goods", "building", "vehicle")))),
    Verb(g("schicken", "geschickt"), e("send", "sent"), (TO_PERSON, Slot(("portable",)))),
    Verb(g("bringen", "gebracht"), e("bring", "brought"), (TO_PERSON, Slot(("goods", "food", "drink")))),
    Verb(g("lesen", "vorgelesen", "vor", "lies"), e("read", "read"), (TO_PERSON, Slot(("text",)))),
    # prepositional objects, reflexive verbs
    Verb(
        g("warten", "gewartet"),
        e("wait"),
        (Slot(("person", "pronoun", "vehicle"), "acc", "auf", "for"), HERE),
        lasting=True,
    ),
    Verb(
        g("denken", "gedacht"), e("think", "thought"), (Slot(("person", "pronoun"), "acc", "an", "of"),), unwilled=True
    ),
    Verb(g("sprechen", "gesprochen", changed="sprich"), e("talk"), (Slot(("person", "pronoun"), "dat", "mit", "to"),)),
    Verb(
        g("träumen", "geträumt"),
        e("dream"),
        (Slot(("person", "pronoun", "vehicle"), "dat", "von", "of"),),
        unwilled=True,
    ),
    Verb(
        g("freuen", "gefreut", reflexive=True),
        e("look", tail="forward"),
        (Slot(("event", "writing"), "acc", "auf", "to"),),
        stative=True,
    ),
    Verb(
        g("interessieren", "interessiert", reflexive=True),
        e("be", tail="interested"),
        (Slot(("text", "building", "vehicle"), "acc", "für", "in"),),
        stative=True,
    ),
    Verb(
        g("erinnern", "erinnert", reflexive=True),
        e("remember"),
        (Slot(("person", "pronoun", "text"), "acc", "an"),),
        stative=True,
    ),
    # states
    Verb(g("kennen", "gekannt"), e("know", "knew", "known"), (PERSON,), stative=True, lasting=True),
    Verb(g("lieben", "geliebt"), e("love"), (PERSON,), stative=True),
    Verb(g("vermissen", "vermisst"), e("miss"), (PERSON,), stative=True),
    Verb(g("brauchen", "gebraucht"), e("need"), (Slot(("goods", "vehicle")),), stative=True),
    Verb(g("haben", "gehabt"), e("have", "had"), (Slot(("animal", "vehicle", "machine", "thing")),), stative=True),
)

TO_BE = Verb(GermanVerb("sein", "gewesen", auxiliary="sein"), EnglishVerb("be"), stative=True, lasting=True)
TO_PLEASE = Verb(GermanVerb("gefallen", "gefallen", changed="gefäll"), EnglishVerb("like"), stative=True)
TO_COST = Verb(GermanVerb("kosten", "gekostet"), EnglishVerb("cost", "cost"), stative=True)
TO_LAST = Verb(GermanVerb("dauern", "gedauert"), EnglishVerb("last"), stative=True)
TO_RAIN = Verb(GermanVerb("regnen", "geregnet"), EnglishVerb("rain"))
TO_SNOW = Verb(GermanVerb("schneien", "geschneit"), EnglishVerb("snow"))
TO_LEAVE = Verb(GermanVerb("fahren", "abgefahren", "ab", "fähr", "sein"), EnglishVerb("leave", "left"), stative=True)
TO_ARRIVE = Verb(GermanVerb("kommen", "angekommen", "an", auxiliary="sein"), EnglishVerb("arrive"), stative=True)
TO_BEGIN = Verb(GermanVerb("beginnen", "begonnen"), EnglishVerb("begin", "began"), stative=True)
# haben with a noun corresponds to be with an adjective.
AILMENTS = (Fixed("Hunger", "hungry"), Fixed("Durst", "thirsty"), Fixed("Angst", "afraid"), Fixed("recht", "right"))
TO_HAVE_AILMENT = Verb(GermanVerb("haben", "gehabt"), EnglishVerb("be"), stative=True)
# Matrix verbs of dass clauses and of infinitives with zu.
TO_SAY = tuple(
    Verb(GermanVerb(de, participle), EnglishVerb(en, past, participle=past), stative=True)
    for de, participle, en, past in (
        ("glauben", "geglaubt", "believe", "believed"),
        ("denken", "gedacht", "think", "thought"),
        ("hoffen", "gehofft", "hope", "hoped"),
        ("sagen", "gesagt", "say", "said"),
        ("wissen", "gewusst", "know", "knew"),
    )
)
TO_ATTEMPT = (
    Verb(GermanVerb("versuchen", "versucht"), EnglishVerb("try")),
    Verb(GermanVerb("vergessen", "vergessen"), EnglishVerb("forget", "forgot", ing="forgetting")),
    Verb(GermanVerb("beschließen", "beschlossen"), EnglishVerb("decide")),
)

HAVE = EnglishVerb("have", "had")
MODALS = (
    Modal("können", en_auxiliary="can", en_past_auxiliary="could", has_past=True),
    Modal("müssen", HAVE, en_tail=("to",), has_past=True),
    Modal("wollen", EnglishVerb("want"), en_tail=("to",), has_past=True),
    Modal("dürfen", EnglishVerb("be"), en_tail=("allowed", "to"), has_past=True),
    Modal("sollen", en_auxiliary="should"),
    Modal("möchten", en_auxiliary="would", en_tail=("like", "to")),
    Modal("werden", en_auxiliary="will"),
    Modal("", EnglishVerb("like"), en_tail=("to",), adverb="gern"),
)
LIKING, WILL = MODALS[-1], MODALS[-2]
