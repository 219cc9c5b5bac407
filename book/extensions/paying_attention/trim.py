"""Drop the style rules that no page can use: most of the 400 kB that theme and extensions bring."""

import itertools
import re
from collections.abc import Iterable

import tinycss2
from tinycss2.ast import Node

NESTING = ("media", "supports", "container", "layer")


def words(texts: Iterable[str]) -> set[str]:
    """Everything in pages and scripts that might be a class or an id; rather too much than too little."""
    return {word for text in texts for word in re.findall(r"[A-Za-z_][\w-]*", text)}


def trimmed(css: str, used: set[str]) -> str:
    """`css` without comments and without the selectors that name a class or an id outside `used`."""
    return _kept(tinycss2.parse_stylesheet(css, skip_comments=True, skip_whitespace=True), used)


def _kept(rules: list[Node], used: set[str]) -> str:
    parts = []
    for rule in rules:
        if rule.type == "qualified-rule":
            selectors = [s for s in _selectors(rule.prelude) if _names(s) <= used]
            if selectors:
                prelude = ",".join(tinycss2.serialize(s).strip() for s in selectors)
                parts.append(f"{prelude}{{{tinycss2.serialize(rule.content).strip()}}}")
        elif rule.type == "at-rule" and rule.at_keyword in NESTING and rule.content is not None:
            inner = tinycss2.parse_blocks_contents(rule.content, skip_comments=True, skip_whitespace=True)
            if body := _kept(inner, used):
                parts.append(f"@{rule.at_keyword}{tinycss2.serialize(rule.prelude)}{{{body}}}")
        elif rule.type == "at-rule":
            parts.append(rule.serialize())
        elif rule.type == "error":
            raise ValueError(f"line {rule.source_line} of a style sheet cannot be read: {rule.message}")
    return "\n".join(parts)


def _selectors(prelude: list[Node]) -> list[list[Node]]:
    """A selector list, split at its commas."""
    found: list[list[Node]] = [[]]
    for token in prelude:
        if token == ",":
            found.append([])
        else:
            found[-1].append(token)
    return found


def _names(selector: list[Node]) -> set[str]:
    """The classes and ids that an element must have; those inside `:not(...)` and its like are left out."""
    hashes = {token.value for token in selector if token.type == "hash"}
    pairs = itertools.pairwise(selector)
    return hashes | {name.value for dot, name in pairs if dot == "." and name.type == "ident"}
