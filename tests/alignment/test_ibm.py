"""IBM models 1 and 2: exact fractions, every alignment one by one, and nltk's implementation."""

import math
from collections import defaultdict
from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from nltk.translate import AlignedSent, IBMModel1, IBMModel2

from attention_core import alignment
from attention_core.alignment import IBM1, IBM2

from .pairs import LOVE, pair

HOUSE = [pair("blue house", "maison bleue"), pair("house", "maison")]
CORPUS = [
    pair("the house is small", "klein ist das haus"),
    pair("the house is big", "das haus ist ja groß"),
    pair("the book is small", "das buch ist ja klein"),
    pair("the house", "das haus"),
    pair("the book", "das buch"),
    pair("a book", "ein buch"),
]
MODELS = pytest.mark.parametrize("model", [IBM1, IBM2])


def random_corpus(rng, pairs, words=6, longest=4):
    """No target word twice in a pair: nltk counts such words half."""
    made = []
    for _ in range(pairs):
        source = rng.choice(list("abcdef")[:words], rng.integers(1, longest + 1))
        target = rng.choice(list("uvwxyz")[:words], rng.integers(1, longest + 1), replace=False)
        made.append(pair(" ".join(source), " ".join(target)))
    return made


def fractions_of_model_1(pairs, rounds, null):
    """EM as the paper derives it: over whole alignments, one by one, with exact fractions."""
    targets = {f for p in pairs for f in p.target}
    theta = defaultdict(lambda: Fraction(1, len(targets)))
    likelihoods = []
    for last in [False] * rounds + [True]:
        counts, likelihood = defaultdict(Fraction), Fraction(1)
        for p in pairs:
            writers = [*p.source, *([None] if null else [])]
            chosen = list(product(writers, repeat=len(p.target)))
            joint = [math.prod(theta[e, f] for e, f in zip(a, p.target, strict=True)) for a in chosen]
            for a, probability in zip(chosen, joint, strict=True):
                for e, f in zip(a, p.target, strict=True):
                    counts[e, f] += probability / sum(joint)
            likelihood *= sum(joint) / Fraction(len(writers)) ** len(p.target)
        likelihoods.append(likelihood)
        if not last:
            totals = defaultdict(Fraction)
            for (e, _), count in counts.items():
                totals[e] += count
            theta = {(e, f): count / totals[e] for (e, f), count in counts.items()}
    return theta, likelihoods


# -- by hand -------------------------------------------------------------------------------------------------


def test_two_sentences_by_hand_without_null():
    # round 1: house gets 1/2 + 1 of maison and 1/2 of bleue, so 3/4 and 1/4
    one = IBM1(1, null=False).fit(HOUSE)
    assert one.translations("house") == pytest.approx({"maison": 3 / 4, "bleue": 1 / 4})
    assert one.translations("blue") == pytest.approx({"maison": 1 / 2, "bleue": 1 / 2})
    # round 2: of the first maison blue gets 2/5 and house 3/5, of bleue 2/3 and 1/3
    two = IBM1(2, null=False).fit(HOUSE)
    assert two.translations("house") == pytest.approx({"maison": 24 / 29, "bleue": 5 / 29})
    assert two.translations("blue") == pytest.approx({"bleue": 5 / 8, "maison": 3 / 8})


def test_two_sentences_by_hand_with_null():
    two = IBM1(2).fit(HOUSE)
    assert two.translations("blue") == pytest.approx({"bleue": 9 / 14, "maison": 5 / 14})
    assert two.translations("house") == pytest.approx({"maison": 235 / 307, "bleue": 72 / 307})
    assert two.translations(None) == pytest.approx(two.translations("house"))  # NULL stands in the same pairs


def test_perplexity_by_hand():
    # uniform: 1/2 a word. After round 1: 5/8 and 3/8 for the first pair, 3/4 for the second
    one = IBM1(1, null=False).fit(HOUSE)
    assert one.perplexities == pytest.approx([2.0, (5 / 8 * 3 / 8 * 3 / 4) ** (-1 / 3)])


