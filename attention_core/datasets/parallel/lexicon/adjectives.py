"""Adjectives: four French forms each, whether they stand before their noun, and which nouns they suit."""

from dataclasses import dataclass

# One French form: regular (petit, petite, petits, petites; jeune, jeunes). Four: given in full. A fifth is
# the masculine singular before a vowel: un bel homme. The classes are those of `nouns`, or single nouns.
_BEFORE = """
small     | petit   | young animal thing readable building place furniture device vehicle fruit plant
big       | grand   | animal container building place furniture opening vehicle plant
beautiful | beau belle beaux belles bel | adult animal flower clothes building place trip
new       | nouveau nouvelle nouveaux nouvelles nouvel | worker device vehicle clothes building book entry
old       | vieux vieille vieux vieilles vieil | adult animal building furniture vehicle map book clock
young     | jeune   | adult horse
good      | bon bonne bons bonnes | food drink friend worker readable meeting
bad       | mauvais mauvaise mauvais mauvaises | food drink readable hotel
long      | long longue longs longues | written trip meeting word name number
high      | haut    | high
"""
_AFTER = """
red       | rouge   | clothes vehicle flower lamp door bag umbrella apple
green     | vert    | clothes vehicle bottle door bag umbrella apple
white     | blanc blanche blancs blanches | clothes vehicle animal house wall flower box
black     | noir    | clothes vehicle pet horse bag umbrella box cow
blue      | bleu    | clothes vehicle flower door lamp bird
heavy     | lourd   | container clock coat table book
hot       | chaud   | drink soup bread
cold      | froid   | drink soup meat
fresh     | frais fraîche frais fraîches | bread water milk egg fruit cheese
happy     | heureux heureuse heureux heureuses | person pet
sad       | triste  | person written
tired     | fatigué | person horse pet
clever    | intelligent | person pet
dangerous | dangereux dangereuse dangereux dangereuses | dog animal trip knife
expensive | cher chère chers chères | clothes vehicle device hotel clock
empty     | vide    | container church train
open      | ouvert  | opening container hotel market
closed    | fermé   | opening school church market
important | important | entry letter meeting book
kind      | gentil gentille gentils gentilles | person
useful    | utile   | map word knife book bag
"""


@dataclass(frozen=True)
class Adjective:
    """One adjective; `forms` are masculine, feminine, masculine plural, feminine plural."""

    english: str
    forms: tuple[str, str, str, str]
    before_vowel: str | None
    before: bool
    classes: tuple[str, ...]

    def form(self, feminine: bool, plural: bool) -> str:
        return self.forms[2 * plural + feminine]


def _forms(masculine: str) -> list[str]:
    feminine = masculine if masculine.endswith("e") else masculine + "e"
    return [masculine, feminine, masculine + "s", feminine + "s"]


def _adjective(row: str, before: bool) -> Adjective:
    english, french, classes = (cell.split() for cell in row.split("|"))
    forms = french if french[1:] else _forms(french[0])
    vowel = forms[4] if forms[4:] else None
    return Adjective(english[0], tuple(forms[:4]), vowel, before, tuple(classes))


ADJECTIVES = {
    adjective.english: adjective
    for table, before in ((_BEFORE, True), (_AFTER, False))
    for adjective in (_adjective(row, before) for row in table.strip().splitlines())
}
