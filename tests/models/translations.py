"""A language small enough to learn in seconds, and models that translate it."""

import math
import random

import torch
from torch import nn

from attention_core.datasets import Pair
from attention_core.models import Transformer, Translator, Vocabulary
from attention_core.models.sentences.batches import collate
from attention_core.models.sentences.search import longest_allowed
from attention_core.models.sentences.vocabulary import BEGIN, PAD
from attention_core.models.translator import Recipe, Training

NOUNS, ADJECTIVES, VERBS = ("cat", "dog", "bird", "fish"), ("red", "big", "old"), ("sees", "likes", "eats")


def phrase(chance, words, links, french):
    """A noun, perhaps with an adjective, which changes sides in the other language."""
    noun = chance.choice(NOUNS)
    start = len(words)
    if chance.random() < 0.5:
        words += [chance.choice(ADJECTIVES), noun]
        links += [(len(french), start + 1), (len(french) + 1, start)]
        french += [f"le-{noun}", f"f-{words[start]}"]
    else:
        words.append(noun)
        links.append((len(french), start))
        french.append(f"le-{noun}")


def pair(chance):
    words, links, french = [], [], []
    phrase(chance, words, links, french)
    if chance.random() < 0.8:
        links.append((len(french), len(words)))
        words.append(chance.choice(VERBS))
        french.append(f"f-{words[-1]}")
        phrase(chance, words, links, french)
    return Pair(tuple(words), tuple(french), frozenset(links), frozenset(links))


def pairs(count, seed=0):
    chance = random.Random(seed)
    return [pair(chance) for _ in range(count)]


def vocabularies():
    known = pairs(300)
    return (Vocabulary.build(one.source for one in known), Vocabulary.build(one.target for one in known))


def translator(attention="additive", seed=0, dtype=torch.float64, width=8, **options):
    """An untrained translator whose parameters are large enough for every word to matter."""
    model = Translator(*vocabularies(), attention=attention, width=width, embedding=5, **options).to(dtype)
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.6, generator=generator)
    return model.eval()


def transformer(seed=0, dtype=torch.float64, **options):
    """An untrained transformer whose parameters are large enough for every word and head to matter."""
    sizes = {"width": 16, "heads": 4, "layers": 2, "hidden": 24}
    model = Transformer(*vocabularies(), **(sizes | options)).to(dtype)
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.5, generator=generator)
    return model.eval()


def recipe(attention="additive", **options):
    small = {"width": 16, "embedding": 8, "epochs": 3, "batch": 16, "rate": 0.01}
    return Recipe(attention=attention, **(small | options))


def training(attention="additive", count=200, **options):
    kept = {name: options.pop(name) for name in ("checkpoint", "report", "tracer") if name in options}
    return Training(recipe(attention, **options), pairs(count), pairs(40, seed=1), **kept)


# -- what a search says, by other means -------------------------------------------------------------------


def log_probability(model, source, target):
    """Log-probability of a target, the words that the search never says left as they are."""
    pair = Pair(source, target, frozenset(), frozenset())
    batch = collate([pair], model.source, model.target)
    chances = torch.log_softmax(model(batch).logits[0], dim=-1)
    return chances.gather(-1, batch.targets[0][:, None]).sum().item()


def by_hand(model, source):
    """Greedy: the whole beginning is read anew for each word."""
    words, limit = [], longest_allowed(len(source) + 1)
    while len(words) + 1 < limit:
        pair = Pair(source, tuple(words), frozenset(), frozenset())
        logits = model(collate([pair], model.source, model.target)).logits[0, -1].clone()
        logits[[PAD, BEGIN]] = -math.inf
        word = model.target.words[int(logits.argmax())]
        if word == "</s>":
            break
        words.append(word)
    return (*words, "</s>")
