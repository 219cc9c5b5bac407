"""The translator: its attention is the reference's, its batches are sentences, its searches search."""

import numpy as np
import pytest
import torch

from attention_core import reference, scores
from attention_core.datasets import Pair
from attention_core.models import Translation, Translator, Vocabulary
from attention_core.models.sentences.batches import buckets, collate
from attention_core.models.sentences.search import longest_allowed, search
from attention_core.models.sentences.vocabulary import BEGIN, END, PAD, UNKNOWN
from attention_core.models.translator import ATTENTIONS, exact_match
from attention_core.models.translator.attention import SCORE, Attention, Memory

from .translations import by_hand, log_probability, pairs, translator, vocabularies

ATTENDING = [kind for kind in ATTENTIONS if kind != "none"]
VARIANTS = [
    *((kind, False) for kind in ATTENDING),
    *((kind, True) for kind in ATTENDING if kind not in ("additive", "hard")),
]


def named(variant):
    return variant[0] + "-fed" * variant[1]


def assert_near(actual, expected, atol=1e-10):
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0)


def sentence(words=9, seed=0):
    """A pair longer than the grammar makes, so that windows leave something out."""
    chance = np.random.default_rng(seed)
    source, target = vocabularies()
    return Pair(
        tuple(chance.choice(source.words[4:], words)),
        tuple(chance.choice(target.words[4:], words + 3)),
        frozenset(),
        frozenset(),
    )


# -- the equations, in loops -------------------------------------------------------------------------------


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


class Loops:
    """A translator's parameters, and its decoder word by word on one sentence, in NumPy."""

    def __init__(self, model):
        self.model = model
        self.weights = {name: value.numpy() for name, value in model.decoder.state_dict().items()}

    def moved(self, x, hidden):
        """One step of a GRU, in torch's order of gates: reset, update, new."""
        gates = self.weights["recur.weight_ih_l0"] @ x + self.weights["recur.bias_ih_l0"]
        recurrent = self.weights["recur.weight_hh_l0"] @ hidden + self.weights["recur.bias_hh_l0"]
        (r, z, n), (from_r, from_z, from_n) = np.split(gates, 3), np.split(recurrent, 3)
        reset, update = sigmoid(r + from_r), sigmoid(z + from_z)
        return (1 - update) * np.tanh(n + reset * from_n) + update * hidden

    def attended(self, query, place, states):
        """Context and weights, by the loops of `reference`."""
        kind = self.model.attention
        parameters = {
            name.removeprefix("attention.score."): value
            for name, value in self.weights.items()
            if name.startswith("attention.score.")
        }
        function = getattr(reference, SCORE.get(kind, kind))

        def score(q, k):
            return function(q, k, **parameters)

        if kind == "local_m":
            queries = np.repeat(query[None], place + 1, axis=0)
            output, weights, _ = reference.local_monotonic(queries, states, states, 2, score=score)
        elif kind == "local_p":
            prediction = self.weights["attention.w_position"], self.weights["attention.v_position"]
            output, weights, _ = reference.local_predictive(
                query[None], states, states, *prediction, 2, score=score
            )
        else:
            normalize = reference.hard if kind == "hard" else reference.softmax
            output, weights, _ = reference.attend(
                query[None], states, states, score=score, normalize=normalize
            )
        return output[-1], weights[-1]

    def read(self, memory, words):
        """Logits and weights of each word."""
        states, hidden = memory.states[0].numpy(), memory.initial[0].numpy()
        fed, found = np.zeros_like(hidden), []
        for place, word in enumerate(words):
            embedded = self.weights["embed.weight"][word]
            if self.model.decoder.early:
                context, weights = self.attended(hidden, place, states)
                hidden = self.moved(np.concatenate([embedded, context]), hidden)
                parts = [hidden, context, embedded]
            else:
                feeding = self.model.options["input_feeding"]
                hidden = self.moved(np.concatenate([embedded, fed]) if feeding else embedded, hidden)
                context, weights = self.attended(hidden, place, states)
                parts = [context, hidden]
            fed = np.tanh(self.weights["readout.weight"] @ np.concatenate(parts))
            found.append((self.weights["unembed.weight"] @ fed + self.weights["unembed.bias"], weights))
        logits, weights = zip(*found, strict=True)
        return np.stack(logits), np.stack(weights)


