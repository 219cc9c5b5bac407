"""The transformer: its layers are torch's and the equations', its search is its forward, heads come out."""

import numpy as np
import pytest
import torch
from torch import nn

from attention_core import reference
from attention_core.datasets import Pair
from attention_core.models import Transformer, Translation, shelf
from attention_core.models.sentences.batches import collate
from attention_core.models.sentences.vocabulary import PAD, Vocabulary
from attention_core.models.transformer import PARTS, Reading, layer_error_rates, surprise
from attention_core.models.transformer.layers import DecoderLayer
from attention_core.models.transformer.network import Embedding
from attention_core.positions import sinusoidal

from .translations import by_hand, log_probability, pairs, transformer, vocabularies

ALL = [(part, layer, head) for part in PARTS for layer in range(2) for head in range(4)]


def assert_near(actual, expected, atol=1e-12):
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0)


def batch_of(model, known):
    return collate(known, model.source, model.target)


def uneven():
    """Pairs of several lengths on both sides."""
    known = sorted(pairs(40), key=lambda pair: len(pair.source))
    return [known[0], known[20], known[-1], known[10]]


# -- the equations -----------------------------------------------------------------------------------------


class Loops:
    """A transformer's parameters, and one sentence through them in NumPy, query by query."""

    def __init__(self, model):
        self.model, self.heads = model, model.options["heads"]
        self.weights = {name: value.numpy() for name, value in model.state_dict().items()}

    def norm(self, name, x):
        gain, shift = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-5) * gain + shift

    def linear(self, name, x):
        return x @ self.weights[f"{name}.weight"].T + self.weights[f"{name}.bias"]

    def attention(self, name, x, seen, mask=None):
        """Output, and the heads' weights, by the loops of `reference`."""
        query, key, value = (
            np.split(self.linear(f"{name}.to_{part}", given), self.heads, axis=-1)
            for part, given in (("query", x), ("key", seen), ("value", seen))
        )
        found = [reference.attend(*head, mask=mask) for head in zip(query, key, value, strict=True)]
        joined = np.concatenate([output for output, *_ in found], axis=-1)
        return self.linear(f"{name}.to_output", joined), np.stack([weights for _, weights, *_ in found])

    def fed(self, name, x):
        inner = self.linear(f"{name}.feed.up", self.norm(f"{name}.feed_norm", x))
        return x + self.linear(f"{name}.feed.down", np.maximum(inner, 0))

    def embedded(self, name, words):
        matrix = self.weights[f"{name}.embed.weight"]
        width = matrix.shape[1]
        return matrix[words] * np.sqrt(width) + sinusoidal(len(words), width, dtype=torch.float64).numpy()

    def read(self, batch):
        """Logits, and the weights of encoder, decoder and cross-attention, a layer each."""
        x, parts = self.embedded("encoder", batch.source[0].numpy()), {part: [] for part in PARTS}
        for layer in range(2):
            name = f"encoder.layers.{layer}"
            normed = self.norm(f"{name}.attention_norm", x)
            output, weights = self.attention(f"{name}.attention", normed, normed)
            x = self.fed(name, x + output)
            parts["encoder"].append(weights)
        states = self.norm("encoder.norm", x)
        x = self.embedded("decoder", batch.inputs[0].numpy())
        causal = np.tril(np.ones((len(x), len(x)), dtype=bool))
        for layer in range(2):
            name = f"decoder.layers.{layer}"
            normed = self.norm(f"{name}.attention_norm", x)
            output, weights = self.attention(f"{name}.attention", normed, normed, causal)
            x = x + output
            crossed, looked = self.attention(f"{name}.cross", self.norm(f"{name}.cross_norm", x), states)
            x = self.fed(name, x + crossed)
            parts["decoder"].append(weights)
            parts["cross"].append(looked)
        return self.norm("decoder.norm", x) @ self.weights["decoder.embed.weight"].T, parts


@torch.no_grad()
def test_logits_and_every_heads_weights_are_those_of_loops():
    model, pair = transformer(), max(pairs(20), key=lambda one: len(one.source))
    batch = batch_of(model, [pair])
    decoded = model(batch)
    logits, parts = Loops(model).read(batch)
    np.testing.assert_allclose(decoded.logits[0], logits, atol=1e-12, rtol=0)
    for part in PARTS:
        for attended, expected in zip(getattr(decoded, part), parts[part], strict=True):
            np.testing.assert_allclose(attended.weights[0], expected, atol=1e-12, rtol=0)


