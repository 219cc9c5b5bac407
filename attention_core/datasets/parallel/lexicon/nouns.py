"""Nouns: how each is written, its gender, and the classes by which verbs and adjectives choose it."""

from dataclasses import dataclass
from functools import cache

_TABLE = """
man men           | homme hommes         | m | person adult
woman women       | femme femmes         | f | person adult
boy boys          | garçon garçons       | m | person young
girl girls        | fille filles         | f | person young
child children    | enfant enfants       | m | person young
friend friends    | ami amis             | m | person adult
teacher teachers  | professeur professeurs | m | person adult worker
doctor doctors    | médecin médecins     | m | person adult worker
nurse nurses      | infirmière infirmières | f | person adult worker
mother            | mère                 | f | person kin
father            | père                 | m | person kin
sister sisters    | sœur sœurs           | f | person sibling
brother brothers  | frère frères         | m | person sibling
hero heroes       | héros héros          | m | person adult royal
dog dogs          | chien chiens         | m | animal pet
cat cats          | chat chats           | m | animal pet
horse horses      | cheval chevaux       | m | animal
bird birds        | oiseau oiseaux       | m | animal
owl owls          | hibou hiboux         | m | animal
cow cows          | vache vaches         | f | animal
apple apples      | pomme pommes         | f | food fruit
egg eggs          | œuf œufs             | m | food
cake cakes        | gâteau gâteaux       | m | food
bread             | pain                 | m | food mass
cheese            | fromage              | m | food mass
meat              | viande               | f | food mass
soup              | soupe                | f | food mass
water             | eau                  | f | drink mass
milk              | lait                 | m | drink mass
coffee            | café                 | m | drink mass
music             | musique              | f | mass music
book books        | livre livres         | m | readable written portable
letter letters    | lettre lettres       | f | readable written portable
newspaper newspapers | journal journaux  | m | readable portable
story stories     | histoire histoires   | f | readable written
map maps          | carte cartes         | f | portable
word words        | mot mots             | m | entry
name names        | nom noms             | m | entry
number numbers    | numéro numéros       | m | entry
address addresses | adresse adresses     | f | entry
key keys          | clé clés             | f | portable thing
bag bags          | sac sacs             | m | portable thing container
box boxes         | boîte boîtes         | f | portable thing container
bottle bottles    | bouteille bouteilles | f | portable thing container
knife knives      | couteau couteaux     | m | portable thing
flower flowers    | fleur fleurs         | f | portable thing
umbrella umbrellas | parapluie parapluies | m | portable thing
clock clocks      | horloge horloges     | f | thing
hat hats          | chapeau chapeaux     | m | clothes portable
coat coats        | manteau manteaux     | m | clothes
shirt shirts      | chemise chemises     | f | clothes
dress dresses     | robe robes           | f | clothes
shoe shoes        | chaussure chaussures | f | clothes
lamp lamps        | lampe lampes         | f | device thing
radio radios      | radio radios         | f | device thing
car cars          | voiture voitures     | f | vehicle
train trains      | train trains         | m | transport
house houses      | maison maisons       | f | building inside
hotel hotels      | hôtel hôtels         | m | building inside goal
hospital hospitals | hôpital hôpitaux    | m | building goal
church churches   | église églises       | f | building inside goal
school schools    | école écoles         | f | building goal
garden gardens    | jardin jardins       | m | place inside
market            | marché               | m | place goal
city cities       | ville villes         | f | place inside
station           | gare                 | f | place goal
door doors        | porte portes         | f | opening
window windows    | fenêtre fenêtres     | f | opening
table tables      | table tables         | f | furniture
bed beds          | lit lits             | m | furniture
tree trees        | arbre arbres         | m | plant
wall walls        | mur murs             | m | high
tower towers      | tour tours           | f | high
meeting meetings  | réunion réunions     | f | event
trip trips        | voyage voyages       | m | event
"""


@dataclass(frozen=True)
class Noun:
    """One noun. `plural` and `french_plural` are "" where the plural is not used."""

    english: str
    plural: str
    french: str
    french_plural: str
    feminine: bool
    classes: tuple[str, ...]  # the noun's own name is one of them

    def is_a(self, classes: tuple[str, ...]) -> bool:
        return any(each in self.classes for each in classes)

    @property
    def mass(self) -> bool:
        return "mass" in self.classes


def _noun(row: str) -> Noun:
    english, french, gender, classes = (cell.split() for cell in row.split("|"))
    one, many = (english[0], french[0]), (english[1], french[1]) if english[1:] else ("", "")
    return Noun(one[0], many[0], one[1], many[1], gender == ["f"], (*classes, english[0]))


NOUNS = {noun.english: noun for noun in map(_noun, _TABLE.strip().splitlines())}


@cache
def nouns_of(*classes: str) -> tuple[Noun, ...]:
    """All nouns of any of these classes, in the order of the table."""
    return tuple(noun for noun in NOUNS.values() if noun.is_a(classes))