@pytest.mark.parametrize("variant", VARIANTS, ids=named)
@torch.no_grad()
def test_weights_and_logits_are_those_of_loops_over_words_and_places(variant):
    attention, feeding = variant
    model = translator(attention, input_feeding=feeding)
    pair = sentence()
    batch = collate([pair], model.source, model.target)
    decoded = model(batch)
    logits, weights = Loops(model).read(model.encoder(batch.source, batch.lengths), batch.inputs[0].tolist())
    np.testing.assert_allclose(decoded.logits[0], logits, atol=1e-12, rtol=0)
    np.testing.assert_allclose(decoded.weights[0], weights, atol=1e-12, rtol=0)
    np.testing.assert_allclose(model.align([pair])[0], weights, atol=1e-12, rtol=0)


@torch.no_grad()
def test_without_attention_every_word_reads_the_same_summary():
    model = translator("none")
    batch = collate([sentence()], model.source, model.target)
    memory, loops = model.encoder(batch.source, batch.lengths), Loops(model)
    hidden, summary = memory.initial[0].numpy(), memory.summary[0].numpy()
    for place, word in enumerate(batch.inputs[0].tolist()):
        embedded = loops.weights["embed.weight"][word]
        hidden = loops.moved(np.concatenate([embedded, summary]), hidden)
        output = np.tanh(loops.weights["readout.weight"] @ np.concatenate([hidden, summary, embedded]))
        expected = loops.weights["unembed.weight"] @ output + loops.weights["unembed.bias"]
        np.testing.assert_allclose(model(batch).logits[0, place], expected, atol=1e-12, rtol=0)
    assert model(batch).weights is None


@torch.no_grad()
def test_the_encoder_reads_both_ways_and_each_way_ends_in_the_summary():
    model = translator()
    batch = collate([sentence()], model.source, model.target)
    memory = model.encoder(batch.source, batch.lengths)
    half = model.options["width"] // 2
    assert_near(memory.summary, torch.cat([memory.states[:, -1, :half], memory.states[:, 0, half:]], dim=-1))
    bridge = model.encoder.bridge
    assert_near(memory.initial, torch.tanh(memory.summary @ bridge.weight.mT + bridge.bias))


# -- rows of weights ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("attention", ["additive", "dot", "general", "concat", "hard"])
def test_every_row_of_weights_sums_to_one(attention):
    for weights in translator(attention).align(pairs(8)):
        assert_near(weights.sum(-1), torch.ones(len(weights), dtype=torch.float64))


def test_rows_of_a_window_sum_to_one_but_for_the_gaussian_and_where_nothing_is_near():
    pair = sentence(words=3)  # four columns, seven rows
    (monotonic,) = translator("local_m").align([pair])
    assert_near(monotonic.sum(-1), torch.tensor([1.0] * 6 + [0.0], dtype=torch.float64))
    assert (monotonic[:, 0] > 0).tolist() == [True] * 3 + [False] * 4
    (predictive,) = translator("local_p").align([pair])
    assert (predictive.sum(-1) < 1).all()
    assert (predictive.sum(-1) > 0.2).all()


def test_hard_attention_looks_at_one_place_the_best_of_the_scores():
    pair = sentence()
    (hard,) = translator("hard").align([pair])
    assert ((hard == 0) | (hard == 1)).all()
    soft = translator("additive")
    soft.load_state_dict(translator("hard").state_dict())
    assert (hard[0].argmax() == soft.align([pair])[0][0].argmax()).item()


