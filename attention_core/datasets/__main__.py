"""Print what the generated corpus holds: word counts, split sizes, fingerprints, pairs with their links."""

from collections import Counter

from attention_core.datasets.parallel import SIZES, Pair, detokenize, fingerprint, showcase, translation

HEADER = f"{'split':<11}{'pairs':>7}{'English':>9}{'French':>9}{'reordered':>11}  fingerprint"


def describe(examples: int = 3) -> str:
    """The corpus in words: the splits, the commonest words, `examples` pairs of each split, links."""
    splits = {name: translation(name) for name in SIZES}
    lines = [HEADER, *(_row(name, pairs) for name, pairs in splits.items())]
    for language, side in (("English", "source"), ("French", "target")):
        counts = Counter(word for pair in splits["train"] for word in getattr(pair, side))
        common = ", ".join(f"{word} {n}" for word, n in counts.most_common(12))
        lines.append(f"\n{len(counts)} different {language} words in training; the commonest: {common}")
    for name, pairs in splits.items():
        lines += [f"\n{name}", *(f"  {_text(pair)}" for pair in pairs[:examples])]
    lines.append("\nLinks: ■ sure, □ possible only")
    lines += [f"\n{pair.draw()}" for pair in showcase().values()]
    return "\n".join(lines)


def _row(name: str, pairs: list[Pair]) -> str:
    """Pairs, tokens of either language, the share whose sure links cross, and the fingerprint."""
    english, french = (sum(len(getattr(p, side)) for p in pairs) for side in ("source", "target"))
    share = sum(not pair.monotone for pair in pairs) / len(pairs)
    return f"{name:<11}{len(pairs):>7}{english:>9}{french:>9}{share:>11.0%}  {fingerprint(pairs)[:16]}"


def _text(pair: Pair) -> str:
    return f"{detokenize(pair.source, 'en')}  |  {detokenize(pair.target, 'fr')}"


if __name__ == "__main__":
    print(describe())
