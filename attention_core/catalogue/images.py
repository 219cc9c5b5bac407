"""Images: gates on channels and places, attention between pixels. Parameters are named as in `state_dict`.

A gate has a kernel, a bottleneck or a pool where attention has queries and keys: it sums over nothing, so
few of the laws are about it.
"""

import numpy as np
from torch import Tensor
from torch.func import functional_call

from attention_core import gates, reference
from attention_core.catalogue.record import Equality, drawn, pick, variant
from attention_core.pipeline import Attended

# Functions: modules as functions of their parameters. On the meta device they are shapes only.


def squeeze_excitation(image: Tensor, **parameters: Tensor) -> gates.Gated:
    """One gate a channel: `SqueezeExcitation`."""
    module = gates.SqueezeExcitation(image.shape[1], 1, device="meta")
    return functional_call(module, parameters, (image,))


def eca(image: Tensor, **parameters: Tensor) -> gates.Gated:
    """One gate a channel, from its neighbours: `ECA`."""
    module = gates.ECA(image.shape[1], parameters["along.weight"].shape[-1], device="meta")
    return functional_call(module, parameters, (image,))


def spatial_gate(image: Tensor, **parameters: Tensor) -> gates.Gated:
    """One gate a place: `SpatialGate`."""
    module = gates.SpatialGate(parameters["around.weight"].shape[-1], device="meta")
    return functional_call(module, parameters, (image,))


def cbam(image: Tensor, **parameters: Tensor) -> gates.Gated:
    """Channels, then places: `CBAM`."""
    kernel = parameters["spatial.around.weight"].shape[-1]
    module = gates.CBAM(image.shape[1], 1, kernel, device="meta")
    return functional_call(module, parameters, (image,))


def non_local(
    image: Tensor, *, residual: bool = True, as_sequence: bool = False, mask=None, **parameters: Tensor
) -> Attended:
    """Every pixel attends to every pixel: `NonLocal`; `as_sequence` gives pixels (batch, h * w, channels)."""
    inner = len(parameters["to_value.weight"])
    module = gates.NonLocal(image.shape[1], inner, residual=residual, device="meta")
    attended = functional_call(module, parameters, (image,), {"mask": mask})
    if not as_sequence:
        return attended
    return attended._replace(output=attended.output.flatten(2).mT)


def dual_attention(image: Tensor, *, unlike: bool = False, **parameters: Tensor) -> gates.DualAttended:
    """Over pixels and over channels: `DualAttention`."""
    module = gates.DualAttention(image.shape[1], 1, unlike=unlike, device="meta")
    return functional_call(module, parameters, (image,))


def criss_cross(image: Tensor, *, recurrence: int = 2, **parameters: Tensor) -> Attended:
    """Along columns and rows: `CrissCross`."""
    module = gates.CrissCross(image.shape[1], 1, recurrence, device="meta")
    return functional_call(module, parameters, (image,))


# Inputs: batch 2, three or four channels, a few pixels, their rows and columns of different lengths.


def _image(rng: np.random.Generator, channels: int = 4, height: int = 3, width: int = 4) -> dict:
    return {"image": rng.normal(size=(2, channels, height, width))}


def _squeeze_inputs(rng: np.random.Generator) -> dict:
    return _image(rng) | drawn(rng, gates.SqueezeExcitation(4, 2, device="meta"))


def _eca_inputs(rng: np.random.Generator) -> dict:
    return _image(rng) | drawn(rng, gates.ECA(4, 3, device="meta"))


def _spatial_inputs(rng: np.random.Generator) -> dict:
    return _image(rng) | drawn(rng, gates.SpatialGate(3, device="meta"))


def _cbam_inputs(rng: np.random.Generator) -> dict:
    return _image(rng) | drawn(rng, gates.CBAM(4, 2, 3, device="meta"))


def _non_local_inputs(rng: np.random.Generator) -> dict:
    return _image(rng, height=2, width=3) | drawn(rng, gates.NonLocal(4, 3, device="meta"))


def _dual_inputs(rng: np.random.Generator) -> dict:
    return _image(rng, height=2, width=3) | drawn(rng, gates.DualAttention(4, 2, device="meta"))


def _cross_inputs(rng: np.random.Generator) -> dict:
    return _image(rng, channels=3) | drawn(rng, gates.CrissCross(3, 1, device="meta"))


# Special cases: from a variant's inputs, its own arguments and the other variant's.


