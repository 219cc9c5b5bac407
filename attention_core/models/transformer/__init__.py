"""The encoder-decoder transformer, English to French: built, trained, and looked into head by head.

`Transformer` is the model; `Training` trains one from a `Recipe`; `models.load("transformer-en-fr")` brings
the one that ships. `surprise` is by what heads are compared with their absence.
"""

from attention_core.models.transformer.heads import PARTS
from attention_core.models.transformer.measures import Evaluator, layer_error_rates, surprise
from attention_core.models.transformer.model import Decoded, Reading, Transformer
from attention_core.models.transformer.training import Recipe, Training

__all__ = [
    "PARTS",
    "Decoded",
    "Evaluator",
    "Reading",
    "Recipe",
    "Training",
    "Transformer",
    "layer_error_rates",
    "surprise",
]
