"""A vision transformer: built to be looked into, trained on the generated shapes, loaded from checkpoints.

`ViT` is the model; `models.load("shapes-vit")` brings one that ships.
"""

from attention_core.models.vit.block import Block, Feed, GatedFeed, LayerScale, SelfAttention
from attention_core.models.vit.model import ViT
from attention_core.models.vit.options import POOLS

__all__ = ["POOLS", "Block", "Feed", "GatedFeed", "LayerScale", "SelfAttention", "ViT"]
