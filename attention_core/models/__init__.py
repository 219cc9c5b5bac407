"""Models built from the library: `Decoder`, a decoder-only transformer, and `generate`, its loop.

Attention, positions and normalisers are the library's functions; a model adds parameters and their order.
Wrong types raise `TypeError`, wrong shapes and sizes `ValueError`, with the remedy.
"""

from attention_core.models.decoder import Decoded, Decoder, DecoderLayer
from attention_core.models.generation import Generated, generate

__all__ = ["Decoded", "Decoder", "DecoderLayer", "Generated", "generate"]
