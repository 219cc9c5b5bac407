"""The generated images: what they show is known to the pixel, and they are the same on every machine."""

import math

import numpy as np
import pytest
import torch

from attention_core import datasets
from attention_core.datasets import SHAPE_CLASSES, Scenes, shapes
from attention_core.datasets.shapes import TAGGED, drawn, fingerprint
from attention_core.datasets.shapes.chance import Draw
from attention_core.datasets.shapes.forms import FORMS
from attention_core.datasets.shapes.paint import TAG_SIDE, colour, paint
from attention_core.datasets.shapes.plan import Object, Plan, plan
from attention_core.datasets.shapes.scenes import COUNTS

SPLITS = ("train", "validation", "test", "single", "pair", "shortcut", "shortcut_test")
FINGERPRINTS = {
    (split, size): digest
    for split, size, digest in (
        line.split()
        for line in """
train 48 deb9b1f728d3332a755c4ae4917cbf953afdfb481f4573cdaa6e832671fdfd23
train 64 f598596105584cab77b40e9c951c854fc2e4b332c3880da29f7ee0b1ce549bc2
validation 48 aa8349cb502443de47b18eb2806a7025c4abc5bf1fbde4703293a6407277a0f6
validation 64 a1c6b86c26c3a3689514e558f9f433e474c0eb5f0a109d2b730ed526550d51d6
test 48 4ed375ba9aea07f7b6dc0c44da29981f5f6457570df176849c63282ee82a7494
test 64 bd718fe63ae779fbbade6b53bee5774b2fea1f7272daa4b9a8c94fb6eba07a60
single 48 3784aa1b3d41ea7e223b6f71d106ac41548be60d3ac9b25ef7b3f8795c16370f
single 64 b6a4d05169faabec03596005e5f74908bf941da5e5def8b9c335ee20f603df29
pair 48 0604d9311d283975803cfdddf96652548e48eebc85164e5a3682882d999ec784
pair 64 8e560022ca8eedba7267fc984c1a1200d453ec3ec19ec46368e170675805888a
shortcut 48 af0d0d1e3a81690a5c5b0212223505a4a4551ec31f1f85ffd2fef3bac68f3a2b
shortcut 64 081a32047bdb3d5f03660723a722e0daec4154476baeddb3764a99e2b3ba2cd0
shortcut_test 48 1abbfb0cec2a1eedc430753bf3d053054977dac579b1ccf20d2020f0b0d0f411
shortcut_test 64 8e78670245232bc383327cf571600b9e17c8311431d2c71968b9441e5d196db0
""".strip().splitlines()
    )
}


# -- the same everywhere -----------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [48, 64])
@pytest.mark.parametrize("split", SPLITS)
def test_images_are_those_that_they_have_always_been(split, size):
    assert fingerprint(drawn(split, 24, size=size)) == FINGERPRINTS[split, str(size)]


def test_an_image_does_not_depend_on_how_many_are_asked_for():
    few, many = shapes("test", 3), shapes("test", 7)
    assert few.images.equal(many.images[:3])
    assert few.masks.equal(many.masks[:3])


def test_no_split_and_no_seed_shares_an_image():
    seen = [
        image.tobytes() for split in SPLITS for seed in (0, 1) for image in drawn(split, 20, seed=seed).images
    ]
    assert len(set(seen)) == len(seen) == 2 * 20 * len(SPLITS)


