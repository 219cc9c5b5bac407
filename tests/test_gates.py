"""Gates and attention between pixels: against timm, torchvision, each other, and the papers' promises."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from timm import layers as timm_layers
from timm.layers.cbam import CbamModule
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torchvision.ops import SqueezeExcitation as TorchvisionSqueezeExcitation

from attention_core import attend, gates, scores

DTYPE = torch.float64

GATES = {
    "squeeze_excitation": lambda: gates.SqueezeExcitation(8, 4),
    "channel_gate": lambda: gates.ChannelGate(8, 4),
    "eca": lambda: gates.ECA(8),
    "spatial_gate": lambda: gates.SpatialGate(3),
    "cbam": lambda: gates.CBAM(8, 4, 3),
}
each_gate = pytest.mark.parametrize("build", GATES.values(), ids=GATES.keys())


def assert_near(actual, expected, atol=1e-12):
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0)


def scattered(module):
    """Random parameters throughout: at 0 most of the blocks do nothing."""
    for parameter in module.parameters():
        nn.init.normal_(parameter)
    return module.to(DTYPE)


def picture(channels=8, height=3, width=4):
    return torch.randn(2, channels, height, width, dtype=DTYPE)


def flat(convolution):
    """The weight of a 1 x 1 convolution as that of a linear layer."""
    return convolution.weight.flatten(1)


def cross(height, width):
    """Which pixels share a row or a column, row by row."""
    rows, columns = torch.arange(height * width) // width, torch.arange(height * width) % width
    return (rows[:, None] == rows) | (columns[:, None] == columns)


# timm and torchvision


@pytest.mark.parametrize(
    "build",
    [lambda: timm_layers.SEModule(8, rd_channels=2), lambda: TorchvisionSqueezeExcitation(8, 2)],
    ids=["timm", "torchvision"],
)
def test_squeeze_excitation_is_that_of(build):
    theirs, ours, image = scattered(build()), scattered(gates.SqueezeExcitation(8, 4)), picture()
    for layer, source in ((ours.to_hidden, theirs.fc1), (ours.to_gate, theirs.fc2)):
        layer.load_state_dict({"weight": flat(source), "bias": source.bias})
    assert_near(ours(image).output, theirs(image))


@pytest.mark.parametrize("kernel", [1, 3, 5])
def test_eca_is_that_of_timm(kernel):
    theirs, ours, image = (
        scattered(timm_layers.EcaModule(kernel_size=kernel)),
        scattered(gates.ECA(8, kernel)),
        picture(),
    )
    ours.along.load_state_dict(theirs.conv.state_dict())
    assert_near(ours(image).output, theirs(image))


@pytest.mark.parametrize("channels", [8, 16, 64, 100, 128, 256, 512, 1024, 2048])
def test_the_kernel_of_eca_grows_as_that_of_timm(channels):
    assert gates.ECA(channels).along.weight.shape == timm_layers.EcaModule(channels).conv.weight.shape


def test_the_kernel_of_eca_is_odd_from_one_channel_on():
    kernels = [gates.ECA(channels).along.weight.shape[-1] for channels in (1, 2, 4, 8, 64, 128, 1024)]
    assert kernels == [1, 1, 1, 3, 3, 5, 5]


def test_cbam_is_that_of_timm_without_its_batch_norm():
    theirs = scattered(CbamModule(8, rd_channels=2, spatial_kernel_size=3)).eval()
    theirs.spatial.conv.bn = nn.Identity()
    ours, image = scattered(gates.CBAM(8, 4, 3)), picture()
    ours.channel.to_hidden.load_state_dict({"weight": flat(theirs.channel.fc1)})
    ours.channel.to_gate.load_state_dict({"weight": flat(theirs.channel.fc2)})
    ours.spatial.around.load_state_dict(theirs.spatial.conv.conv.state_dict())
    assert_near(ours(image).output, theirs(image))


def test_non_local_is_that_of_timm_without_its_batch_norm():
    theirs = scattered(timm_layers.NonLocalAttn(8, rd_channels=4)).eval()
    theirs.norm = nn.Identity()
    ours, image = scattered(gates.NonLocal(8, 4)), picture()
    pairs = {"to_query": theirs.t, "to_key": theirs.p, "to_value": theirs.g, "to_output": theirs.z}
    for name, source in pairs.items():
        getattr(ours, name).load_state_dict({"weight": flat(source), "bias": source.bias})
    with torch.no_grad():  # theirs divides by the root of the channels; the paper does not
        ours.to_query.weight *= theirs.scale
        ours.to_query.bias *= theirs.scale
    assert_near(ours(image).output, theirs(image))


# Gates


@each_gate
def test_the_output_is_the_image_times_the_gate_to_the_last_bit(build):
    image = picture()
    output, gate = scattered(build())(image)
    assert output.equal(image * gate)
    assert ((gate > 0) & (gate < 1)).all()


def test_each_gate_is_shared_along_the_axes_it_does_not_look_at():
    shapes = {name: tuple(build()(picture().float()).gate.shape) for name, build in GATES.items()}
    assert shapes == {
        "squeeze_excitation": (2, 8, 1, 1),
        "channel_gate": (2, 8, 1, 1),
        "eca": (2, 8, 1, 1),
        "spatial_gate": (2, 1, 3, 4),
        "cbam": (2, 8, 3, 4),
    }


@each_gate
def test_with_weights_of_zero_every_gate_is_half_open(build):
    module, image = build().to(DTYPE), picture()
    for parameter in module.parameters():
        nn.init.zeros_(parameter)
    half = 0.25 if isinstance(module, gates.CBAM) else 0.5  # of two gates, one after the other
    assert (module(image).gate == half).all()


@pytest.mark.parametrize("name", ["squeeze_excitation", "channel_gate", "eca"])
def test_a_channel_gate_does_not_know_where_the_pixels_are(name):
    module, image = scattered(GATES[name]()), picture()
    shuffled = image.flatten(2)[..., torch.randperm(12)].reshape(image.shape)
    assert_near(module(shuffled).gate, module(image).gate)


def test_a_spatial_gate_does_not_know_which_channel_is_which():
    module, image = scattered(gates.SpatialGate(3)), picture()
    assert_near(module(image[:, torch.randperm(8)]).gate, module(image).gate)


def test_a_channel_gate_sees_the_maximum_that_squeeze_excitation_does_not():
    image = picture()
    peaked = image + torch.tensor([5.0, -5.0], dtype=DTYPE).repeat(6).view(3, 4)  # the same means
    squeeze, pooled = scattered(gates.SqueezeExcitation(8, 4)), scattered(gates.ChannelGate(8, 4))
    assert_near(squeeze(peaked).gate, squeeze(image).gate)
    assert (pooled(peaked).gate - pooled(image).gate).abs().max() > 1e-3


def test_the_spatial_gate_reads_the_mean_first_and_the_maximum_second():
    module, image = gates.SpatialGate(1).to(DTYPE), picture()
    module.around.weight = nn.Parameter(torch.tensor([3.0, -2.0], dtype=DTYPE).view(1, 2, 1, 1))
    expected = torch.sigmoid(3 * image.mean(1) - 2 * image.amax(1))
    assert_near(module(image).gate[:, 0], expected)


def test_cbam_is_its_channel_gate_and_then_its_spatial_gate():
    module, image = scattered(gates.CBAM(8, 4, 3)), picture()
    assert_near(module(image).output, module.spatial(module.channel(image).output).output)


@given(height=st.integers(1, 7), width=st.integers(1, 7), kernel=st.sampled_from([1, 3, 5, 7]))
def test_an_image_of_any_size_keeps_it(height, width, kernel):
    image = torch.randn(1, 4, height, width)
    blocks = (
        gates.CBAM(4, 2, kernel),
        gates.ECA(4, kernel),
        gates.NonLocal(4),
        gates.DualAttention(4, 2),
        gates.CrissCross(4, 2),
    )
    for block in blocks:
        output = block(image).output
        assert output.shape == image.shape
        assert output.isfinite().all()


# Non-local


@pytest.mark.parametrize("mode", ["embedded_gaussian", "gaussian", "dot_product"])
def test_non_local_starts_as_the_identity(mode):
    image = picture()
    assert gates.NonLocal(8, mode=mode, dtype=DTYPE)(image).output.equal(image)


def test_non_local_is_attention_over_the_pixels_added_to_the_image():
    module, image = scattered(gates.NonLocal(8, 5)), picture()
    x = image.flatten(2).transpose(1, 2)  # (batch, h * w, channels)
    expected = attend(module.to_query(x), module.to_key(x), module.to_value(x), score=scores.dot)
    got = module(image)
    assert_near(got.output, image + module.to_output(expected.output).transpose(1, 2).reshape(image.shape))
    assert_near(got.weights, expected.weights)
    assert_near(got.lse, expected.lse)


def test_the_gaussian_mode_compares_the_pixels_themselves():
    module, image = scattered(gates.NonLocal(8, mode="gaussian")), picture()
    x = image.flatten(2).transpose(1, 2)
    assert_near(module(image).weights, attend(x, x, x, score=scores.dot).weights)
    assert module.to_query is None


def test_the_dot_product_mode_divides_by_the_number_of_pixels():
    module, image = scattered(gates.NonLocal(8, 5, mode="dot_product")), picture()
    x = image.flatten(2).transpose(1, 2)
    assert_near(module(image).weights, module.to_query(x) @ module.to_key(x).mT / 12)


def test_the_dot_product_mode_counts_only_the_pixels_that_may_be_seen():
    module, image = scattered(gates.NonLocal(8, 5, mode="dot_product")), picture()
    mask = torch.rand(12, 12) > 0.4
    mask[3] = False
    x = image.flatten(2).transpose(1, 2)
    seen = (module.to_query(x) @ module.to_key(x).mT).masked_fill(~mask, 0)
    assert_near(module(image, mask=mask).weights, seen / mask.sum(-1, keepdim=True).clamp(min=1))


def test_without_the_residual_a_pixel_that_sees_nothing_is_the_outputs_bias():
    module = scattered(gates.NonLocal(8, residual=False))
    output = module(picture(), mask=torch.tensor(False)).output
    assert_near(output, module.to_output.bias[:, None, None].expand(2, 8, 3, 4))


@pytest.mark.parametrize("mode", ["embedded_gaussian", "gaussian", "dot_product"])
@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_bad_pixel_behind_a_mask_reaches_no_gradient(mode, bad):
    module, image = scattered(gates.NonLocal(8, 5, mode=mode)), picture()
    mask = torch.ones(12, 12, dtype=torch.bool)
    mask[:, -1] = False
    results = []
    for value in (0.5, bad):
        image[..., -1, -1] = value
        output = module(image, mask=mask).output.flatten(2)[..., :-1]
        results.append((output, *torch.autograd.grad(output.square().sum(), module.parameters())))
    for expected, actual in zip(*results, strict=True):
        assert_near(actual, expected)


# Dual attention


def test_dual_attention_starts_at_twice_the_image():
    image = picture()
    assert gates.DualAttention(8, dtype=DTYPE)(image).output.equal(2 * image)


@pytest.mark.parametrize("unlike", [False, True])
def test_dual_attention_is_the_sum_of_its_two_branches(unlike):
    module, image = scattered(gates.DualAttention(8, 4, unlike=unlike)), picture()
    x = image.flatten(2)  # (batch, channels, h * w)
    query, key, value = (
        layer(x.mT).mT for layer in (module.to_query, module.to_key, module.to_value)
    )  # (batch, ..., h * w)
    position = torch.softmax(query.mT @ key, -1)
    energy = x @ x.mT
    channel = torch.softmax(energy.amax(-1, keepdim=True) - energy if unlike else energy, -1)
    expected = (x + module.position_scale * value @ position.mT) + (x + module.channel_scale * channel @ x)
    got = module(image)
    assert_near(got.output.flatten(2), expected, atol=1e-11)
    assert_near(got.position, position)
    assert_near(got.channel, channel)


def test_by_the_paper_a_channel_heeds_its_likes_and_by_the_released_code_its_opposites():
    image = torch.zeros(1, 2, 2, 2, dtype=DTYPE)
    image[0, 0], image[0, 1] = 1.0, -1.0  # two channels, opposite
    for unlike, likes in ((False, True), (True, False)):
        weights = scattered(gates.DualAttention(2, 1, unlike=unlike))(image).channel[0]
        assert (weights.diagonal() > 0.99).all().item() == likes
        assert (weights.diagonal() < 0.01).all().item() != likes


# Criss-cross


def mirrored(module):
    """A non-local block with a criss-cross block's parameters."""
    other = gates.NonLocal(module.channels, module.channels, dtype=DTYPE)
    state = {name: value for name, value in module.state_dict().items() if name.startswith("to_")}
    scale = module.scale.detach()
    state |= {
        "to_output.weight": scale * torch.eye(module.channels, dtype=DTYPE),
        "to_output.bias": torch.zeros(module.channels, dtype=DTYPE),
    }
    other.load_state_dict(state)
    return other


