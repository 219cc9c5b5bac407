"""Models built from the library: `Decoder`, a decoder-only transformer, and `generate`, its loop;
`Translator`, an encoder and a decoder with each of the classic attentions between them; `Transformer`, which
translates by attention alone; `ViT`, which reads images.

Attention, positions and normalisers are the library's functions; a model adds parameters and their order.
Those that are trained come by `load`: `models.load("translator-additive")`.
Wrong types raise `TypeError`, wrong shapes and sizes `ValueError`, with the remedy.
"""

from attention_core.models.decoder import Decoded, Decoder, DecoderLayer
from attention_core.models.generation import Generated, generate
from attention_core.models.shipped import card, load, names, trace
from attention_core.models.transformer import Transformer
from attention_core.models.translator import Translation, Translator, Vocabulary
from attention_core.models.vit import ViT

__all__ = [
    "Decoded",
    "Decoder",
    "DecoderLayer",
    "Generated",
    "Transformer",
    "Translation",
    "Translator",
    "ViT",
    "Vocabulary",
    "card",
    "generate",
    "load",
    "names",
    "trace",
]
