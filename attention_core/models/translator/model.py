"""Translator: a network with its two vocabularies; text in, text out, and the weights that made it."""

from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Real
from pathlib import Path

import torch
from jaxtyping import Float
from torch import Tensor, nn

from attention_core import heads, normalizers
from attention_core.datasets import Pair, detokenize, tokenize
from attention_core.models import shelf
from attention_core.models.translator.attention import ATTENTIONS, EARLY, Memory
from attention_core.models.translator.batches import Batch, buckets, collate, padded
from attention_core.models.translator.network import Decoded, Decoder, Encoder
from attention_core.models.translator.search import Draft, search
from attention_core.models.translator.vocabulary import Vocabulary

KIND = "translator"  # what its files say that they hold
_TOGETHER = 128  # sentences in a batch where nothing is learned


@dataclass(frozen=True)
class Translation:
    """A sentence, its translation, and where each word of it came from."""

    text: str
    source: tuple[str, ...]  # as the model read it: `</s>` last, `<unk>` for a word that it does not know
    target: tuple[str, ...]  # `</s>` last
    weights: Float[Tensor, "target source"] | None  # None without attention
    log_probability: float  # of the target, natural logarithm


class Translator(nn.Module):
    r"""Encoder, decoder and the attention between them, of Bahdanau et al. (2014) and Luong et al. (2015).

    $p(y \mid x) = \prod_t p(y_t \mid y_{<t}, c_t)$, $c_t = \sum_j w_{tj} h_j$, $h_j$ the encoder's states.
    The parts are `Encoder`, `Decoder` and `Attention`; see there for equations.

    Parameters
    ----------
    source, target
        The vocabularies of the two languages.
    attention
        One of `ATTENTIONS`.
    width
        Features of h_j (two directions, half each), of the decoder's states and of what attention hides.
    embedding
        Features of a word.
    dropout
        Share of the embedded words' and the output's features left out in training.
    input_feeding
        Whether the decoder reads its last attentional vector (Luong et al., section 3.3); not for `none`,
        `additive` and `hard`, whose decoder reads the context itself.
    half_width
        D of the windows of `local_m` and `local_p`.
    """

    def __init__(
        self,
        source: Vocabulary,
        target: Vocabulary,
        *,
        attention: str = "additive",
        width: int = 128,
        embedding: int = 64,
        dropout: float = 0.1,
        input_feeding: bool = False,
        half_width: int = 2,
    ):
        super().__init__()
        _check_options(source, target, attention, width, embedding, dropout, input_feeding, half_width)
        self.source, self.target = source, target
        self.options = {
            "attention": attention, "width": width, "embedding": embedding, "dropout": dropout,
            "input_feeding": input_feeding, "half_width": half_width,
        }  # fmt: skip
        self.encoder = Encoder(len(source), embedding, width, dropout, own=attention != "none")
        self.decoder = Decoder(len(target), attention, embedding, width, dropout, input_feeding, half_width)

    @property
    def attention(self) -> str:
        """Which of `ATTENTIONS` it has."""
        return self.options["attention"]

    def forward(self, batch: Batch, **options) -> Decoded:
        """What it says to each word of the right answer, having read the right words before it."""
        memory = self.decoder.prepare(self.encoder(batch.source, batch.lengths))
        return self.decoder(memory, batch.inputs, self.decoder.start(memory), **options)

    def translate(
        self,
        text: str | Sequence[str],
        *,
        beam: int = 1,
        temperature: Real = 1.0,
        length_power: Real = 1.0,
    ) -> Translation | list[Translation]:
        r"""Translate a text, or each of several: one `Translation` for one, a list for a list.

        `beam` is how many beginnings compete, 1 being greedy; of those that end, the one of the greatest
        $\ln p(y) / |y|^{a}$ wins, a being `length_power`. `temperature` is that of attention's softmax, not
        of the words': towards 0 every word looks at one place, as in hard attention at any.
        """
        _check_search(beam, temperature, length_power)
        texts = [text] if isinstance(text, str) else text
        sentences = [_tokens(one, number) for number, one in enumerate(_listed(texts))]
        found = self.translate_tokens(
            sentences, beam=beam, temperature=temperature, length_power=length_power
        )
        return found[0] if isinstance(text, str) else found

    @torch.no_grad()
    def translate_tokens(
        self,
        sentences: Sequence[Sequence[str]],
        *,
        beam: int = 1,
        temperature: Real = 1.0,
        length_power: Real = 1.0,
    ) -> list[Translation]:
        """As `translate`, of sentences that are words already, such as the sources of a corpus."""
        options = {"beam": beam, "temperature": temperature, "length_power": length_power}
        _check_search(**options)
        numbers = [self.source.numbers(sentence) for sentence in sentences]
        order = sorted(range(len(numbers)), key=lambda row: len(numbers[row]))
        found: dict[int, Translation] = {}
        with _evaluating(self):
            for start in range(0, len(order), _TOGETHER):
                rows = order[start : start + _TOGETHER]
                drafts = search(self.decoder, self._read([numbers[row] for row in rows]), **options)
                for row, draft in zip(rows, drafts, strict=True):
                    found[row] = self._translation(numbers[row], draft)
        return [found[row] for row in range(len(numbers))]

    @torch.no_grad()
    def align(
        self, pairs: Sequence[Pair], *, temperature: Real = 1.0
    ) -> list[Float[Tensor, "target source"]]:
        """Weights of each pair's own target words, the right words having been read before each.

        `temperature` as in `translate`. Rows are target words and `</s>`, columns source words and `</s>`:
        what `alignment.links` takes.
        """
        pairs = _checked_pairs(pairs)
        if self.decoder.attention is None:
            raise ValueError(
                "`align` needs attention; got a translator with `attention='none'`, which has no weights. "
                "Load another, for instance `models.load('translator-additive')`."
            )
        found: dict[int, Tensor] = {}
        with _evaluating(self):
            for rows in buckets(pairs, _TOGETHER):
                batch = collate([pairs[row] for row in rows], self.source, self.target)
                weights = self(batch, temperature=temperature).weights
                for row, one in zip(rows, weights, strict=True):
                    found[row] = one[: len(pairs[row].target) + 1, : len(pairs[row].source) + 1].clone()
        return [found[row] for row in range(len(pairs))]

    def save(self, path: Path | str) -> None:
        """Write parameters, options and vocabularies to one file, which `load` reads."""
        facts = {"options": self.options, "source": self.source.words, "target": self.target.words}
        shelf.save(Path(path), KIND, facts, self.state_dict())

    @classmethod
    def load(cls, path: Path | str) -> "Translator":
        """A translator that was saved, ready to translate; a damaged file is refused with the remedy."""
        facts, tensors = shelf.read(Path(path), KIND)
        model = cls(Vocabulary(facts["source"]), Vocabulary(facts["target"]), **facts["options"])
        model.load_state_dict(tensors)
        return model.eval()

    def _read(self, numbers: Sequence[Sequence[int]]) -> Memory:
        return self.decoder.prepare(self.encoder(*padded(numbers)))

    def _translation(self, source: Sequence[int], draft: Draft) -> Translation:
        target = self.target.spelled(draft.words)
        weights = torch.stack(draft.weights) if draft.weights else None
        text = detokenize(target[:-1], "fr")
        return Translation(text, self.source.spelled(source), target, weights, draft.log_probability)


