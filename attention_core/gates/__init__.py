"""Attention in convolutional networks: gates on channels and places, and attention between pixels.

Images are (batch, channels, height, width). A gate multiplies what is there by a number between 0 and 1; it
sums over nothing. Pixels that attend are a sequence of h * w positions, row by row from the top.
Batch normalisation, which some of the papers' code adds, is left out throughout.
"""

from attention_core.gates.channel import ECA, ChannelGate, SqueezeExcitation
from attention_core.gates.image import Gated
from attention_core.gates.pixels import CrissCross, DualAttended, DualAttention, NonLocal
from attention_core.gates.spatial import CBAM, SpatialGate

__all__ = [
    "CBAM",
    "ECA",
    "ChannelGate",
    "CrissCross",
    "DualAttended",
    "DualAttention",
    "Gated",
    "NonLocal",
    "SpatialGate",
    "SqueezeExcitation",
]
