"""What cannot be measured is refused, with the remedy."""

from functools import partial

import numpy as np
import pytest
import torch
from torch import nn

from attention_core.explain import faithfulness as f
from attention_core.models import ViT

MAPS, MASKS = torch.rand(2, 2, 2), torch.ones(2, 4, 4).bool()
MASKS[:, 0] = False
EMPTY, OTHER, NAN = MASKS.clone(), ~MASKS, MAPS.clone()
EMPTY[1] = False
NAN[1, 0, 0] = float("nan")
IMAGES = torch.rand(2, 3, 12, 12)
MODEL = ViT(image_size=12, width=8, depth=1, heads=2, classes=3).eval()


class Broken(nn.Module):
    def forward(self, images, keep=None):
        return torch.full((len(images), 3), float("nan"))


def case(error, words, function, *arguments, **options):
    return pytest.param(error, words, partial(function, *arguments, **options), id=" ".join(words))


MISTAKES = [
    # maps
    case(TypeError, ["`maps`", "ndarray", ".values", "torch.as_tensor"], f.auc, MAPS.numpy(), MASKS),
    case(TypeError, ["`maps`", "int64", "maps.float()"], f.auc, MAPS.long(), MASKS),
    case(ValueError, ["`maps`", "(2, 2)", "maps[None]"], f.auc, MAPS[0], MASKS),
    case(ValueError, ["`maps`", "(0, 2, 2)"], f.auc, MAPS[:0], MASKS[:0]),
    case(ValueError, ["`maps`", "NaN", "1 of 2", "map 1", "leave those"], f.auc, NAN, MASKS),
    case(ValueError, ["`maps`", "infinite"], f.mass_accuracy, MAPS / 0, MASKS),
    # masks
    case(TypeError, ["`masks`", "float32", "masks > 0"], f.auc, MAPS, MASKS.float()),
    case(TypeError, ["`masks`", "ndarray"], f.auc, MAPS, MASKS.numpy()),
    case(ValueError, ["`masks`", "(2, 1, 4, 4)", "scenes.masks["], f.auc, MAPS, MASKS[:, None]),
    case(ValueError, ["`masks`", "1 masks for 2 maps"], f.auc, MAPS, MASKS[:1]),
    case(ValueError, ["4 x 4", "3 x 2", "model.grid"], f.patch_masks, MASKS, (3, 2)),
    case(ValueError, ["4 x 4", "0 x 2"], f.patch_masks, MASKS, (0, 2)),
    case(ValueError, ["4 x 4", "8 x 8"], f.auc, torch.rand(2, 8, 8), MASKS),
    *(
        case(ValueError, ["`masks`", "empty in 1 of 2", "image 1", "flatten(1).any(1)"], measure, MAPS, EMPTY)
        for measure in (f.pointing_game, f.mass_accuracy, f.rank_accuracy, f.auc)
    ),
    case(ValueError, ["`masks`", "whole image", "2 of 2"], f.auc, MAPS, MASKS | True),
    case(ValueError, ["`others`", "empty"], f.class_auc, MAPS, OTHER, EMPTY),
    case(ValueError, ["`masks` and `others`", "share pixels", "2 of 2"], f.class_auc, MAPS, MASKS, MASKS),
    case(ValueError, ["`tags`", "empty"], f.shortcut, MAPS, EMPTY),
    # correlation
    case(
        ValueError,
        ["`maps` and `others`", "(2, 2, 2)", "(2, 3, 3)"],
        f.correlation,
        MAPS,
        torch.rand(2, 3, 3),
    ),
    case(ValueError, ["`others`", "NaN"], f.correlation, MAPS, NAN),
    # intervals
    case(ValueError, ["`values`", "(models, images)", "(0,)"], f.interval, []),
    case(ValueError, ["`values`", "(2, 2, 2)"], f.interval, MAPS),
    case(ValueError, ["`values`", "1 NaN or infinite", "of 3"], f.interval, [0.0, np.nan, 1.0]),
    case(ValueError, ["`level`", "0.95", "95"], f.interval, [0.0, 1.0], level=95),
    case(ValueError, ["`resamples`", "0"], f.interval, [0.0, 1.0], resamples=0),
    # dropping tokens
    case(
        TypeError,
        ["`model`", "`keep`", "Identity", "from_huggingface"],
        f.deletion,
        nn.Identity(),
        IMAGES,
        MAPS,
        0,
    ),
    case(ValueError, ["`maps`", "2 images", "1"], f.deletion, MODEL, IMAGES, MAPS[:1], 0),
    case(ValueError, ["`maps`", "NaN"], f.insertion, MODEL, IMAGES, NAN, 0),
    case(ValueError, ["`steps`", "at least 1", "0"], f.insertion, MODEL, IMAGES, MAPS, 0, steps=0),
    case(ValueError, ["`target`", "0..2", "3..3"], f.deletion, MODEL, IMAGES, MAPS, 3),
    case(ValueError, ["`target`", "0..2", "-1..0"], f.deletion, MODEL, IMAGES, MAPS, [0, -1]),
    case(ValueError, ["`target`", "2 images", "(3,)"], f.deletion, MODEL, IMAGES, MAPS, [0, 1, 2]),
    case(
        TypeError,
        ["`target`", "bool", "one class each"],
        f.deletion,
        MODEL,
        IMAGES,
        MAPS,
        torch.ones(2).bool(),
    ),
    case(ValueError, ["`other`", "0..2", "9..9"], f.contrastive_deletion, MODEL, IMAGES, MAPS, 0, 9),
    case(ValueError, ["NaN or infinite logits", "4 of 4 patches"], f.deletion, Broken(), IMAGES, MAPS, 0),
    # the model
    case(
        ValueError,
        ["`stages`", "Linear", '{"head": ["classifier"]'],
        f.randomization_cascade,
        nn.Linear(2, 2),
        IMAGES,
        lambda model, images: MAPS,
    ),
    case(
        ValueError,
        ['`stages["top"]`', "no parameter of ViT", "['classifier']", "cls_token"],
        f.randomization_cascade,
        MODEL,
        IMAGES,
        lambda model, images: MAPS,
        stages={"top": ["classifier"]},
    ),
    case(
        TypeError,
        ["`explain(model, images)`", "NoneType", ".values"],
        f.randomization_cascade,
        MODEL,
        IMAGES,
        lambda model, images: None,
    ),
    case(ValueError, ["`layer`", "1 blocks", "-1..0", "got 1"], f.permuted_attention, MODEL, IMAGES, layer=1),
    case(ValueError, ["`layer`", "from_huggingface"], f.permuted_attention, nn.Identity(), IMAGES),
]


@pytest.mark.parametrize(("error", "words", "call"), MISTAKES)
@pytest.mark.usefixtures("unchecked")
def test_a_mistake_is_told_with_its_remedy(error, words, call):
    with pytest.raises(error) as raised:
        call()
    for word in words:
        assert word in str(raised.value)