def copied_attention(ours, theirs):
    projections = (ours.to_query, ours.to_key, ours.to_value)
    theirs.in_proj_weight.copy_(torch.cat([one.weight for one in projections]))
    theirs.in_proj_bias.copy_(torch.cat([one.bias for one in projections]))
    theirs.out_proj.load_state_dict(ours.to_output.state_dict())


def copied_stack(ours, theirs, norms):
    """torch's stack with our parameters; `norms` are the names of a layer's, in order."""
    for mine, its in zip(ours.layers, theirs.layers, strict=True):
        copied_attention(mine.attention, its.self_attn)
        if hasattr(mine, "cross"):
            copied_attention(mine.cross, its.multihead_attn)
        its.linear1.load_state_dict(mine.feed.up.state_dict())
        its.linear2.load_state_dict(mine.feed.down.state_dict())
        for number, name in enumerate(norms, start=1):
            getattr(its, f"norm{number}").load_state_dict(getattr(mine, name).state_dict())
    theirs.norm.load_state_dict(ours.norm.state_dict())
    return theirs.eval()


def torchs(model):
    """torch's encoder and decoder with the model's parameters."""
    sizes = {"d_model": 16, "nhead": 4, "dim_feedforward": 24, "dropout": 0.0}
    options = sizes | {"norm_first": True, "batch_first": True, "dtype": torch.float64}
    norm = nn.LayerNorm(16, dtype=torch.float64)
    encoder = nn.TransformerEncoder(
        nn.TransformerEncoderLayer(**options), 2, norm=norm, enable_nested_tensor=False
    )
    norm = nn.LayerNorm(16, dtype=torch.float64)
    decoder = nn.TransformerDecoder(nn.TransformerDecoderLayer(**options), 2, norm=norm)
    copied_stack(model.encoder, encoder, ("attention_norm", "feed_norm"))
    copied_stack(model.decoder, decoder, ("attention_norm", "cross_norm", "feed_norm"))
    return encoder, decoder


@torch.no_grad()
def test_the_layers_are_those_of_torch_with_the_norms_first():
    model = transformer()
    encoder, decoder = torchs(model)
    batch = batch_of(model, uneven())
    padding = torch.arange(batch.source.shape[1]) >= batch.lengths[:, None]
    states = encoder(model.encoder.embed(batch.source), src_key_padding_mask=padding)
    memory = model.encoder(batch.source, batch.lengths)
    assert_near(memory.states[~padding], states[~padding])

    n = batch.inputs.shape[1]
    later = torch.ones(n, n, dtype=torch.bool).triu(1)
    written = decoder(
        model.decoder.embed(batch.inputs), states, tgt_mask=later, memory_key_padding_mask=padding
    )
    logits = written @ model.decoder.embed.weight.mT
    said = batch.targets != PAD
    assert_near(model(batch).logits[said], logits[said], atol=1e-11)


@torch.no_grad()
def test_what_is_written_later_changes_nothing_before():
    model = transformer()
    batch = batch_of(model, uneven())
    before = model(batch)
    for place in range(1, batch.inputs.shape[1]):
        inputs = batch.inputs.clone()
        inputs[:, place] = (inputs[:, place] + 3) % len(model.target)
        after = model(batch._replace(inputs=inputs))
        assert_near(after.logits[:, :place], before.logits[:, :place])
        assert (after.logits[:, place] - before.logits[:, place]).abs().amin(0).max() > 1e-3


@torch.no_grad()
def test_the_order_of_the_source_words_matters():
    model = transformer()
    one, two = (Pair(words, ("le-cat",)) for words in (("red", "cat", "sees"), ("cat", "red", "sees")))
    logits = model(batch_of(model, [one, two])).logits
    assert (logits[0] - logits[1]).abs().max() > 1e-3


@torch.no_grad()
def test_sentences_side_by_side_are_each_by_itself():
    model, known = transformer(), uneven()
    together = model(batch_of(model, known))
    for row, pair in enumerate(known):
        alone = model(batch_of(model, [pair]))
        n, m = len(pair.target) + 1, len(pair.source) + 1
        assert_near(together.logits[row, :n], alone.logits[0])
        for part, (rows, columns) in {"encoder": (m, m), "decoder": (n, n), "cross": (n, m)}.items():
            for many, one in zip(getattr(together, part), getattr(alone, part), strict=True):
                assert_near(many.weights[row, :, :rows, :columns], one.weights[0])
                assert many.weights[row, :, :rows, columns:].abs().sum() == 0


