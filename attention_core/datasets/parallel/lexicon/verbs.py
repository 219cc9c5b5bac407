"""Verbs: the English forms, the French verb, and who may do it to what; below, the French conjugations."""

from dataclasses import dataclass

# English base, third person, past ("-": written like the base, so that its tense could not be told), second
# word | infinitive | objects | subjects | tenses, if not all three. The second word stays with the verb where
# it is a preposition (look at), and may follow the object where it is a particle (look up).
_PARTICLE = """
look looks looked up     | chercher  | entry                              | person
look looks looked over   | examiner  | readable map              | person | present past
turn turns turned on     | allumer   | device                             | person
turn turns turned off    | éteindre  | device                             | person
put puts - on            | mettre    | clothes                            | person
put puts - off           | reporter  | event                              | person
take takes took off      | enlever   | clothes                            | person | present past
pick picks picked up     | ramasser  | portable                           | person | present past
give gives gave back     | rendre    | portable vehicle                   | person | present past
throw throws threw away  | jeter     | portable clothes egg cake          | person | present past
write writes wrote down  | noter     | entry                              | person | present past
wake wakes woke up       | réveiller | person pet                         | person | present past
"""
_PREPOSITION = """
look looks looked at     | regarder  | person animal thing place building high map | person
listen listens listened to | écouter | person music radio            | person | present past
wait waits waited for    | attendre  | person transport                   | person | present past
"""
_PLAIN = """
eat eats ate             | manger    | food                               | person animal
drink drinks drank       | boire     | drink                              | person animal | present past
read reads -             | lire      | readable                           | person
write writes wrote       | écrire    | written                            | person | present past
see sees saw             | voir      | person animal thing place building vehicle high | person animal
love loves loved         | aimer     | person animal food drink music place | person
buy buys bought          | acheter   | food drink portable clothes device vehicle house | person
find finds found         | trouver   | portable thing clothes pet entry   | person | present past
lose loses lost          | perdre    | portable thing clothes pet         | person | present past
open opens opened        | ouvrir    | opening container letter book      | person | present past
close closes closed      | fermer    | opening container book             | person | present past
take takes took          | prendre   | portable food transport            | person
call calls called        | appeler   | person pet                         | person | present past
have has had             | avoir     | pet portable vehicle house clothes | person | present future
want wants wanted        | vouloir   | food drink portable clothes device pet | person | present
need needs needed        | avoir     | portable clothes worker vehicle lamp | person | present future
"""
_GIVING = """
give gives gave          | donner    | portable food drink clothes        | person
show shows showed        | montrer   | portable thing clothes house       | person | present past
bring brings brought     | apporter  | portable food drink                | person
"""
_MOTION = """
go goes went             | aller     | to                                 | person
come comes came          | venir     | from with                          | person
arrive arrives arrived   | arriver   | at                                 | person transport
leave leaves left        | partir    | with alone                         | person transport | present past
sleep sleeps slept       | dormir    | in on under alone                  | person animal | present past
work works worked        | travailler | in at with alone                  | person
sing sings sang          | chanter   | in with alone                      | person bird
play plays played        | jouer     | in with alone                      | person pet | present past
"""

# Present je tu il nous vous ils | participle | future stem, where not the infinitive. No row: as `aimer`.
_CONJUGATIONS = """
être      | suis es est sommes êtes sont                   | été    | ser
avoir     | ai as a avons avez ont                         | eu     | aur
aller     | vais vas va allons allez vont                  | allé   | ir
manger    | mange manges mange mangeons mangez mangent     | mangé
acheter   | achète achètes achète achetons achetez achètent | acheté | achèter
enlever   | enlève enlèves enlève enlevons enlevez enlèvent | enlevé | enlèver
appeler   | appelle appelles appelle appelons appelez appellent | appelé | appeller
jeter     | jette jettes jette jetons jetez jettent        | jeté   | jetter
éteindre  | éteins éteins éteint éteignons éteignez éteignent | éteint | éteindr
mettre    | mets mets met mettons mettez mettent           | mis    | mettr
rendre    | rends rends rend rendons rendez rendent        | rendu  | rendr
attendre  | attends attends attend attendons attendez attendent | attendu | attendr
perdre    | perds perds perd perdons perdez perdent        | perdu  | perdr
boire     | bois bois boit buvons buvez boivent            | bu     | boir
lire      | lis lis lit lisons lisez lisent                | lu     | lir
écrire    | écris écris écrit écrivons écrivez écrivent    | écrit  | écrir
voir      | vois vois voit voyons voyez voient             | vu     | verr
ouvrir    | ouvre ouvres ouvre ouvrons ouvrez ouvrent      | ouvert
prendre   | prends prends prend prenons prenez prennent    | pris   | prendr
vouloir   | veux veux veut voulons voulez veulent          | voulu  | voudr
pouvoir   | peux peux peut pouvons pouvez peuvent          | pu     | pourr
devoir    | dois dois doit devons devez doivent            | dû     | devr
venir     | viens viens vient venons venez viennent        | venu   | viendr
partir    | pars pars part partons partez partent          | parti
dormir    | dors dors dort dormons dormez dorment          | dormi
"""
_WITH_ETRE = ("aller", "venir", "arriver", "partir")
_FUTURE_ENDINGS = ("ai", "as", "a", "ons", "ez", "ont")
_PRESENT_ENDINGS = ("e", "es", "e", "ons", "ez", "ent")


