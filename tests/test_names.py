"""What chapters and readers call by name: the arguments, in their order, and what they are if left out."""

import importlib
import inspect

import pytest

NAMES = """
attend(query, key, value, *, score=scaled_dot, mask=None, bias=None, normalize=softmax)
pipeline.merge(*parts)
scores.dot(query, key)
scores.scaled_dot(query, key)
scores.general(query, key, weight)
scores.concat(query, key, weight, v)
scores.additive(query, key, w_query, w_key, v)
scores.cosine(query, key)
scores.positional(query, key, logits)
scores.factorized_positional(query, key, f_query, f_key)
scores.gat(query, key, weight, a)
scores.gat_v2(query, key, weight, a)
scores.location(query, key, weight)
normalizers.softmax(scores, mask=None, temperature=1.0)
normalizers.sigmoid(scores, mask=None, temperature=1.0)
normalizers.sparsemax(scores, mask=None, temperature=1.0)
normalizers.entmax(scores, mask=None, alpha=1.5, temperature=1.0)
normalizers.hard(scores, mask=None)
normalizers.gumbel(scores, mask=None, temperature=1.0, *, noise=None, generator=None, straight_through=False)
normalizers.softmax_with_sink(scores, mask=None, *, sink)
masks.causal(n, m=None, align=None, *)
masks.window(n, m=None, size=None, align=None, *, causal=True)
masks.padding(lengths, m)
masks.document(ids, key_ids=None)
masks.prefix(n, m=None, length=None, align=None, *)
masks.from_torch_mha(mask)
positions.rope(x, positions=None, pairing='interleaved', base=10000)
positions.alibi(heads, n, m=None, align='lower_right', *)
positions.t5_bias(n, m, weight, *, bidirectional=True, max_distance=128, align=None)
positions.t5_buckets(offset, buckets=32, *, bidirectional=True, max_distance=128)
positions.sinusoidal(n, d, base=10000, *)
heads.split(x, heads)
heads.merge(x)
heads.repeat_groups(x, repeats)
multihead.MultiHeadAttention(width, heads, *, kv_heads=None, key_width=None, value_width=None, bias=True)
multihead.MultiHeadAttention.forward(self, query, key=None, value=None, *, mask=None, bias=None)
multihead.MultiHeadAttention.from_torch(module)
linear.fast_weights(query, key, value, *, mode='chunked', chunk=None, initial_state=None)
linear.linear_attention(query, key, value, *, feature_map=elu_plus_one, mode='chunked', chunk=None, \
initial_state=None)
linear.performer(query, key, value, projection, *, mode='chunked', chunk=None, initial_state=None)
linear.delta_rule(query, key, value, beta, *, mode='chunked', chunk=None, initial_state=None)
linear.gated_delta_rule(query, key, value, beta, decay, *, mode='chunked', chunk=None, initial_state=None)
linear.orthogonal_features(features, d, *, generator=None)
local.local_monotonic(query, key, value, half_width, *, score=dot, mask=None, bias=None)
local.local_predictive(query, key, value, w_position, v_position, half_width, *, score=dot, mask=None, \
bias=None, lengths=None)
approximate.reformer(x, value, rotations, *, chunk, causal=False)
approximate.linformer(query, key, value, w_key, w_value)
latent.LatentAttention(width, heads, *, latent_width, head_width, rope_width, value_width=None, \
query_latent_width=None, base=10000.0)
latent.LatentAttention.forward(self, x, memory=None, *, mask=None, bias=None, positions=None, absorbed=False)
differential.DifferentialAttention(width, heads, depth=0, *, kv_heads=None, bias=False)
differential.DifferentialAttention.forward(self, query, key=None, value=None, *, mask=None, bias=None)
hopfield.retrieve(query, patterns, *, beta=None, steps=1, mask=None)
sets.MAB(width, heads, *, key_width=None)
sets.MAB.forward(self, query, key=None, *, mask=None, bias=None)
sets.ISAB(width, heads, inducing, *)
sets.ISAB.forward(self, x, *, mask=None)
sets.PMA(width, heads, seeds=1, *)
sets.PMA.forward(self, x, *, mask=None)
sets.PerceiverBlock(width, heads, *, key_width=None, layers=1, widening=1)
sets.PerceiverBlock.forward(self, query, key, *, mask=None, bias=None)
gates.SqueezeExcitation(channels, reduction=None, *, bias=True)
gates.ChannelGate(channels, reduction=None, *, bias=False)
gates.ECA(channels, kernel=None, *)
gates.SpatialGate(kernel=7, *)
gates.CBAM(channels, reduction=None, kernel=7, *, bias=False)
gates.NonLocal(channels, inner=None, *, mode='embedded_gaussian', residual=True, bias=True)
gates.NonLocal.forward(self, image, *, mask=None)
gates.DualAttention(channels, reduction=None, *, unlike=False, bias=True)
gates.CrissCross(channels, reduction=None, recurrence=2, *, bias=True)
alignment.links(weights)
alignment.score(predicted, gold)
alignment.diagonal(pairs)
alignment.oracle(pairs)
alignment.symmetrize(forward, backward, method='intersection')
alignment.IBM1(iterations=10, *, null=True)
alignment.IBM2(iterations=10, first=5, *, null=True)
alignment.eflomal(pairs, *, training=(), priors=None, method='union', model=3, samplers=3)
models.load(name)
models.trace(name)
models.Translator(source, target, *, attention='additive', width=128, embedding=64, dropout=0.1, \
input_feeding=False, half_width=2)
models.Translator.translate(self, text, *, beam=1, temperature=1.0, length_power=1.0)
models.Translator.align(self, pairs, *, temperature=1.0)
models.ViT(*, image_size=48, patch=6, channels=3, width=64, depth=4, heads=4, hidden=None, classes=8, \
registers=0, distilled=False, pool=None, eps=1e-06, layer_scale=False, gated=False, bias=True, mean=0.5, \
std=0.5)
models.ViT.forward(self, images, keep=None)
models.ViT.from_huggingface(directory, *, image_size=None, mean=None, std=None)
datasets.shapes(split='train', count=None, *, size=48, seed=0)
datasets.digits()
datasets.photographs()
explain.explain(model, images, target=None, method='rollout', layers=None, options)
explain.capture(model, images)
explain.upsample(values, size, mode='nearest')
explain.faithfulness.pointing_game(maps, masks)
explain.faithfulness.class_auc(maps, masks, others)
explain.faithfulness.randomization_cascade(model, images, explain, *, stages=None, cascade=True, ranks=True, \
seed=0)
catalogue.Variant(name, title, year, citation, family, equation, time, memory, function, reference, \
inputs, laws, exempt, equals=())
"""


def found(path):
    """What stands under a name below `attention_core`."""
    module, _, rest = path.partition(".") if "." in path else ("", "", path)
    thing = importlib.import_module(f"attention_core.{module}".removesuffix("."))
    for part in rest.split("."):
        thing = getattr(thing, part)
    return thing


def written(function):
    """A signature's arguments as above: where and of which dtype tensors are made is left out."""
    words = []
    for p in inspect.signature(function).parameters.values():
        if p.kind is p.KEYWORD_ONLY and not any(word.startswith("*") for word in words):
            words.append("*")
        if p.name in ("device", "dtype") and p.default is None:
            continue
        default = getattr(p.default, "__name__", repr(p.default))
        star = "*" if p.kind is p.VAR_POSITIONAL else ""
        words.append(star + p.name if p.default is p.empty else f"{p.name}={default}")
    return f"({', '.join(words)})"


@pytest.mark.parametrize("line", NAMES.strip().splitlines(), ids=lambda line: line.partition("(")[0])
def test_a_name_keeps_its_arguments_and_their_defaults(line):
    path, bracket, arguments = line.partition("(")
    assert written(found(path)) == bracket + arguments