def test_padding_makes_no_gradient_nan():
    model = transformer().train()
    batch = batch_of(model, uneven())
    model(batch).logits.square().sum().backward()
    for name, parameter in model.named_parameters():
        assert parameter.grad.isfinite().all(), name
        assert parameter.grad.any(), name


def test_dropout_is_for_training_alone():
    model = transformer(dropout=0.5)
    batch = batch_of(model, pairs(4))
    assert_near(model(batch).logits, model(batch).logits, atol=0)
    model.train()
    assert (model(batch).logits - model(batch).logits).abs().max() > 0.1


@pytest.mark.parametrize("part", ["attention", "cross", "feed", "embed"])
def test_dropout_leaves_out_a_share_of_what_each_part_adds(part):
    """Every other part silent, what a decoder's layer adds to x is this part's, doubled or left out."""
    layer, x = DecoderLayer(16, 4, 24, 0.5).double(), torch.randn(1, 5, 16, dtype=torch.float64)
    if part == "embed":
        embed = Embedding(9, 16, 0.5).double()
        expected, found = (embed.train(mode)(torch.arange(5)[None]) for mode in (False, True))
    else:
        silent = {"attention": layer.attention.to_output, "cross": layer.cross.to_output}
        silent |= {"feed": layer.feed.down}
        for name, projection in silent.items():
            if name != part:
                nn.init.zeros_(projection.weight)
                nn.init.zeros_(projection.bias)
        options = (x, None, torch.ones(5, 5, dtype=torch.bool))
        expected, found = (layer.train(mode)(x, *options)[0] - x for mode in (False, True))
    left_out = found.abs() < 1e-12
    assert 0.2 < left_out.double().mean() < 0.8
    assert_near(found, (2 * expected).masked_fill(left_out, 0))


# -- the search --------------------------------------------------------------------------------------------


@torch.no_grad()
def test_greedy_is_the_likeliest_word_each_time_with_the_probability_of_the_whole():
    model = transformer()
    sources = [pair.source for pair in pairs(12)]
    for source, found in zip(sources, model.translate_tokens(sources), strict=True):
        assert found.target == by_hand(model, source)
        assert found.log_probability == pytest.approx(
            log_probability(model, source, found.target[:-1]), abs=1e-9
        )


@torch.no_grad()
def test_a_beam_has_the_probability_and_the_weights_of_the_whole_and_finds_likelier_ones():
    model = transformer(seed=3)
    sources = [pair.source for pair in pairs(30)]
    greedy, beam = (model.translate_tokens(sources, beam=beam, length_power=0) for beam in (1, 4))
    for source, found in zip(sources, beam, strict=True):
        said = found.target[:-1]
        assert found.log_probability == pytest.approx(log_probability(model, source, said), abs=1e-9)
        assert_near(found.weights, model.align([Pair(source, said)])[0])
    assert np.mean([one.log_probability for one in beam]) > 0.1 + np.mean(
        [one.log_probability for one in greedy]
    )


@pytest.mark.parametrize("beam", [1, 3])
def test_sentences_searched_together_are_each_by_itself(beam):
    model = transformer()
    sources = [pair.source for pair in pairs(10)]
    for source, found in zip(sources, model.translate_tokens(sources, beam=beam), strict=True):
        (alone,) = model.translate_tokens([source], beam=beam)
        assert alone.target == found.target
        assert_near(alone.weights, found.weights)


# -- text, and every head ----------------------------------------------------------------------------------


def test_a_text_gives_a_translation_and_a_list_a_list():
    model = transformer()
    one, (first, second) = model.translate("Red zebra"), model.translate(["red zebra", "old dog sees bird"])
    assert isinstance(one, Translation)
    assert one.target == first.target
    assert one.source == ("red", "<unk>", "</s>")
    assert second.weights.shape == (len(second.target), 5)
    assert model.translate([]) == []


