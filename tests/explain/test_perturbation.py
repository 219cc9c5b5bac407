"""Taking parts away: a dropped token is one that was never there. And baselines, which look at no model."""

import torch
from scipy import ndimage

from attention_core import explain

from .subjects import DTYPE, assert_near, pictures, vit

TARGET = 2


def test_token_drop_is_running_the_model_without_the_token():
    for options in ({}, {"registers": 2}, {"pool": "cls_and_mean"}):
        model, images = vit(**options), pictures()
        expected = torch.zeros(3, 6, dtype=DTYPE)
        for patch in range(6):
            keep = torch.ones(3, 6, dtype=torch.bool)
            keep[:, patch] = False
            expected[:, patch] = (model(images) - model(images, keep=keep))[:, TARGET].detach()
        assert_near(explain.explain(model, images, TARGET, "token_drop").values.flatten(1), expected)


def test_occlusion_covers_one_patch_after_the_other():
    model, images = vit(), pictures()
    for fill in (None, 0.5):
        expected = torch.zeros(3, 2, 3, dtype=DTYPE)
        for row in range(2):
            for column in range(3):
                covered = images.clone()
                for image in covered:
                    colour = image.clone().mean((1, 2), keepdim=True) if fill is None else fill
                    image[:, 6 * row : 6 * row + 6, 6 * column : 6 * column + 6] = colour
                expected[:, row, column] = (model(images) - model(covered))[:, TARGET].detach()
        found = explain.explain(
            model, images, TARGET, "occlusion", **({} if fill is None else {"fill": fill})
        )
        assert_near(found.values, expected)


def test_edges_are_those_of_scipy():
    images = pictures()
    maps = explain.explain(vit(), images, method="edges").values
    for image, found in zip(images, maps, strict=True):
        grey = image.mean(0).numpy()
        across, down = (ndimage.sobel(grey, axis, mode="nearest") / 8 for axis in (1, 0))
        magnitude = torch.from_numpy((across**2 + down**2) ** 0.5)
        assert_near(found, magnitude.reshape(2, 6, 3, 6).sum((1, 3)))


def test_an_even_image_has_no_edges_and_its_map_says_so():
    found = explain.explain(vit(), torch.full((1, 3, 12, 18), 0.5, dtype=DTYPE), method="edges")
    assert (found.values == 0).all()
    assert "images [0] are 0 everywhere" in found.warnings[0]


def test_noise_is_the_images_own_and_the_seeds():
    model, images = vit(), pictures()
    first = explain.explain(model, images, method="random").values
    assert torch.equal(first, explain.explain(model, images, method="random").values)
    assert torch.equal(first[[2, 0]], explain.explain(model, images[[2, 0]], method="random").values)
    assert not torch.equal(first[0], first[1])
    assert not torch.equal(first, explain.explain(model, images, method="random", seed=1).values)
    assert (first >= 0).all()
    assert (first < 1).all()