def test_translations_are_sorted_and_can_be_cut():
    model = IBM1(2, null=False).fit(HOUSE)
    assert list(model.translations("blue")) == ["bleue", "maison"]
    assert model.translations("blue", most=1) == pytest.approx({"bleue": 5 / 8})


# -- against whole alignments, and against nltk --------------------------------------------------------------


@pytest.mark.parametrize("null", [True, False])
@pytest.mark.parametrize("seed", range(3))
def test_model_1_equals_em_over_whole_alignments_in_exact_fractions(seed, null):
    pairs = [*random_corpus(np.random.default_rng(seed), 3, words=3, longest=2), pair("a a b", "u v u")]
    theta, likelihoods = fractions_of_model_1(pairs, 2, null)
    model = IBM1(2, null=null).fit(pairs)
    for (e, f), value in theta.items():
        assert model.translations(e)[f] == pytest.approx(float(value), abs=1e-14)
    words = sum(len(p.target) for p in pairs)
    expected = [float(likelihood) ** (-1 / words) for likelihood in likelihoods]
    assert model.perplexities == pytest.approx(expected, rel=1e-12)


def as_nltk(pairs):
    return [AlignedSent(list(p.target), list(p.source)) for p in pairs]


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_model_1_equals_nltk(seed):
    pairs = CORPUS if seed is None else random_corpus(np.random.default_rng(seed), 30)
    ours, theirs = IBM1(7).fit(pairs), IBMModel1(as_nltk(pairs), 7)
    for word in {None, *(e for p in pairs for e in p.source)}:
        for f, value in ours.translations(word).items():
            assert value == pytest.approx(theirs.translation_table[f][word], rel=1e-9, abs=2e-12)


@pytest.mark.parametrize("seed", [None, 0, 1])
def test_model_2_equals_nltk(seed):
    pairs = CORPUS if seed is None else random_corpus(np.random.default_rng(seed), 30)
    ours, theirs = IBM2(4, first=8).fit(pairs), IBMModel2(as_nltk(pairs), 4)  # nltk takes 2 x 4 of model 1
    for word in {None, *(e for p in pairs for e in p.source)}:
        for f, value in ours.translations(word).items():
            assert value == pytest.approx(theirs.translation_table[f][word], rel=1e-6, abs=2e-11)
    for n, m in {(len(p.target), len(p.source)) for p in pairs}:
        for (t, s), value in np.ndenumerate(ours.positions(n, m)):
            column = s + 1 if s < m else 0  # nltk has NULL first and counts target positions from 1
            assert value == pytest.approx(theirs.alignment_table[column][t + 1][m][n], rel=1e-6, abs=2e-11)


# -- what holds on any corpus --------------------------------------------------------------------------------


@MODELS
@pytest.mark.parametrize("seed", range(5))
def test_perplexity_never_rises(model, seed):
    fitted = model(12).fit(random_corpus(np.random.default_rng(seed), 40))
    rises = np.diff(fitted.perplexities)
    assert (rises <= 1e-12).all()
    assert fitted.perplexities[-1] < fitted.perplexities[0] - 0.2


def test_perplexities_run_once_through_both_models():
    fitted = IBM2(3, first=2).fit(CORPUS)
    assert len(fitted.perplexities) == 6
    assert fitted.perplexities[:3] == IBM1(2).fit(CORPUS).perplexities


@MODELS
def test_translations_of_every_word_and_positions_of_every_row_sum_to_one(model):
    fitted = model(5).fit(CORPUS)
    for word in (None, "the", "house", "a"):
        assert sum(fitted.translations(word).values()) == pytest.approx(1)
    if model is IBM2:
        assert fitted.positions(4, 4).sum(1) == pytest.approx(1)


@MODELS
@pytest.mark.parametrize("null", [True, False])
def test_weights_are_rows_of_attention_and_their_links_are_the_alignment(model, null):
    pairs = random_corpus(np.random.default_rng(3), 30)
    fitted = model(5, null=null).fit(pairs)
    weights = fitted.weights(pairs)
    for matrix, p in zip(weights, pairs, strict=True):
        assert matrix.shape == (len(p.target) + 1, len(p.source) + 1)
        assert matrix.sum(1) == pytest.approx(1)
        assert matrix[-1, -1] == 1
        assert null or not matrix[:-1, -1].any()
    assert [alignment.links(matrix) for matrix in weights] == fitted.align(pairs)


