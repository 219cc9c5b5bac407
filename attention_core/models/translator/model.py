"""Translator: a recurrent encoder and decoder with any of the classic attentions between them."""

from collections.abc import Sequence
from numbers import Real

from jaxtyping import Float
from torch import Tensor

from attention_core import heads, normalizers
from attention_core.datasets import Pair
from attention_core.models.sentences.batches import Batch
from attention_core.models.sentences.translating import (
    Translating,
    Translation,
    check_dropout,
    check_vocabularies,
)
from attention_core.models.sentences.vocabulary import Vocabulary
from attention_core.models.translator.attention import ATTENTIONS, EARLY, Memory
from attention_core.models.translator.network import Decoded, Decoder, Encoder


class Translator(Translating):
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

    KIND = "translator"

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
        _check_options(source, target, attention, width, embedding, dropout, input_feeding, half_width)
        options = {
            "attention": attention, "width": width, "embedding": embedding, "dropout": dropout,
            "input_feeding": input_feeding, "half_width": half_width,
        }  # fmt: skip
        super().__init__(source, target, options)
        self.encoder = Encoder(len(source), embedding, width, dropout, own=attention != "none")
        self.decoder = Decoder(len(target), attention, embedding, width, dropout, input_feeding, half_width)

    @property
    def attention(self) -> str:
        """Which of `ATTENTIONS` it has."""
        return self.options["attention"]

    def forward(self, batch: Batch, **options) -> Decoded:
        """What it says to each word of the right answer, having read the right words before it."""
        memory = self._remember(batch.source, batch.lengths)
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
        normalizers.rows.check_temperature(temperature)
        options = {"beam": beam, "temperature": temperature, "length_power": length_power}
        return super().translate(text, **options)

    def translate_tokens(
        self,
        sentences: Sequence[Sequence[str]],
        *,
        beam: int = 1,
        temperature: Real = 1.0,
        length_power: Real = 1.0,
    ) -> list[Translation]:
        """As `translate`, of sentences that are words already, such as the sources of a corpus."""
        normalizers.rows.check_temperature(temperature)
        options = {"beam": beam, "temperature": temperature, "length_power": length_power}
        return super().translate_tokens(sentences, **options)

    def align(
        self, pairs: Sequence[Pair], *, temperature: Real = 1.0
    ) -> list[Float[Tensor, "target source"]]:
        """Weights of each pair's own target words, the right words having been read before each.

        `temperature` as in `translate`. Rows are target words and `</s>`, columns source words and `</s>`:
        what `alignment.links` takes.
        """
        if self.decoder.attention is None:
            raise ValueError(
                "`align` needs attention; got a translator with `attention='none'`, which has no weights. "
                "Load another, for instance `models.load('translator-additive')`."
            )
        return super().align(pairs, temperature=temperature)

    def _remember(self, source: Tensor, lengths: Tensor) -> Memory:
        return self.decoder.prepare(self.encoder(source, lengths))


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
    check_vocabularies(source, target)
    if attention not in ATTENTIONS:
        raise ValueError(f"`attention` must be one of {', '.join(ATTENTIONS)}; got {attention!r}.")
    for name, count in (("width", width), ("embedding", embedding), ("half_width", half_width)):
        heads.check_positive(name, count)
    if width % 2:
        raise ValueError(f"`width` must be even, half for each direction of the encoder; got {width}.")
    check_dropout(dropout)
    if input_feeding and attention in ("none", *EARLY):
        raise ValueError(
            f"`input_feeding` is for the attentions of Luong et al.; got it with {attention!r}, whose "
            "decoder reads the context itself. Leave it out."
        )
