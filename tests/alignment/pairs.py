"""Pairs in one line: words with blanks between, links as (target, source)."""

from attention_core.datasets import Pair


def pair(source, target, sure=(), possible=()):
    return Pair(
        tuple(source.split()), tuple(target.split()), frozenset(sure), frozenset(sure) | frozenset(possible)
    )


LOVE = pair("I love you", "je t’ aime", {(0, 0), (1, 2), (2, 1)})
LOOK = pair("look it up", "cherchez -le", {(0, 0), (1, 1)}, {(0, 2)})
