"""Print what the generated corpus holds: word counts, split sizes, fingerprints, pairs with their links."""

from collections import Counter

from attention_core.datasets.parallel import SIZES, detokenize, fingerprint, showcase, translation


def describe(examples: int = 3) -> str:
    """The corpus in words: a table of the splits, the commonest words, and `examples` pairs of each split."""
    splits = {name: translation(name) for name in SIZES}
    lines = [
        f"{'split':<11}{'pairs':>7}{'English words':>15}{'French words':>14}{'reordered':>11}  fingerprint"
    ]
    for name, pairs in splits.items():
        words = [
            sum(len(side) for side in sides)
            for sides in zip(*((p.source, p.target) for p in pairs), strict=True)
        ]
        share = sum(not pair.monotone for pair in pairs) / len(pairs)
        lines.append(
            f"{name:<11}{len(pairs):>7}{words[0]:>15}{words[1]:>14}{share:>11.0%}  {fingerprint(pairs)[:16]}"
        )
    for language, side in (("English", "source"), ("French", "target")):
        counts = Counter(word for pair in splits["train"] for word in getattr(pair, side))
        common = ", ".join(f"{word} {n}" for word, n in counts.most_common(12))
        lines.append(f"\n{len(counts)} different {language} words in training; the commonest: {common}")
    for name, pairs in splits.items():
        lines.append(f"\n{name}")
        lines += [
            f"  {detokenize(p.source, 'en')}  |  {detokenize(p.target, 'fr')}" for p in pairs[:examples]
        ]
    lines.append("\nLinks: ■ sure, □ possible only")
    lines += [f"\n{pair.draw()}" for pair in showcase().values()]
    return "\n".join(lines)


if __name__ == "__main__":
    print(describe())