def _banded(a: dict) -> tuple[dict, dict]:
    """z = max(0, z) - max(0, -z), so that a bottleneck twice as wide as the image is no bottleneck."""
    kernel, channels = a["along.weight"][0, 0], a["image"].shape[1]
    reach = len(kernel) // 2
    band = sum(weight * np.eye(channels, k=k - reach) for k, weight in enumerate(kernel))
    both = np.concatenate([np.eye(channels), -np.eye(channels)])
    return a, pick(a, "image") | {
        "to_hidden.weight": both,
        "to_hidden.bias": np.zeros(2 * channels),
        "to_gate.weight": band @ both.T,
        "to_gate.bias": np.zeros(channels),
    }


def _half_open_channels(a: dict) -> tuple[dict, dict]:
    own = a | {"channel.to_gate.weight": 0 * a["channel.to_gate.weight"]}
    return own, {"image": a["image"] / 2, "around.weight": a["spatial.around.weight"]}


def _pixels_alone(a: dict) -> tuple[dict, dict]:
    inner = len(a["to_value.weight"])
    bare = {name: 0 * x for name, x in a.items() if name.endswith(".bias")}
    lift = np.eye(a["image"].shape[1])[:, :inner]
    own = a | bare | {"to_output.weight": lift, "residual": False, "as_sequence": True}
    other = {
        "x": np.moveaxis(a["image"].reshape(*a["image"].shape[:2], -1), 1, 2),
        "w_query": a["to_query.weight"] * np.sqrt(inner),  # the division by sqrt(d) that it will meet
        "w_key": a["to_key.weight"],
        "w_value": lift @ a["to_value.weight"],
    }
    return own, other


def _masked_to_the_cross(a: dict) -> tuple[dict, dict]:
    """Once, with a mask that shows each pixel its row and its column."""
    channels, height, width = a["image"].shape[1:]
    rows, columns = np.divmod(np.arange(height * width), width)
    mask = (rows[:, None] == rows) | (columns[:, None] == columns)
    scale = {"to_output.weight": a["scale"] * np.eye(channels), "to_output.bias": np.zeros(channels)}
    projections = {name: x for name, x in a.items() if name.startswith("to_")}
    return a | {"recurrence": 1}, projections | scale | {"image": a["image"], "mask": mask}


_GATE = "a gate multiplies and sums over nothing"
_POOLED = "every place is in the pool, the last too"
_ONE_IMAGE = "queries and keys are the pixels of one image"
_RESIDUAL = "the image is added to what attention gives"
_ALL_PIXELS = "every pixel reaches every other, by design"

_NOT_OF_A_GATE = {
    "query_equivariance": _GATE,
    "key_value_invariance": _GATE,
    "empty_rows": _GATE,
    "weights_sum_to_one": _GATE,
    "convex_hull": _GATE,
}