class _evaluating:
    """A model without dropout or chance for a while; afterwards in the mode it was in."""

    def __init__(self, model: nn.Module):
        self.model, self.training = model, model.training

    def __enter__(self):
        self.model.eval()

    def __exit__(self, *_):
        self.model.train(self.training)


def _tokens(text: object, number: int) -> tuple[str, ...]:
    if not isinstance(text, str):
        raise TypeError(
            f"`text` must be a text or a list of them; got {type(text).__name__} as number {number}. Words "
            "that are split already go to `translate_tokens`."
        )
    tokens = tokenize(text, "en")
    if not tokens:
        raise ValueError(f"`text` must hold at least one word; got {text!r} as number {number}.")
    return tokens


def _listed(texts: object) -> list:
    if not isinstance(texts, list | tuple):
        raise TypeError(
            f"`text` must be a text or a list of them; got {type(texts).__name__}. Use `list(texts)`."
        )
    return list(texts)


def _checked_pairs(pairs: Sequence[Pair]) -> list[Pair]:
    if isinstance(pairs, Pair) or not all(isinstance(pair, Pair) for pair in pairs):
        raise TypeError(
            "`pairs` must be a list of `datasets.Pair`, as `datasets.translation('test')` gives it; one pair "
            "is a list of one."
        )
    return list(pairs)


def _check_search(beam: int, temperature: Real, length_power: Real) -> None:
    heads.check_positive("beam", beam)
    normalizers.rows.check_temperature(temperature)
    if (
        not isinstance(length_power, Real)
        or isinstance(length_power, bool)
        or not 0 <= length_power < torch.inf
    ):
        raise ValueError(
            f"`length_power` must be a finite number of at least 0; got {length_power!r}. 0 compares whole "
            "probabilities, 1 their mean a word."
        )


def _check_options(
    source: Vocabulary,
    target: Vocabulary,
    attention: str,
    width: int,
    embedding: int,
    dropout: Real,
    input_feeding: bool,
    half_width: int,
) -> None:
    for name, vocabulary in (("source", source), ("target", target)):
        if not isinstance(vocabulary, Vocabulary):
            raise TypeError(
                f"`{name}` must be a `Vocabulary`; got {type(vocabulary).__name__}. Use "
                f"`Vocabulary.build(pair.{name} for pair in pairs)`."
            )
    if attention not in ATTENTIONS:
        raise ValueError(f"`attention` must be one of {', '.join(ATTENTIONS)}; got {attention!r}.")
    for name, count in (("width", width), ("embedding", embedding), ("half_width", half_width)):
        heads.check_positive(name, count)
    if width % 2:
        raise ValueError(f"`width` must be even, half for each direction of the encoder; got {width}.")
    if not isinstance(dropout, Real) or isinstance(dropout, bool) or not 0 <= dropout < 1:
        raise ValueError(f"`dropout` must be a share, at least 0 and below 1; got {dropout!r}.")
    if input_feeding and attention in ("none", *EARLY):
        raise ValueError(
            f"`input_feeding` is for the attentions of Luong et al.; got it with {attention!r}, whose "
            "decoder reads the context itself. Leave it out."
        )
