"""Vocabulary: words to numbers and back, with four places for what is no word."""

from collections import Counter
from collections.abc import Iterable, Sequence

from attention_core import heads

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
PAD, BEGIN, END, UNKNOWN = range(len(SPECIAL))


class Vocabulary:
    """The words that a model knows, by number; a word that it does not know is `<unk>`, number 3.

    The first four numbers are `<pad>` (fills a batch), `<s>` (before the first target word), `</s>` (after
    the last word) and `<unk>`.
    """

    def __init__(self, words: Sequence[str]):
        """All words in order, the four specials first; see `build` for a vocabulary of a corpus."""
        self.words = tuple(words)
        if self.words[: len(SPECIAL)] != SPECIAL or len(set(self.words)) != len(self.words):
            raise ValueError(
                f"`words` must be distinct and begin with {', '.join(SPECIAL)}; got "
                f"{list(self.words[:4])}... Use `Vocabulary.build(sentences)`."
            )
        self._numbers = {word: number for number, word in enumerate(self.words)}

    @classmethod
    def build(
        cls, sentences: Iterable[Sequence[str]], *, minimum: int = 1, most: int | None = None
    ) -> "Vocabulary":
        """The words seen at least `minimum` times, the `most` commonest of them; ties in alphabetical order.

        `sentences` are sequences of words: `(pair.source for pair in pairs)`.
        """
        heads.check_positive("minimum", minimum)
        if most is not None:
            heads.check_positive("most", most)
        counts: Counter[str] = Counter()
        for sentence in sentences:
            if isinstance(sentence, str):
                raise TypeError(
                    f"`sentences` must be sequences of words; got the text {sentence!r}. Split it first, as "
                    "`datasets.tokenize` does."
                )
            counts.update(sentence)
        common = sorted((-count, word) for word, count in counts.items() if count >= minimum)
        words = [word for _, word in common if word not in SPECIAL]
        if not words:
            raise ValueError(
                f"`sentences` hold no word {minimum} times or more; got {len(counts)} different words. "
                "Lower `minimum`, or give more sentences."
            )
        return cls((*SPECIAL, *words[:most]))

    def __len__(self) -> int:
        return len(self.words)

    def __contains__(self, word: str) -> bool:
        return word in self._numbers

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Vocabulary) and self.words == other.words

    def __hash__(self) -> int:
        return hash(self.words)

    def numbers(self, words: Iterable[str]) -> list[int]:
        """Their numbers, `</s>` after them."""
        return [*(self._numbers.get(word, UNKNOWN) for word in words), END]

    def spelled(self, numbers: Iterable[int]) -> tuple[str, ...]:
        """The words of these numbers: what the model read, an unknown word as `<unk>`."""
        return tuple(self.words[number] for number in numbers)