@pytest.mark.parametrize("variant", [*VARIANTS, ("none", False)], ids=named)
@pytest.mark.parametrize(("dtype", "atol"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=str)
@torch.no_grad()
def test_a_sentence_alone_is_what_it_is_in_a_batch(variant, dtype, atol):
    attention, feeding = variant
    model = translator(attention, input_feeding=feeding, dtype=dtype)
    short, long = sentence(words=2), sentence(words=9, seed=1)
    together = model(collate([short, long], model.source, model.target))
    for row, one in enumerate((short, long)):
        alone = model(collate([one], model.source, model.target))
        n, m = len(one.target) + 1, len(one.source) + 1
        assert_near(together.logits[row, :n], alone.logits[0], atol)
        if attention != "none":
            assert_near(together.weights[row, :n, :m], alone.weights[0], atol)
            assert (together.weights[row, :n, m:] == 0).all()


@pytest.mark.parametrize("attention", ATTENDING)
@torch.no_grad()
def test_translating_gives_the_weights_that_reading_the_translation_gives(attention):
    """One path: what is shown of a translation is what `align` measures."""
    model = translator(attention)
    for one in model.translate_tokens([pair.source for pair in pairs(6)]):
        read = Pair(one.source[:-1], one.target[:-1], frozenset(), frozenset())
        assert_near(one.weights, model.align([read])[0])
        assert one.weights.shape == (len(one.target), len(one.source))


@pytest.mark.parametrize("attention", ["additive", "general", "local_m", "local_p"])
def test_a_low_temperature_makes_attention_hard_and_a_high_one_even(attention):
    model, texts = translator(attention), ["red cat sees dog"]
    scale = {"local_p": None}.get(attention, 1.0)
    for temperature, check in ((1e-6, "hard"), (1e6, "even")):
        weights = model.translate(texts, temperature=temperature)[0].weights
        for row in weights:
            seen = row[row > 1e-12]
            if check == "hard":
                assert len(seen) <= 1
            elif scale and len(seen):
                assert_near(seen, torch.full_like(seen, 1 / len(seen)), atol=1e-4)


def test_temperature_changes_no_place_of_hard_attention():
    model = translator("hard")
    for cold, warm in zip(*(model.translate(["red cat"], temperature=t) for t in (0.1, 10)), strict=True):
        assert cold.target == warm.target
        assert_near(cold.weights, warm.weights)


def test_the_attention_has_the_parameters_of_its_score_and_no_other():
    sizes = {kind: sum(p.numel() for p in Attention(kind, 8).parameters()) for kind in ATTENDING}
    assert sizes == {
        "additive": 2 * 8 * 8 + 8, "dot": 0, "general": 64, "concat": 8 * 16 + 8,
        "local_m": 64, "local_p": 64 + 64 + 8, "hard": 2 * 8 * 8 + 8,
    }  # fmt: skip


def test_the_projected_key_is_the_keys_share_of_the_additive_score():
    attention, generator = Attention("additive", 8).double(), torch.Generator().manual_seed(0)
    query, states = (torch.randn(2, n, 8, dtype=torch.float64, generator=generator) for n in (3, 5))
    keys = attention.keys(states)
    memory = Memory(states, keys, states[:, 0], states[:, 0], torch.tensor([5, 5]), None)
    expected = torch.softmax(scores.additive(query, states, **attention.score), dim=-1)
    assert_near(attention(query, memory).weights, expected, atol=1e-12)


@pytest.mark.parametrize("attention", ["additive", "general", "concat", "local_m"])
def test_attention_is_even_at_first(attention):
    model = Translator(*vocabularies(), attention=attention, width=8, embedding=4).double()
    for weights in model.align([sentence(), *pairs(3)]):
        seen = weights > 0
        assert_near(weights, seen / seen.sum(-1, keepdim=True).clamp_min(1).double())


@pytest.mark.parametrize("attention", ATTENTIONS)
def test_every_parameter_feels_what_is_said(attention):
    from attention_core.models.translator.objective import loss

    model = translator(attention).train()
    loss(model, collate(pairs(16), model.source, model.target)).total.backward()
    still = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    assert still == []


# -- batches -----------------------------------------------------------------------------------------------


def test_buckets_hold_every_pair_once_and_pad_no_source():
    known = pairs(103)
    batches = buckets(known, 8, torch.Generator().manual_seed(0))
    assert sorted(number for rows in batches for number in rows) == list(range(103))
    assert all(len({len(known[row].source) for row in rows}) == 1 and len(rows) <= 8 for rows in batches)
    assert batches != buckets(known, 8, torch.Generator().manual_seed(1))


def test_a_batch_reads_the_target_one_word_late_and_ends_every_sentence():
    source, target = vocabularies()
    known = sorted(pairs(20), key=lambda one: len(one.target))
    batch = collate([known[0], known[-1]], source, target)
    assert batch.inputs[:, 0].tolist() == [BEGIN, BEGIN]
    assert batch.inputs[1, 1:].tolist() == batch.targets[1, :-1].tolist()
    assert batch.targets[1, -1] == END
    assert batch.targets[0].tolist()[len(known[0].target) :] == [END] + [PAD] * (
        len(known[-1].target) - len(known[0].target)
    )
    assert batch.lengths.tolist() == [len(one.source) + 1 for one in (known[0], known[-1])]


def test_a_word_with_sure_links_is_guided_to_those_alone():
    source, target = vocabularies()
    sure, possible = frozenset({(0, 2)}), frozenset({(0, 2), (0, 0), (1, 0)})
    pair = Pair(("big", "red", "cat"), ("le-cat", "f-big"), sure, possible)
    gold = collate([pairs(1)[0], pair], source, target).gold[1]
    assert gold.nonzero().tolist() == [[0, 2], [1, 0]]


# -- the search --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attention", ATTENTIONS)
@torch.no_grad()
def test_a_beam_of_one_is_greedy_and_greedy_is_the_likeliest_word_each_time(attention):
    model = translator(attention)
    sources = [pair.source for pair in pairs(8)]
    for source, found in zip(sources, model.translate_tokens(sources), strict=True):
        assert found.target == by_hand(model, source)
        assert found.log_probability == pytest.approx(
            log_probability(model, source, found.target[:-1]), abs=1e-9
        )


@pytest.mark.parametrize("attention", ["none", "additive", "general", "local_p"])
def test_a_beam_finds_likelier_translations_on_average(attention):
    model = translator(attention)
    sources = [pair.source for pair in pairs(30)]
    greedy, beam = (
        [one.log_probability for one in model.translate_tokens(sources, beam=beam, length_power=0)]
        for beam in (1, 4)
    )
    assert np.mean(beam) > np.mean(greedy) + 0.1


def test_a_beam_as_wide_as_the_language_finds_the_best_of_all_short_translations(monkeypatch):
    """Against every translation of at most three words, of a language of three."""
    from itertools import product

    from attention_core.models.sentences import search as module

    monkeypatch.setattr(module, "longest_allowed", lambda source: 4)
    source = Vocabulary.build([("a", "b")])
    target = Vocabulary.build([("x", "y", "z")])
    model = Translator(source, target, width=8, embedding=4).double().eval()
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.8)
    words = [word for word in target.words if word not in ("<pad>", "<s>", "</s>")]
    with torch.no_grad():
        every = {
            said: log_probability(model, ("a", "b"), said)
            for n in range(4)
            for said in product(words, repeat=n)
        }
        for power in (0, 1):
            best = max(every, key=lambda said, power=power: every[said] / (len(said) + 1) ** power)
            found = model.translate_tokens([("a", "b")], beam=200, length_power=power)[0]
            assert found.target[:-1] == best
    assert max(every, key=every.get) != max(every, key=lambda said: every[said] / (len(said) + 1))