@given(
    height=st.integers(1, 7),
    width=st.integers(1, 7),
    recurrence=st.integers(1, 3),
    seed=st.integers(0, 2**16),
)
def test_criss_cross_is_non_local_under_a_mask_of_rows_and_columns(height, width, recurrence, seed):
    torch.manual_seed(seed)
    module = scattered(gates.CrissCross(3, 1, recurrence))
    nn.init.constant_(module.scale, 0.5)
    full, image = mirrored(module), picture(3, height, width)
    got, expected = module(image), image
    for _ in range(recurrence):
        attended = full(expected, mask=cross(height, width))
        expected = attended.output
    scale = max(1.0, expected.abs().max().item())
    assert_near(got.output, expected, atol=1e-11 * scale)
    assert_near(got.lse, attended.lse, atol=1e-11 * scale**2)


def test_the_weights_of_criss_cross_are_on_the_column_from_the_top_then_on_the_row():
    module, image = scattered(gates.CrissCross(3, 1, 1)), picture(3, 3, 4)
    weights = module(image).weights
    full = mirrored(module)(image, mask=cross(3, 4)).weights.unflatten(2, (3, 4))
    assert weights.shape == (2, 12, 7)
    for y in range(3):
        for x in range(4):
            column, row = weights[:, 4 * y + x].split([3, 4], dim=-1)
            others = [other for other in range(3) if other != y]
            assert_near(row, full[:, 4 * y + x, y])
            assert_near(column[:, others], full[:, 4 * y + x, others, x])
            assert (column[:, y] == 0).all()  # itself is counted once, in its row


