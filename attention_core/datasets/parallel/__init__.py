"""English-French sentence pairs from a grammar, with gold word alignments.

Real translations come without alignments; people who mark them disagree. Here one grammar writes both
sentences, and each French word remembers the English words that it came from: the alignment is known, so a
model's can be scored. `python -m attention_core.datasets` prints counts, examples and their links.

**The grammar.** A sentence is first a record of what it says (`forms`), which is put into English and
French order.

=============================  ==========================================================================
adjectives before, behind      the small black dog: le petit chien noir
agreement, irregular forms     old, new, white: vieux vieil vieille, nouveau nouvel, blanc blanche
pronouns before the verb       I love you: je t’ aime; he gives us the key: il nous donne la clé
... behind a command           look it up: cherchez -le; do not look it up: ne le cherchez pas
... before an infinitive       he wants to see us: il veut nous voir
"it" after its noun            I take the key and lose it: je prends la clé et la perds
negation                       does not see: ne voit pas; never sees: ne voit jamais; cannot: ne peux pas
un, du, des under negation     I do not eat bread: je ne mange pas de pain
particles                      turn the lamp off, turn off the lamp: éteignez la lampe (turn on: allumez)
prepositions that vanish       look at, listen to, wait for: regarder, écouter, attendre
partitives, generics           some bread: du pain; apples: des pommes; I love dogs: j’ aime les chiens
des before an adjective        beautiful books: de beaux livres
owners                         the girl ’s book: le livre de la fille
tenses                         eats, ate, will eat: mange, a mangé, mangera
être, its agreement            she went: elle est allée
object before the participle   the letter that she wrote: la lettre qu’ elle a écrite
relative clauses               the man who sings: l’ homme qui chante; the key that I see: la clé que je vois
il y a                         there is no milk: il n’ y a pas de lait
avoir                          I am hungry: j’ ai faim; I need the key: j’ ai besoin de la clé
questions                      do you see her ?: est -ce que tu la vois ?; what do you eat ?: que manges -tu ?
one for many, many for one     in front of: devant; near: près de; every day: tous les jours
elision                        je le ne de que la ma ce ... before a vowel: j’ l’ n’ d’ qu’ l’ mon cet
contraction                    de le, de les, à le, à les: du, des, au, aux
=============================  ==========================================================================

The English always decides the French: "you" is tu, but commands are polite (cherchez, votre); who is
neither said nor named feminine is masculine ("it", "they" and "we" included, "it" after its noun excepted);
verbs whose past is written like the present (read, put) have none but "did not read". No "he",
"she" or "they" stands for a noun of its sentence.

**Tokens** are lower case, apart from "I"; see `tokenize`. About half of the statements end with a full
stop.

**Links** are (target, source). *Sure* links join words that mean the same: content words, pronouns,
articles, prepositions, "not" and ne, full stops; both halves of a contraction (du: de and le). *Possible*
links, added to these, join what only grammar asks for: pas (ne is sure, jamais too); the auxiliaries of
both languages (do, did, will; ai, suis); "to" before an infinitive; the particle or preposition of a verb
(up: cherchez); articles, du and des without a counterpart (to the noun); the second word of a fixed phrase
(près *de*, parce *que*, *ai* besoin *de*). Every French word has a link, and each English sentence has one
translation.

**Splits.** A checksum of the French sentence sends it to training, validation or test, so that no
translation and no paraphrase is in two of them, whatever the seed. One adjective of each noun that at least
four suit, one object pronoun of each verb that is said of persons, and "them" of every third of the other
verbs never meet in these three; `held_out` has sentences with at least one such combination of known words,
sentence by sentence as long as those of `test`. `long` has sources of 21 to 40 tokens, 25 of each length;
all others have at most 20. Sentences are the same if they differ only in case and final mark. Each word of
the four smaller splits occurs at least five times in the 12,000 pairs of training, which hold none of their
French sentences; a larger training set may hold the French of a `held_out` sentence, as the translation of
another ("loved it" for "loved him"). The `showcase` is in none, not even as a part of a sentence.
"""

from attention_core.datasets.parallel.examples import showcase
from attention_core.datasets.parallel.files import Corpus, read_pairs
from attention_core.datasets.parallel.pair import Pair, fingerprint, normalised
from attention_core.datasets.parallel.splits import SIZES, translation
from attention_core.datasets.parallel.text import detokenize, tokenize

__all__ = [
    "SIZES",
    "Corpus",
    "Pair",
    "detokenize",
    "fingerprint",
    "normalised",
    "read_pairs",
    "showcase",
    "tokenize",
    "translation",
]