@dataclass(frozen=True)
class French:
    """A French verb. `present` and `future` hold the six persons je, tu, il, nous, vous, ils."""

    infinitive: str
    present: tuple[str, ...]
    participle: str
    future: tuple[str, ...]
    with_etre: bool

    def agreeing(self, feminine: bool, plural: bool) -> str:
        """The participle; one in -s (mis, pris) takes no second -s."""
        ending = "e" * feminine + "s" * (plural and (feminine or not self.participle.endswith("s")))
        return self.participle + ending


@dataclass(frozen=True)
class Verb:
    """An English verb and what it becomes. For verbs of motion, `objects` are the places that go with it."""

    english: str  # with its second word: "look up"
    forms: tuple[str, str, str]  # base, third person, past ("" where it is written like the base)
    second: str
    kind: str  # particle, preposition, plain, giving, motion
    french: French
    objects: tuple[str, ...]
    subjects: tuple[str, ...]
    tenses: tuple[str, ...]
    idiom: tuple[str, ...] = ()  # nouns and prepositions after the French verb: need, avoir besoin de


def _french_verbs() -> dict[str, French]:
    verbs = {}
    for row in _CONJUGATIONS.strip().splitlines():
        infinitive, present, participle, *stem = (cell.strip() for cell in row.split("|"))
        verbs[infinitive] = _french(infinitive, present.split(), participle, *stem)
    return verbs


def _french(infinitive: str, present: list[str], participle: str, stem: str | None = None) -> French:
    future = tuple((stem or infinitive) + ending for ending in _FUTURE_ENDINGS)
    return French(infinitive, tuple(present), participle, future, infinitive in _WITH_ETRE)


def _regular(infinitive: str) -> French:
    root = infinitive.removesuffix("er")
    return _french(infinitive, [root + ending for ending in _PRESENT_ENDINGS], root + "é")


_IRREGULAR = _french_verbs()


def french_verb(infinitive: str) -> French:
    """The French verb of that infinitive; one that the table lacks is conjugated as `aimer` is."""
    return _IRREGULAR.get(infinitive) or _regular(infinitive)


def _verb(row: str, kind: str) -> Verb:
    words, infinitive, objects, subjects, *tenses = (cell.split() for cell in row.split("|"))
    forms = (words[0], words[1], words[2].replace("-", ""))
    second = words[3] if words[3:] else ""
    return Verb(
        english=f"{words[0]} {second}".strip(),
        forms=forms,
        second=second,
        kind=kind,
        french=french_verb(infinitive[0]),
        objects=tuple(objects),
        subjects=tuple(subjects),
        tenses=tuple(tenses[0]) if tenses else ("present", "past", "future"),
        idiom=("besoin", "de") if words[0] == "need" else (),
    )


VERBS = {
    verb.english: verb
    for table, kind in (
        (_PARTICLE, "particle"),
        (_PREPOSITION, "preposition"),
        (_PLAIN, "plain"),
        (_GIVING, "giving"),
        (_MOTION, "motion"),
    )
    for verb in (_verb(row, kind) for row in table.strip().splitlines())
}
VERBS["be"] = Verb("be", ("be", "is", ""), "", "be", french_verb("être"), (), (), ("present", "future"))
MODALS = {"want": french_verb("vouloir"), "can": french_verb("pouvoir"), "must": french_verb("devoir")}