def reached(recurrence):
    """Which pixels of the output feel the top left one of the input."""
    module = scattered(gates.CrissCross(3, 1, recurrence))
    image = picture(3, 3, 4)[:1].requires_grad_()
    outputs = module(image).output.sum(1).flatten()
    gradients = [torch.autograd.grad(output, image, retain_graph=True)[0] for output in outputs]
    return torch.stack([(gradient[0, :, 0, 0] != 0).any() for gradient in gradients]).view(3, 4)


def test_criss_cross_once_reaches_a_cross_and_twice_the_whole_image():
    once = torch.zeros(3, 4, dtype=torch.bool)
    once[0], once[:, 0] = True, True
    assert reached(1).equal(once)
    assert reached(2).all()


def test_criss_cross_starts_as_the_identity():
    image = picture()
    assert gates.CrissCross(8, dtype=DTYPE)(image).output.equal(image)


class Largest(TorchDispatchMode):
    """The number of entries of the largest tensor that an operation gives."""

    size = 0

    def __torch_dispatch__(self, operation, types, arguments=(), options=None):
        result = operation(*arguments, **(options or {}))
        tensors = result if isinstance(result, (tuple, list)) else (result,)
        self.size = max([self.size, *(x.numel() for x in tensors if isinstance(x, torch.Tensor))])
        return result