def test_weights_are_the_posterior_of_bayes():
    fitted = IBM2(2, first=1).fit(CORPUS)
    weights, at = fitted.weights(CORPUS[-1:])[0], fitted.positions(2, 2)  # a book, ein buch
    joint = [at[0][s] * fitted.translations(e)["ein"] for s, e in enumerate(("a", "book", None))]
    assert weights[0] == pytest.approx(np.array(joint) / sum(joint))


def test_model_2_learns_that_the_order_is_turned_round_where_words_alone_cannot_say():
    pairs = [pair(f"a{i} b{i}", f"y{i} x{i}") for i in range(6)]
    pairs += [pair(f"a{i}", f"x{i}") for i in range(4)]  # for i = 4 and 5 nothing else tells x from y
    alone = IBM1(20, null=False).fit(pairs).align(pairs)
    placed = IBM2(20, null=False).fit(pairs).align(pairs)
    assert alone[0] == placed[0] == {(0, 1), (1, 0)}
    assert alone[5] != {(0, 1), (1, 0)}
    assert placed[5] == {(0, 1), (1, 0)}


def test_lengths_that_training_did_not_see_have_uniform_positions():
    fitted = IBM2(3).fit(CORPUS)
    assert fitted.positions(3, 7) == pytest.approx(np.full((3, 8), 1 / 8))
    assert IBM2(3, null=False).fit(CORPUS).positions(3, 7) == pytest.approx(np.full((3, 7), 1 / 7))


@MODELS
def test_an_unknown_word_is_linked_to_nothing_and_others_as_before(model):
    fitted = model(10).fit(CORPUS)
    assert all(s == 1 for _, s in fitted.align([pair("zebra house", "das haus")])[0])
    assert fitted.align([pair("the house", "zebra haus")]) == [{(1, 1)}]
    assert fitted.weights([pair("the house", "zebra haus")])[0][0].tolist() == [0, 0, 1]


def test_gold_links_are_not_looked_at():
    hidden = [pair(" ".join(LOVE.source), " ".join(LOVE.target))]
    assert IBM1(3).fit([LOVE]).perplexities == IBM1(3).fit(hidden).perplexities


@MODELS
def test_sides_without_words_are_carried_along(model):
    pairs = [*CORPUS, pair("", "haus"), pair("the", ""), pair("", "")]
    fitted = model(5).fit(pairs)
    assert fitted.align(pairs)[-3:] == [frozenset()] * 3
    assert [w.shape for w in fitted.weights(pairs)[-3:]] == [(2, 1), (1, 2), (1, 1)]
    assert fitted.align([]) == fitted.weights([]) == []


# -- bad input -----------------------------------------------------------------------------------------------


@MODELS
@pytest.mark.parametrize("pairs", [[], [pair("a", "")]], ids=["no pair", "no target word"])
def test_a_corpus_without_words_is_refused(model, pairs):
    with pytest.raises(ValueError, match=f"`pairs` must hold at least one target word.*got {len(pairs)}"):
        model().fit(pairs)


def test_without_null_every_target_needs_a_source_word():
    with pytest.raises(ValueError, match=r"no source word.*null=True"):
        IBM1(null=False).fit([pair("", "x")])


@MODELS
def test_a_model_that_was_not_fitted_says_so(model):
    for ask in (lambda m: m.align(CORPUS), lambda m: m.weights(CORPUS), lambda m: m.translations("the")):
        with pytest.raises(RuntimeError, match=r"learned nothing yet: call fit\(pairs\) first"):
            ask(model())


def test_a_word_that_was_not_in_training_is_named():
    with pytest.raises(ValueError, match=r"'zebra' is no source word.*NULL is None"):
        IBM1(1).fit(CORPUS).translations("zebra")


def test_rounds_must_be_positive():
    with pytest.raises(ValueError, match="`iterations` must be at least 1; got 0"):
        IBM1(0)
    with pytest.raises(ValueError, match="`first` must be at least 1; got 0"):
        IBM2(1, first=0)