@pytest.mark.parametrize("beam", [1, 3])
def test_sentences_searched_together_are_each_by_itself(beam):
    model = translator()
    sources = [pair.source for pair in pairs(10)]
    together = model.translate_tokens(sources, beam=beam)
    for source, found in zip(sources, together, strict=True):
        (alone,) = model.translate_tokens([source], beam=beam)
        assert alone.target == found.target
        assert_near(alone.weights, found.weights)


@pytest.mark.parametrize("beam", [1, 3])
def test_a_model_that_never_ends_is_ended_and_the_end_has_its_row(beam):
    model = translator()
    model.decoder.unembed.bias.data[END] = -1e4
    (found,) = model.translate_tokens([("red", "cat")], beam=beam)
    assert len(found.target) == longest_allowed(3)
    assert found.target[-1] == "</s>"
    assert "</s>" not in found.target[:-1]
    assert found.weights.shape == (len(found.target), 3)


def test_padding_and_beginning_are_never_said():
    model = translator()
    model.decoder.unembed.bias.data[[PAD, BEGIN]] = 1e4
    for found in model.translate_tokens([pair.source for pair in pairs(5)], beam=2):
        assert not {"<pad>", "<s>"} & set(found.target)


# -- text --------------------------------------------------------------------------------------------------


def test_a_text_gives_a_translation_and_a_list_a_list():
    model = translator()
    one, (first, second) = model.translate("Red cat"), model.translate(["red cat", "old dog sees bird"])
    assert isinstance(one, Translation)
    assert one.target == first.target
    assert one.source == ("red", "cat", "</s>")
    assert second.source[-1] == second.target[-1] == "</s>"
    assert model.translate([]) == []


def test_a_word_that_it_does_not_know_is_shown_as_unknown():
    model = translator()
    found = model.translate("red zebra sees cat")
    assert found.source == ("red", "<unk>", "sees", "cat", "</s>")
    assert found.weights.shape == (len(found.target), 5)


def test_a_model_in_training_translates_without_dropout_and_stays_in_training():
    model = translator(dropout=0.9)
    expected = model.translate("red cat").weights
    model.train()
    assert_near(model.translate("red cat").weights, expected)
    assert_near(model.align(pairs(1))[0], model.eval().train().align(pairs(1))[0])
    assert model.training