def test_a_reading_holds_every_head_of_its_own_translation():
    model = transformer()
    found, said = model.read("Red cat sees bird"), model.translate("red cat sees bird")
    assert isinstance(found, Reading)
    assert (found.text, found.source, found.target) == (said.text, said.source, said.target)
    n, m = len(said.target), 5
    assert found.encoder.shape == (2, 4, m, m)
    assert found.decoder.shape == (2, 4, n, n)
    assert found.cross.shape == (2, 4, n, m)
    for weights in found[3:]:
        assert_near(weights.sum(-1), torch.ones_like(weights[..., 0]))
    assert found.decoder.triu(1).abs().sum() == 0
    assert_near(found.cross[model.aligning].mean(0), said.weights)


def test_a_reading_of_words_given_is_the_forward_of_those_words():
    model, pair = transformer(aligning=0), uneven()[2]
    decoded = model(batch_of(model, [pair]))
    for target in (pair.target, list(pair.target), " ".join(pair.target)):
        found = model.read(pair.source, target)
        assert found.target == (*pair.target, "</s>")
        for weights, part in zip(found[3:], PARTS, strict=True):
            assert not weights.requires_grad
            for one, attended in zip(weights, getattr(decoded, part), strict=True):
                assert_near(one, attended.weights[0].detach())
    assert_near(model.align([pair])[0], found.cross[0].mean(0))


def test_nothing_said_is_a_reading_of_the_end_alone():
    found = transformer().read("red cat", "")
    assert (found.text, found.target) == ("", ("</s>",))
    assert found.cross.shape == (2, 4, 1, 3)


def test_the_layer_that_aligns_can_be_chosen_and_is_the_last_unless_said():
    model, pair = transformer(), uneven()[2]
    reading = model.read(pair.source, pair.target)
    assert model.aligning == 1
    for layer in (0, 1):
        model.aligning = layer
        assert_near(model.align([pair])[0], reading.cross[layer].mean(0))
        assert model.options["aligning"] == layer


def test_reading_leaves_a_model_in_training_as_it_was():
    model = transformer(dropout=0.9)
    expected = model.read("red cat").cross
    model.train()
    assert_near(model.read("red cat").cross, expected)
    assert model.training


# -- heads taken out ---------------------------------------------------------------------------------------


def attention_of(model, part, layer):
    block = (model.encoder if part == "encoder" else model.decoder).layers[layer]
    return block.cross if part == "cross" else block.attention


@pytest.mark.parametrize(
    "heads", [[one] for one in ALL] + [[("cross", 0, 0), ("encoder", 1, 3)], ALL[:5], []], ids=str
)
@torch.no_grad()
def test_without_a_head_is_the_forward_with_what_that_head_answers_set_to_zero(heads):
    model = transformer()
    batch = batch_of(model, uneven())
    before, kept = model(batch).logits, {name: value.clone() for name, value in model.state_dict().items()}
    lacking = model.without(heads)
    assert all(value.equal(kept[name]) for name, value in model.state_dict().items())

    hooks = []
    for part, layer, head in heads:

        def silenced(_, inputs, head=head):
            answers = inputs[0].clone()
            answers[..., 4 * head : 4 * (head + 1)] = 0  # heads are 4 wide, side by side
            return (answers,)

        hooks.append(attention_of(model, part, layer).to_output.register_forward_pre_hook(silenced))
    expected = model(batch).logits
    for hook in hooks:
        hook.remove()
    assert_near(lacking(batch).logits, expected)
    assert ((expected - before).abs().max() > 1e-3) == bool(heads)


@torch.no_grad()
def test_without_one_head_and_then_another_is_without_both():
    model, batch = transformer(), batch_of(transformer(), pairs(3))
    one, two = ("decoder", 0, 1), ("cross", 1, 2)
    assert_near(model.without([one]).without([two])(batch).logits, model.without([two, one])(batch).logits)


@torch.no_grad()
def test_a_copy_without_heads_looks_and_translates_by_itself():
    model = transformer()
    lacking = model.without([("cross", 0, head) for head in range(4)])
    reading, whole = lacking.read("red cat", "le-cat"), model.read("red cat", "le-cat")
    assert_near(reading.cross[0], whole.cross[0])  # where a head looks is left; that it is heard is not
    assert (reading.cross[1] - whole.cross[1]).abs().max() > 1e-3
    assert lacking.translate("red cat").log_probability != model.translate("red cat").log_probability


# -- measures ----------------------------------------------------------------------------------------------


