"""Who becomes whom: the relations of the catalogue as a tree, and the laws that the tests try.

Lists, not pictures of lists: they can be searched, read aloud and followed, and they fit a phone.
"""

from collections.abc import Iterator, Mapping

from attention_core.catalogue import LAWS, VARIANTS, Variant
from attention_core.figures.static import Markup, h
from attention_core.figures.variant_table import tex, words


class Kinship:
    """The relations as a tree: what stands under a mechanism becomes it, where the condition holds.

    Each mechanism stands once, as near to the root as its relations allow; further relations are named
    beside it.
    """

    def __init__(self, variants: Mapping[str, Variant] | None = None):
        self.variants = dict(VARIANTS if variants is None else variants)
        self.edges = [
            (name, equality.other, equality.when)
            for name, variant in self.variants.items()
            for equality in variant.equals
            if equality.other in self.variants and equality.other != name
        ]
        related = {name for edge in self.edges for name in edge[:2]}
        self.alone = [name for name in self.variants if name not in related]
        self.parents: dict[str, tuple[str, str]] = {}  # name -> (what it becomes, when)
        self.roots = list(self._plant(related))

    def _plant(self, related: set[str]) -> Iterator[str]:
        """Roots, the most sought first; fills in the parents on the way, level by level."""
        waiting = dict.fromkeys(name for name in self.variants if name in related)
        while waiting:
            root = max(
                waiting, key=lambda name: (not self._becomes(name, waiting), self._sought(name, waiting))
            )
            yield root
            level = [root]
            while level:
                for name in level:
                    waiting.pop(name, None)
                level = [child for name in level for child in self._adopt(name, waiting)]

    def _becomes(self, name: str, among: Mapping) -> bool:
        return any(source == name and target in among for source, target, _ in self.edges)

    def _sought(self, name: str, among: Mapping) -> int:
        return sum(target == name and source in among for source, target, _ in self.edges)

    def _adopt(self, name: str, waiting: Mapping) -> list[str]:
        found = []
        for source, target, when in self.edges:
            if target == name and source in waiting and source not in self.parents:
                self.parents[source] = name, when
                found.append(source)
        return found

    def tied_to(self, name: str) -> set[str]:
        """The mechanisms that a chain of relations leads from, to `name`."""
        found, new = set(), {name}
        while new:
            new = {source for source, target, _ in self.edges if target in new} - found - {name}
            found |= new
        return found

    def _link(self, name: str) -> Markup:
        return h("a", self.variants[name].title, href=f"#variant-{name}")

    def _node(self, name: str) -> Markup:
        parts: list[object] = [self._link(name)]
        parent, when = self.parents.get(name, (None, ""))
        if parent:
            parts.append(h("span.pa-when", tex(when)))
        further = [
            (other, why)
            for source, other, why in self.edges
            if source == name and (other, why) != (parent, when)
        ]
        parts += [h("span.pa-when", "also ", self._link(other), " when ", tex(why)) for other, why in further]
        children = [child for child, (above, _) in self.parents.items() if above == name]
        if children:
            parts.append(h("ul", *(self._node(child) for child in children)))
        return h("li", *parts)

    def _repr_html_(self) -> str:
        above = {
            parent for parent, _ in self.parents.values()
        }  # a root with nothing below is named elsewhere
        tree = h("ul", *(self._node(root) for root in self.roots if root in above))
        rest = [h("span", self._link(name)) for name in self.alone]
        alone = [h("p.pa-alone", h("b", "Related to none of the others: "), *rest)] if rest else []
        return str(h("div.pa-kin", tree, *alone))


class Laws:
    """The laws and what each of them promises."""

    def _repr_html_(self) -> str:
        entries = (
            h("div", h("dt", words(law).capitalize()), h("dd", f"{text[0].upper()}{text[1:]}."))
            for law, text in LAWS.items()
        )
        return str(h("dl.pa-laws", *entries))