def test_without_attention_there_are_no_weights_and_nothing_to_align():
    model = translator("none")
    assert model.translate("red cat").weights is None
    with pytest.raises(ValueError, match=r"`align` needs attention.*models\.load"):
        model.align(pairs(1))


def test_an_exact_match_is_every_word_right():
    known = pairs(4)

    def said(target):
        return Translation("", (), (*target, "</s>"), None, 0.0)

    right = [said(one.target) for one in known]
    assert exact_match(right, known) == 1.0
    assert exact_match([*right[:-1], said(known[-1].target[:-1])], known) == 0.75


# -- vocabularies ------------------------------------------------------------------------------------------


def test_a_vocabulary_numbers_common_words_first_and_ties_by_the_alphabet():
    words = Vocabulary.build([("b", "a", "c"), ("c", "b")])
    assert words.words == ("<pad>", "<s>", "</s>", "<unk>", "b", "c", "a")
    assert words.numbers(("c", "zebra", "a")) == [5, UNKNOWN, 6, END]
    assert words.spelled([5, UNKNOWN, END]) == ("c", "<unk>", "</s>")
    assert "a" in words
    assert "zebra" not in words


def test_rare_words_and_those_beyond_the_most_are_left_out():
    sentences = [("a", "a", "a", "b", "b", "c")]
    assert Vocabulary.build(sentences, minimum=2).words[4:] == ("a", "b")
    assert Vocabulary.build(sentences, most=1).words[4:] == ("a",)


def test_a_vocabulary_in_any_order_of_sentences_is_the_same():
    known = [one.source for one in pairs(30)]
    assert Vocabulary.build(known) == Vocabulary.build(known[::-1])


# -- mistakes ----------------------------------------------------------------------------------------------


def made(**options):
    return Translator(*vocabularies(), **options)


MISTAKES = {
    "`attention` one of none, additive, 'soft'": lambda: made(attention="soft"),
    "`width` even 7": lambda: made(width=7),
    "`width` at least 1 0": lambda: made(width=0),
    "`embedding` at least 1 2.5": lambda: made(embedding=2.5),
    "`half_width` at least 1 0": lambda: made(attention="local_m", half_width=0),
    "`dropout` below 1 1.0": lambda: made(dropout=1.0),
    "`dropout` share '0.1'": lambda: made(dropout="0.1"),
    "`input_feeding` 'additive' Leave it out": lambda: made(input_feeding=True),
    "`source` `Vocabulary` got list": lambda: Translator(["a"], vocabularies()[1]),
    "`text` list got int number 1": lambda: translator().translate(["a", 3]),
    "`text` at least one word '  ' number 0": lambda: translator().translate("  "),
    "`text` got set `list(texts)`": lambda: translator().translate({"a"}),
    "`beam` at least 1 0": lambda: translator().translate("a", beam=0),
    "`beam` at least 1 True": lambda: translator().translate("a", beam=True),
    "`temperature` positive 0": lambda: translator().translate("a", temperature=0),
    "`temperature` number str": lambda: translator().translate("a", temperature="1"),
    "`length_power` at least 0 -1": lambda: translator().translate("a", length_power=-1),
    "`pairs` list `datasets.Pair`": lambda: translator().align([("a", "b")]),
    "`pairs` one pair is a list of one": lambda: translator().align(pairs(1)[0]),
    "`words` begin with <pad> `Vocabulary.build": lambda: Vocabulary(["a", "b"]),
    "`sentences` text 'a b' Split": lambda: Vocabulary.build(["a b"]),
    "`sentences` no word 9 times Lower": lambda: Vocabulary.build([("a",)], minimum=9),
    "`minimum` at least 1 0": lambda: Vocabulary.build([("a",)], minimum=0),
    "`most` at least 1 0": lambda: Vocabulary.build([("a",)], most=0),
    "`translations` as many as 0 2": lambda: exact_match([], pairs(2)),
}


@pytest.mark.parametrize("words", MISTAKES)
@pytest.mark.usefixtures("unchecked")
def test_mistake_names_the_argument_what_came_and_the_remedy(words):
    with pytest.raises((TypeError, ValueError)) as raised:
        MISTAKES[words]()
    assert [word for word in words.split() if word not in str(raised.value)] == [], str(raised.value)


def test_search_needs_no_gradient():
    model = translator()
    memory = model._remember(torch.tensor([[4, END]]), torch.tensor([2]))
    found = search(model.decoder, memory, beam=1, temperature=1.0, length_power=1.0)
    assert not found[0].weights[0].requires_grad