def test_criss_cross_keeps_rows_and_columns_and_never_all_pairs_of_pixels():
    image = torch.randn(1, 8, 20, 30)
    sizes = {}
    for block in (gates.CrissCross(8), gates.NonLocal(8)):
        with torch.no_grad(), Largest() as largest:
            block(image)
        sizes[type(block)] = largest.size
    assert sizes[gates.CrissCross] == 600 * (20 + 30)
    assert sizes[gates.NonLocal] == 600 * 600


# All blocks


@pytest.mark.parametrize(
    "build",
    [
        *GATES.values(),
        lambda: gates.NonLocal(8),
        lambda: gates.NonLocal(8, mode="gaussian"),
        lambda: gates.DualAttention(8),
        lambda: gates.CrissCross(8),
    ],
)
def test_autocast_may_mix_dtypes(build):
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert build()(picture().bfloat16()).output.isfinite().all()


@pytest.mark.parametrize(
    "module", [gates.SqueezeExcitation, gates.ChannelGate, gates.CBAM, gates.DualAttention, gates.CrissCross]
)
def test_few_channels_are_reduced_to_one_by_default(module):
    image = torch.randn(2, 3, 4, 4)
    assert module(3)(image).output.shape == image.shape
    narrow = [parameter.shape[0] for parameter in module(3).parameters() if parameter.ndim]
    assert 1 in narrow
    assert sum(p.numel() for p in module(64).parameters()) < sum(
        p.numel() for p in module(64, 1).parameters()
    )


