"""A translator, English to French, with each of the classic attentions: built, trained and searched.

`Translator` is the model; `Training` trains one from a `Recipe`; `models.load` brings those that ship.
"""

from attention_core.models.epochs import Progress
from attention_core.models.sentences.evaluation import error_rate, exact_match
from attention_core.models.sentences.translating import Translation
from attention_core.models.sentences.vocabulary import Vocabulary
from attention_core.models.translator.attention import ATTENTIONS
from attention_core.models.translator.model import Translator
from attention_core.models.translator.noise import gradient_noise
from attention_core.models.translator.traces import Shown, Trace, Tracer
from attention_core.models.translator.training import Recipe, Training

__all__ = [
    "ATTENTIONS",
    "Progress",
    "Recipe",
    "Shown",
    "Trace",
    "Tracer",
    "Training",
    "Translation",
    "Translator",
    "Vocabulary",
    "error_rate",
    "exact_match",
    "gradient_noise",
]
