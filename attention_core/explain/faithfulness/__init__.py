"""Faithfulness: whether a map explains, measured. One number an image, and how sure their mean is.

- where the object is: `pointing_game`, `mass_accuracy`, `rank_accuracy`, `auc`, against exact masks;
- which object was asked for: `class_auc`, `correlation` of the maps for two targets, `contrastive_deletion`;
- what the model needs: `deletion`, `insertion`, by dropping tokens (`curve` gives the whole line);
- whether it depends on the model: `randomization_cascade`, `shortcut`, `permuted_attention`;
- `interval` of a mean, over images and models; `patch_masks`, the share of each patch that a mask covers.

Localisation alone proves nothing: an edge filter, which knows no model, does it well. Ties never depend on
the order in memory: a constant map gets what chance gets. Empty masks, NaN and infinite values raise
`ValueError`, wrong types `TypeError`, with the remedy. Nothing that is given is changed.
"""

from attention_core.explain.faithfulness.discrimination import class_auc, correlation
from attention_core.explain.faithfulness.dropping import contrastive_deletion, curve, deletion, insertion
from attention_core.explain.faithfulness.given import patch_masks
from attention_core.explain.faithfulness.localization import (
    auc,
    mass_accuracy,
    pointing_game,
    rank_accuracy,
)
from attention_core.explain.faithfulness.sanity import (
    Shortcut,
    permuted_attention,
    randomization_cascade,
    randomized,
    shortcut,
)
from attention_core.explain.faithfulness.uncertainty import Interval, interval

__all__ = [
    "Interval",
    "Shortcut",
    "auc",
    "class_auc",
    "contrastive_deletion",
    "correlation",
    "curve",
    "deletion",
    "insertion",
    "interval",
    "mass_accuracy",
    "patch_masks",
    "permuted_attention",
    "pointing_game",
    "randomization_cascade",
    "randomized",
    "rank_accuracy",
    "shortcut",
]