@torch.no_grad()
def test_surprise_is_the_mean_of_each_right_words_and_each_end():
    model, known = transformer(dropout=0.4).train(), [*uneven(), *pairs(150, seed=1)]
    found = surprise(model, known)
    assert model.training
    model.eval()
    total = sum(log_probability(model, pair.source, pair.target) for pair in known)
    assert found == pytest.approx(-total / sum(len(pair.target) + 1 for pair in known), abs=1e-12)
    assert surprise(model, known[::-1]) == pytest.approx(found, abs=1e-12)


def test_each_layers_error_rate_is_that_of_its_own_weights():
    from attention_core import alignment

    model, known = transformer(), pairs(30)
    found = layer_error_rates(model, known)
    assert model.aligning == 1
    for layer, scores in enumerate(found):
        readings = (model.read(pair.source, pair.target) for pair in known)
        links = [alignment.links(reading.cross[layer].mean(0)) for reading in readings]
        assert scores == alignment.score(links, known)
    assert found[0] != found[1]


# -- files -------------------------------------------------------------------------------------------------


def test_a_saved_transformer_is_the_same_when_loaded(tmp_path):
    model = transformer(dtype=torch.float32, layers=3, aligning=1)
    for name in ("one", "two"):
        model.save(tmp_path / name)
    assert shelf.sha256(tmp_path / "one") == shelf.sha256(tmp_path / "two")
    again = Transformer.load(tmp_path / "one")
    assert again.options == model.options
    assert again.aligning == 1
    assert (again.source, again.target) == (model.source, model.target)
    assert not again.training
    sources = [pair.source for pair in pairs(4)]
    for one, two in zip(*(m.translate_tokens(sources) for m in (model, again)), strict=True):
        assert one.target == two.target
        assert one.log_probability == two.log_probability


# -- mistakes ----------------------------------------------------------------------------------------------


def made(**options):
    return Transformer(*vocabularies(), **options)


MISTAKES = {
    "`width` even 7 Use 8": lambda: made(width=7, heads=7),
    "`heads` divides `width` 5 64": lambda: made(heads=5),
    "`layers` at least 1 0": lambda: made(layers=0),
    "`hidden` at least 1 2.5": lambda: made(hidden=2.5),
    "`dropout` below 1 1.0": lambda: made(dropout=1.0),
    "`aligning` layer 0 to 1 2": lambda: made(aligning=2),
    "`aligning` layer True": lambda: made(aligning=True),
    "`source` `Vocabulary` got list": lambda: Transformer(["a"], vocabularies()[1]),
    "`target` `Vocabulary` got str": lambda: Transformer(vocabularies()[0], "a"),
    "`text` list got int number 1": lambda: transformer().translate(["a", 3]),
    "`text` at least one word '  ' number 0": lambda: transformer().translate("  "),
    "`beam` at least 1 0": lambda: transformer().translate("a", beam=0),
    "`length_power` at least 0 -1": lambda: transformer().translate("a", length_power=-1),
    "`pairs` list `datasets.Pair`": lambda: transformer().align([("a", "b")]),
    "`pairs` one pair list of one": lambda: surprise(transformer(), pairs(1)[0]),
    "`pairs` at least one pair none": lambda: surprise(transformer(), []),
    "`text` at least one word ''": lambda: transformer().read(""),
    "`text` one text one by one": lambda: transformer().read([("red", "cat"), ("old", "cat")]),
    "`target` one text or its words 3": lambda: transformer().read("red", 3),
    "`heads` encoder, decoder, cross 'both'": lambda: transformer().without([("both", 0, 0)]),
    "`heads` layer 0 to 1 2": lambda: transformer().without([("cross", 2, 0)]),
    "`heads` head 0 to 3 -1": lambda: transformer().without([("cross", 0, -1)]),
    "`heads` (part, layer, head) list of one 'cross'": lambda: transformer().without(("cross", 0, 0)),
}


@pytest.mark.parametrize("words", MISTAKES)
@pytest.mark.usefixtures("unchecked")
def test_mistake_names_the_argument_what_came_and_the_remedy(words):
    with pytest.raises((TypeError, ValueError)) as raised:
        MISTAKES[words]()
    assert [word for word in words.split() if word not in str(raised.value)] == [], str(raised.value)


def test_a_vocabulary_of_its_own_is_enough_to_build_one():
    model = Transformer(Vocabulary.build([("a", "b")]), Vocabulary.build([("x",)]), width=8, heads=2)
    assert model.translate("a b").target[-1] == "</s>"
    assert model.options["hidden"] == 16