RECORDS = (
    variant(
        name="squeeze_excitation",
        title="Squeeze-and-excitation",
        year=2017,
        citation="hu2017squeeze",
        family="image",
        equation=r"o_c = x_c\, \sigma(W_2 \max(0, W_1 z + b_1) + b_2)_c,\quad z_c = \mathrm{mean}(x_c)",
        time="O(nd + d^2 / r)",
        memory="O(d)",
        function=squeeze_excitation,
        reference=reference.squeeze_excitation,
        inputs=_squeeze_inputs,
        exempt=_NOT_OF_A_GATE | {"masked_keys_inert": _POOLED, "prefix_causality": _POOLED},
    ),
    variant(
        name="eca",
        title="Efficient channel attention",
        year=2019,
        citation="wang2019eca",
        family="image",
        equation=r"o_c = x_c\, \sigma(w * z)_c,\quad z_c = \mathrm{mean}(x_c)",
        time="O(nd + kd)",
        memory="O(d)",
        function=eca,
        reference=reference.eca,
        inputs=_eca_inputs,
        exempt=_NOT_OF_A_GATE | {"masked_keys_inert": _POOLED, "prefix_causality": _POOLED},
        equals=(
            Equality("squeeze_excitation", r"W_1 = [I; -I],\ W_2 = [B, -B],\ B_{ab} = w_{b - a}", _banded),
        ),
    ),
    variant(
        name="spatial_gate",
        title="Spatial gate (of CBAM)",
        year=2018,
        citation="woo2018cbam",
        family="image",
        equation=r"o_i = x_i\, \sigma(w * [\mathrm{mean}_c(x); \max_c(x)])_i",
        time="O(nd + nk^2)",
        memory="O(n)",
        function=spatial_gate,
        reference=reference.spatial_gate,
        inputs=_spatial_inputs,
        exempt=_NOT_OF_A_GATE
        | {
            "permutation_equivariance": "the kernel knows which places are neighbours",
            "masked_keys_inert": "the kernel looks ahead as far as back",
            "prefix_causality": "the kernel looks ahead as far as back",
        },
    ),
    variant(
        name="cbam",
        title="Convolutional block attention (CBAM)",
        year=2018,
        citation="woo2018cbam",
        family="image",
        equation=r"o = g^s(x')\, x',\quad x' = g^c(x)\, x",
        time="O(nd + nk^2 + d^2 / r)",
        memory="O(nd)",
        function=cbam,
        reference=reference.cbam,
        inputs=_cbam_inputs,
        exempt=_NOT_OF_A_GATE
        | {
            "permutation_equivariance": "the kernel knows which places are neighbours",
            "masked_keys_inert": _POOLED,
            "prefix_causality": _POOLED,
        },
        equals=(
            Equality("spatial_gate", r"W_2 = 0, \text{ so that } g^c = \tfrac{1}{2}", _half_open_channels),
        ),
    ),
    variant(
        name="non_local",
        title="Non-local block",
        year=2017,
        citation="wang2017nonlocal",
        family="image",
        equation=r"o_i = x_i + W_z \sum_j \mathrm{softmax}_j(\theta_i^\top \phi_j)\, g_j",
        time="O(n^2 d + nd^2)",
        memory="O(n^2 + nd)",
        function=non_local,
        reference=reference.non_local,
        inputs=_non_local_inputs,
        exempt={
            "query_equivariance": _ONE_IMAGE,
            "key_value_invariance": _ONE_IMAGE,
            "empty_rows": _RESIDUAL,
            "convex_hull": _RESIDUAL,
        },
        equals=(
            Equality(
                "self_attention",
                r"\text{no residual},\ W_q = \sqrt{d}\, W_\theta,\ W_k = W_\phi,\ W_v = W_z W_g",
                _pixels_alone,
            ),
        ),
    ),
    variant(
        name="dual_attention",
        title="Dual attention (position and channel)",
        year=2018,
        citation="fu2018dual",
        family="image",
        equation=r"o = 2x + \alpha \sum_j \mathrm{softmax}_j(q_i^\top k_j)\, v_j"
        r" + \beta \sum_b \mathrm{softmax}_b(x_a^\top x_b)\, x_b",
        time="O(n^2 d + nd^2)",
        memory="O(n^2 + d^2 + nd)",
        function=dual_attention,
        reference=reference.dual_attention,
        inputs=_dual_inputs,
        exempt={
            "query_equivariance": _ONE_IMAGE,
            "key_value_invariance": _ONE_IMAGE,
            "masked_keys_inert": _ALL_PIXELS,
            "prefix_causality": _ALL_PIXELS,
            "empty_rows": _RESIDUAL,
            "weights_sum_to_one": "there are two sets of weights, of pixels and of channels",
            "convex_hull": _RESIDUAL,
        },
    ),
    variant(
        name="criss_cross",
        title="Criss-cross attention",
        year=2018,
        citation="huang2018ccnet",
        family="image",
        equation=r"o_i = x_i + \gamma \sum_{j \in C_i} \mathrm{softmax}_j(q_i^\top k_j)\, v_j,"
        r"\quad C_i = \text{row and column of } i, \text{ twice}",
        time="O(n(h + w)d + nd^2)",
        memory="O(n(h + w) + nd)",
        function=criss_cross,
        reference=reference.criss_cross,
        inputs=_cross_inputs,
        exempt={
            "query_equivariance": _ONE_IMAGE,
            "key_value_invariance": _ONE_IMAGE,
            "permutation_equivariance": "rows and columns are places, not contents",
            "masked_keys_inert": _ALL_PIXELS,
            "prefix_causality": _ALL_PIXELS,
            "empty_rows": _RESIDUAL,
            "convex_hull": _RESIDUAL,
        },
        equals=(
            Equality(
                "non_local", r"\text{once, } C_i \text{ as a mask},\ W_z = \gamma I", _masked_to_the_cross
            ),
        ),
    ),
)
