"""Every attention mechanism of the book *Paying Attention*: small, tested, readable.

Start at `pipeline.attend`; `catalogue.VARIANTS` lists what there is.
"""

from attention_core.pipeline import Attended, attend

__version__ = "0.1.0"
__all__ = ["Attended", "__version__", "attend"]