@pytest.mark.parametrize(
    ("module", "name", "shape"),
    [
        pytest.param(module, name, shape, id=f"{type(module).__name__}-{name}")
        for module, name, shape in (
            (gates.SqueezeExcitation(64), "to_hidden.weight", (64 // 16, 64)),
            (gates.ChannelGate(64), "to_hidden.weight", (64 // 16, 64)),
            (gates.CBAM(64), "channel.to_hidden.weight", (64 // 16, 64)),
            (gates.CBAM(64), "spatial.around.weight", (1, 2, 7, 7)),
            (gates.SpatialGate(), "around.weight", (1, 2, 7, 7)),
            (gates.NonLocal(64), "to_value.weight", (64 // 2, 64)),
            (gates.DualAttention(64), "to_query.weight", (64 // 8, 64)),
            (gates.CrissCross(64), "to_query.weight", (64 // 8, 64)),
        )
    ],
)
def test_sizes_are_the_papers_by_default(module, name, shape):
    assert module.get_parameter(name).shape == shape


def test_by_default_criss_cross_attends_twice_and_non_local_is_an_embedded_gaussian():
    image = picture(height=5, width=6)
    twice = scattered(gates.CrissCross(8))
    image.requires_grad_()
    reached = torch.autograd.grad(twice(image).output[0, :, 0, 0].sum(), image)[0][0].abs().sum(0) > 0
    assert reached.all()
    embedded = scattered(gates.NonLocal(8, 8))
    chosen = scattered(gates.NonLocal(8, 8, mode="embedded_gaussian"))
    chosen.load_state_dict(embedded.state_dict())
    assert_near(embedded(image).weights, chosen(image).weights)