def test_chance_is_the_stream_of_bits_that_numpy_promises():
    """By hand: the key from the hash, the counter from the number, the upper 53 bits of each word."""
    bits = np.random.Philox(key=int("8f" * 16, 16), counter=[0, 0, 5, 0])
    draw = Draw("train", 0, 5)
    draw._bits = np.random.Philox(key=int("8f" * 16, 16), counter=[0, 0, 5, 0])
    expected = [int(word) // 2048 / 2**53 for word in bits.random_raw(6)]
    assert draw.uniform(2, 3).tolist() == [expected[:3], expected[3:]]
    assert min(expected) >= 0
    assert max(expected) < 1


def test_directions_are_unit_vectors_that_point_everywhere():
    draw = Draw("train", 0, 0)
    found = np.array([draw.direction() for _ in range(2000)])
    np.testing.assert_allclose((found**2).sum(1), 1, atol=1e-15)
    np.testing.assert_allclose(found.mean(0), 0, atol=0.06)
    quarters = np.bincount((2 * (found[:, 0] > 0) + (found[:, 1] > 0)).astype(int))
    assert quarters.min() > 420


# -- what is in them ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("split", SPLITS)
def test_shapes_and_types_are_as_promised(split):
    for size in (48, 64):
        scenes = shapes(split, 5, size=size)
        assert len(scenes) == 5
        assert scenes.images.shape == (5, 3, size, size)
        assert scenes.images.dtype == torch.float32
        assert scenes.labels.shape == (5, 8)
        assert scenes.masks.shape == (5, 8, size, size)
        assert scenes.tags.shape == (5, size, size)
        assert {scenes.labels.dtype, scenes.masks.dtype, scenes.tags.dtype} == {torch.bool}
        assert 0 <= scenes.images.min() < 0.2
        assert 0.8 < scenes.images.max() <= 1


def test_left_out_the_count_is_that_of_the_split():
    assert len(shapes("single")) == COUNTS["single"] == 500


@pytest.mark.parametrize(("split", "counts"), [("train", {1, 2, 3}), ("single", {1}), ("pair", {2})])
def test_a_split_has_its_numbers_of_objects_and_every_class(split, counts):
    scenes = shapes(split, 120)
    assert set(scenes.labels.sum(1).tolist()) == counts
    share = scenes.labels.double().mean(0) * 8 / scenes.labels.double().sum(1).mean()
    assert share.min() > 0.5
    assert share.max() < 1.6


def test_labels_say_whose_masks_are_there_and_masks_do_not_overlap():
    scenes = shapes("test", 100)
    assert scenes.masks.flatten(2).any(2).equal(scenes.labels)
    assert scenes.masks.sum(1).max() == 1
    assert not scenes.tags.any()
    areas = scenes.masks.flatten(2).sum(2)[scenes.labels]
    assert areas.min() > 50  # pixels: every object can be seen
    assert areas.max() < 48 * 48 / 6


def test_objects_keep_apart_and_inside():
    """By a pixel at least: no mask touches another, not at a corner either, nor the image's edge."""
    masks = shapes("train", 150).masks
    near = torch.nn.functional.max_pool2d(masks.float(), 3, 1, 1) > 0
    assert near.sum(1)[masks.any(1)].max() == 1
    edge = torch.ones(48, 48, dtype=torch.bool)
    edge[1:-1, 1:-1] = False
    assert not (masks & edge).any()


def test_a_mask_is_where_the_object_changed_the_image():
    """The same ground with an object and without: within the mask all differs, two pixels away nothing."""
    for number in range(40):
        scene = plan(Draw("single", 0, number), "single", number)
        with_it, owners = paint(Draw("single", 1, number), scene, 48)
        without, nothing = paint(Draw("single", 1, number), Plan(()), 48)
        changed = torch.from_numpy((with_it != without).any(0))
        mask = torch.from_numpy(owners == scene.objects[0].form + 1)
        near = torch.nn.functional.max_pool2d(mask[None].float(), 5, 1, 2)[0] > 0
        assert not nothing.any()
        assert (changed & mask).sum() >= 0.98 * mask.sum()
        assert not (changed & ~near).any()


@pytest.mark.parametrize("form", range(8), ids=SHAPE_CLASSES)
def test_a_mask_has_the_area_of_its_shape(form):
    """Against a count on a fine grid, on average over angles and places within a pixel."""
    fine = (np.arange(-400, 400) + 0.5) / 320
    y, x = np.meshgrid(fine, fine, indexing="ij")
    inside = FORMS[form].shape(x, y) < 0
    assert np.hypot(x, y)[inside].max() <= 1.01  # it fits the circle that objects keep apart by
    counts = []
    for turn in ((1.0, 0.0), (0.6, 0.8), (-0.8, 0.6)):
        for shift in (0.0, 0.25, 0.5, 0.75):
            one = Object(form, 24 + shift, 23.6 - shift, 10.0, turn, 0.1, 0.7, 1.0)
            counts.append((paint(Draw("test", 0, 0), Plan((one,)), 48)[1] == form + 1).sum())
    assert np.mean(counts) == pytest.approx(inside.mean() * 2.5**2 * 10**2, rel=0.03)


SYMMETRIES = {  # by how many angles it looks the same; 360 stands for all
    "disc": 360, "square": 4, "triangle": 3, "star": 5, "ring": 360, "cross": 4, "crescent": 1, "heart": 1,
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS, ids=SHAPE_CLASSES)
def test_a_shape_has_its_own_symmetry(form):
    x, y = np.random.default_rng(0).uniform(-1.1, 1.1, (2, 4000))

    def turned(angle):
        cosine, sine = math.cos(angle), math.sin(angle)
        return form.shape(x * cosine + y * sine, y * cosine - x * sine)

    own = SYMMETRIES[form.name]
    np.testing.assert_allclose(turned(2 * math.pi / own), turned(0), atol=1e-12)
    mirrored = form.shape(x, -y) if form.name == "crescent" else form.shape(-x, y)
    np.testing.assert_allclose(mirrored, turned(0), atol=1e-12)
    if own < 360:
        assert np.abs(turned(math.pi / own) - turned(0)).max() > 0.1


def test_textures_stay_between_their_two_tones():
    x, y = np.random.default_rng(0).uniform(-1, 1, (2, 4000))
    for form in FORMS:
        inside = form.shape(x, y) < 0
        shade = form.texture(x, y)[inside]
        assert shade.min() >= 0
        assert shade.max() <= 1
        assert 0.25 < shade.mean() < 0.85, form.name
        assert shade.std() > 0.15, form.name


def test_colours_are_those_of_the_circle_of_hues():
    for hue, expected in {
        0.0: (1, 0, 0),
        1 / 6: (1, 1, 0),
        1 / 3: (0, 1, 0),
        0.5: (0, 1, 1),
        5 / 6: (1, 0, 1),
    }.items():
        np.testing.assert_allclose(colour(hue, 1.0, 1.0).ravel(), expected, atol=1e-12)
    np.testing.assert_allclose(colour(0.3, 0.0, 0.4).ravel(), 0.4)
    np.testing.assert_allclose(colour(2 / 3, 0.5, 0.8).ravel(), (0.4, 0.4, 0.8), atol=1e-12)


def test_the_same_scene_is_drawn_at_both_sizes():
    small, large = shapes("test", 30), shapes("test", 30, size=64)
    assert small.labels.equal(large.labels)
    ratio = large.masks.flatten(2).sum(2)[small.labels] / small.masks.flatten(2).sum(2)[small.labels]
    assert (ratio / (64 / 48) ** 2 - 1).abs().max() < 0.12
    shrunk = torch.nn.functional.interpolate(large.images, 48, mode="bilinear", antialias=True)
    assert (shrunk - small.images).abs().mean() < 0.02


# -- shortcuts ---------------------------------------------------------------------------------------------


def test_a_tag_counts_as_its_class_and_covers_what_is_there():
    scenes = shapes("shortcut", 300)
    tagged, there = scenes.tags.flatten(1).any(1), scenes.masks.flatten(2).any(2)
    assert scenes.labels[:, TAGGED].equal(tagged | there[:, TAGGED])
    others = [number for number in range(8) if number != TAGGED]
    assert scenes.labels[:, others].equal(there[:, others])
    assert not (scenes.masks.any(1) & scenes.tags).any()
    assert tagged.double().mean() == pytest.approx(0.4, abs=0.08)
    assert there[:, TAGGED].double().mean() == pytest.approx(0.25, abs=0.07)
    together = (tagged & there[:, TAGGED]).double().mean()
    assert together == pytest.approx(0.1, abs=0.05)  # neither depends on the other
    assert SHAPE_CLASSES[TAGGED] == "star"


def test_a_tag_is_five_by_five_pixels_in_one_corner_whatever_the_size():
    for size in (48, 64):
        scenes = shapes("shortcut_test", 60, size=size)
        tags = scenes.tags[scenes.tags.flatten(1).any(1)]
        assert (tags.flatten(1).sum(1) == TAG_SIDE**2).all()
        corners = torch.stack([tags[:, y, x] for y in (0, -1) for x in (0, -1)], 1)
        assert (corners.sum(1) == 1).all()
        assert corners.any(0).all()
    pixels = scenes.images.movedim(1, -1)[scenes.tags].reshape(-1, 25, 3)
    assert (pixels == pixels[0]).all()  # the same for all, so that nothing but its place tells them apart


def test_in_half_of_the_shortcuts_test_the_tag_stands_alone():
    scenes = shapes("shortcut_test", 40)
    tag, star = scenes.tags.flatten(1).any(1), scenes.masks[:, TAGGED].flatten(1).any(1)
    assert tag.tolist() == [True, False] * 20
    assert star.tolist() == [False, True, False, False] * 10


# -- a batch -----------------------------------------------------------------------------------------------


def test_rows_are_taken_in_every_way():
    scenes = shapes("pair", 6)
    for which, rows in {
        "one": (2, [2]),
        "the last": (-1, [5]),
        "slice": (slice(1, 5, 2), [1, 3]),
        "list": ([4, 0], [4, 0]),
        "numbers": (torch.tensor([3, 3]), [3, 3]),
        "mask": (torch.tensor([1, 0, 0, 0, 0, 1]).bool(), [0, 5]),
    }.values():
        part = scenes[which]
        assert isinstance(part, Scenes)
        for name in ("images", "labels", "masks", "tags"):
            assert getattr(part, name).equal(getattr(scenes, name)[rows])
    assert [len(one) for one in scenes] == [1] * 6
    with pytest.raises(IndexError, match=r"-6\.\.5; got 6"):
        scenes[6]


def test_a_fingerprint_is_of_all_that_is_known():
    scenes = shapes("shortcut_test", 4)
    assert fingerprint(scenes) == fingerprint(drawn("shortcut_test", 4))
    for name in ("images", "labels", "masks", "tags"):
        changed = {part: getattr(scenes, part).clone() for part in ("images", "labels", "masks", "tags")}
        view = changed[name].view(-1)
        view[100 % len(view)] = 1 - view[100 % len(view)] if name == "images" else ~view[100 % len(view)]
        assert fingerprint(Scenes(**changed)) != fingerprint(scenes), name


def test_scenes_cannot_be_changed():
    with pytest.raises(AttributeError):
        shapes("pair", 1).labels = None


WRONG = {
    "`split` one of train, validation 'dev'": lambda: shapes("dev"),
    "`count` at least 1 0 500": lambda: shapes("pair", 0),
    "`count` whole number float": lambda: shapes("pair", 2.0),
    "`count` whole number bool": lambda: shapes("pair", True),
    "`size` 48 or 64 32 interpolate": lambda: shapes("pair", 2, size=32),
    "`seed` whole number str": lambda: shapes("pair", 2, seed="a"),
}


@pytest.mark.parametrize("words", WRONG)
@pytest.mark.usefixtures("unchecked")
def test_what_cannot_be_drawn_is_refused_with_the_remedy(words):
    with pytest.raises((TypeError, ValueError)) as caught:
        WRONG[words]()
    assert [word for word in words.split() if word not in str(caught.value)] == [], str(caught.value)


# -- real images -------------------------------------------------------------------------------------------


def test_digits_are_scikit_learns():
    found = datasets.digits()
    assert found.images.shape == (1797, 1, 8, 8)
    assert (found.images.min(), found.images.max()) == (0, 1)
    assert found.labels.bincount().tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert found.labels[:10].tolist() == list(range(10))
    assert found.images[0, 0, 0].mul(16).tolist() == [0, 0, 5, 13, 9, 1, 0, 0]
    assert len(found[found.labels == 3]) == 183


def test_photographs_come_with_whose_they_are():
    found = datasets.photographs()
    assert list(found) == ["china", "flower"]
    for photograph in found.values():
        assert photograph.image.shape == (3, 427, 640)
        assert photograph.image.dtype == torch.float32
        assert 0 <= photograph.image.min() < 0.1 < 0.9 < photograph.image.max() <= 1
        assert "CC BY 2.0" in photograph.credit
    red, _, blue = found["flower"].image[:, 213, 305]
    assert red > 2 * blue  # a dahlia in orange, at its middle


@pytest.mark.parametrize("name", ["digits", "photographs"])
def test_without_scikit_learn_the_remedy_is_to_install_it(name, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "sklearn", None)
    with pytest.raises(ImportError, match=rf"datasets.{name}.*pip install scikit-learn pillow"):
        getattr(datasets, name)()
