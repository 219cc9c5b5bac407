"""What models share that read a sentence and write its translation, whatever network they are.

Words as numbers, sentences side by side, the search, the text that comes out, and how good it is:
`Translating` is the model, `Translator` and `Transformer` are two.
"""

from attention_core.models.sentences.evaluation import error_rate, exact_match
from attention_core.models.sentences.translating import Translating, Translation
from attention_core.models.sentences.vocabulary import Vocabulary

__all__ = ["Translating", "Translation", "Vocabulary", "error_rate", "exact_match"]
