"""Generation: with caches, with pages and without, step by step the same tokens from the same logits."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from attention_core import normalizers
from attention_core.decoding import KVCache
from attention_core.models import generate
from attention_core.models.generation import choose

from .test_decoder import VOCABULARY, as_in_transformers, assert_near, decoder, texts


def prompts_of(lengths, seed=0):
    return [texts(1, length, seed + 7 * b)[0].tolist() for b, length in enumerate(lengths)]


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def by_hand(model, prompt, new, end=None):
    """The likeliest continuation: the whole text is read for each token, and nothing else is done."""
    text = list(prompt)
    while len(text) < len(prompt) + new and (len(text) == len(prompt) or text[-1] != end):
        text.append(int(model(torch.tensor([text])).logits[0, -1].argmax()))
    return text[len(prompt) :]


# The same with caches and without


@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**32 - 1),
    lengths=st.lists(st.integers(1, 7), min_size=1, max_size=4),
    new=st.integers(0, 7),
    kv_heads=st.sampled_from([1, 2, 4]),
    temperature=st.sampled_from([0.0, 0.5, 2.0]),
    page_size=st.integers(1, 4),
    end=st.sampled_from([None, 0, 1, 2]),
)
def test_caches_and_pages_change_no_token_and_no_logit(
    seed, lengths, new, kv_heads, temperature, page_size, end
):
    model, prompts = decoder(seed, kv_heads=kv_heads), prompts_of(lengths, seed % 1000)
    options = {"end": end, "temperature": temperature}
    expected = generate(model, prompts, new, generator=seeded(seed), **options)
    pools = model.paged_caches(64, page_size)
    for caches in (model.caches(), pools):
        got = generate(model, prompts, new, generator=seeded(seed), caches=caches, **options)
        for ours, wanted in zip(got, expected, strict=True):
            assert ours.tokens == wanted.tokens
            assert_near(ours.logits, wanted.logits)
    assert [pool.free_pages for pool in pools] == [64, 64]


@settings(max_examples=15)
@given(
    seed=st.integers(0, 2**32 - 1),
    lengths=st.lists(st.integers(1, 6), min_size=1, max_size=3),
    window=st.integers(1, 5),
    sinks=st.integers(0, 2),
)
def test_caches_that_forget_generate_what_a_model_of_that_window_does(seed, lengths, window, sinks):
    model, prompts = decoder(seed, window=window, sinks=sinks), prompts_of(lengths)
    got = generate(model, prompts, 8, caches=model.caches())
    for ours, wanted in zip(got, generate(model, prompts, 8), strict=True):
        assert ours.tokens == wanted.tokens
        assert_near(ours.logits, wanted.logits)


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1), lengths=st.lists(st.integers(1, 7), min_size=2, max_size=4))
def test_a_batch_of_prompts_of_any_lengths_is_each_by_itself_by_hand(seed, lengths):
    model, prompts = decoder(seed), prompts_of(lengths)
    got = generate(model, prompts, 6, end=1, caches=model.caches())
    assert [one.tokens for one in got] == [by_hand(model, prompt, 6, end=1) for prompt in prompts]


def test_one_pool_of_pages_serves_all_layers():
    model, prompts = decoder(), prompts_of([4, 2])
    pool = model.paged_caches(20, 4)[0]
    got = generate(model, prompts, 5, caches=[pool] * 2)
    assert [one.tokens for one in got] == [one.tokens for one in generate(model, prompts, 5)]
    assert pool.free_pages == 20


def test_transformers_llama_with_the_same_parameters_says_the_same():
    from transformers import LlamaConfig, LlamaForCausalLM  # slow to import

    sizes = {"hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2, "num_attention_heads": 4}
    theirs = LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, rms_norm_eps=1e-6, **sizes)).double().eval()
    ours = decoder(hidden=24, tied=False)
    theirs.load_state_dict(as_in_transformers(ours))
    prompt = prompts_of([5])[0]
    expected = theirs.generate(
        torch.tensor([prompt]), max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=0
    )
    assert generate(ours, [prompt], 12, caches=ours.caches())[0].tokens == expected[0, 5:].tolist()


# What is read


def test_with_caches_each_token_is_read_once_and_without_again_at_every_step(monkeypatch):
    model, read = decoder(), []
    forward = type(model).forward

    def watched(self, tokens, caches=None):
        read.append(tokens.shape[1])
        return forward(self, tokens, caches)

    monkeypatch.setattr(type(model), "forward", watched)
    generate(model, prompts_of([4]), 5)
    assert read == [4, 5, 6, 7, 8]
    read.clear()
    generate(model, prompts_of([4]), 5, caches=model.caches())
    assert read == [4, 1, 1, 1, 1]


def test_a_longer_prompt_is_read_at_once_after_all_shorter_ones_have_ended(monkeypatch):
    model, shapes = decoder(), []
    forward = type(model).forward

    def watched(self, tokens, caches=None):
        shapes.append(tuple(tokens.shape))
        return forward(self, tokens, caches)

    monkeypatch.setattr(type(model), "forward", watched)
    generate(model, prompts_of([2, 7]), 2, caches=model.caches())
    assert shapes == [(2, 2), (2, 1), (1, 4), (1, 1)]


# Ends


def test_a_text_ends_with_the_end_token_and_holds_it_once():
    model = decoder()
    free = generate(model, prompts_of([3]), 12)[0].tokens
    end = free[4]
    stopped = generate(model, prompts_of([3]), 12, end=end)[0]
    assert stopped.tokens == free[: free.index(end) + 1]
    assert stopped.logits.shape == (len(stopped.tokens), VOCABULARY)


def test_an_end_token_in_a_prompt_ends_nothing():
    model = decoder()
    for prompts in ([[3, 5, 3]], [[3, 5, 3], [1]]):
        got = generate(model, prompts, 4, end=3)
        assert [one.tokens for one in got] == [by_hand(model, prompt, 4, end=3) for prompt in prompts]


def test_no_new_tokens_are_none_and_no_prompts_no_answers():
    model = decoder()
    (got,) = generate(model, [[1, 2]], 0, caches=model.paged_caches(1, 1))
    assert (got.tokens, got.logits.shape) == ([], (0, VOCABULARY))
    assert generate(model, [], 3, caches=model.caches()) == []


# Chance


def test_a_seed_decides_what_is_drawn():
    model, prompts = decoder(), prompts_of([3, 5])
    draws = [
        [one.tokens for one in generate(model, prompts, 20, temperature=1.5, generator=seeded(seed))]
        for seed in (1, 1, 2)
    ]
    assert draws[0] == draws[1] != draws[2]


def test_a_low_temperature_is_greedy():
    model, prompts = decoder(), prompts_of([3])
    cold = generate(model, prompts, 10, temperature=1e-6, generator=seeded())
    assert cold[0].tokens == generate(model, prompts, 10)[0].tokens


@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_tokens_are_drawn_as_often_as_the_softmax_says(temperature):
    logits = torch.tensor([2.0, 1.0, 0.0, -1.0], dtype=torch.float64)
    draws = 20_000
    counts = choose(logits.expand(draws, 4), temperature, seeded()).bincount(minlength=4)
    expected = draws * normalizers.softmax(logits[None], temperature=temperature)[0]
    chi_squared = ((counts - expected).square() / expected).sum()
    assert chi_squared < 16.3  # three degrees of freedom: exceeded once in a thousand seeds


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_can_be_drawn_from(dtype):
    model = decoder(dtype=dtype)
    got = generate(model, [[1, 2]], 5, temperature=1.0, generator=seeded(), caches=model.caches())
    assert len(got[0].tokens) == 5
    assert got[0].logits.dtype == dtype


# Room


@pytest.mark.usefixtures("unchecked")
def test_pages_that_are_full_are_said_to_be_and_all_are_given_back():
    model = decoder()
    pools = model.paged_caches(3, 2)  # six tokens
    with pytest.raises(ValueError, match=r"`pages`: 1 more tokens need 1 free ones; got 0 of 3\. Close"):
        generate(model, prompts_of([4]), 4, caches=pools)
    assert [pool.free_pages for pool in pools] == [3, 3]
    generate(model, prompts_of([4]), 3, caches=pools)  # the last token is chosen, not kept


def test_texts_that_have_ended_leave_their_pages_to_the_others():
    model = decoder()
    prompts = prompts_of([2, 2, 8])
    pools = model.paged_caches(9, 2)  # 18 tokens; held to the end, three texts of 9 would need 15 pages
    got = generate(model, prompts, 2, caches=pools)
    assert [one.tokens for one in got] == [by_hand(model, prompt, 2) for prompt in prompts]


def test_pages_that_others_hold_stay_as_they_are():
    model = decoder()
    pools = model.paged_caches(20, 2)
    others = [pool.open() for pool in pools]
    for pool, other in zip(pools, others, strict=True):
        pool.append(other, *torch.ones(2, 4, 3, 4, dtype=torch.float64))
    generate(model, prompts_of([3, 1]), 4, caches=pools)
    for pool, other in zip(pools, others, strict=True):
        assert pool.length(other) == 3
        assert (pool.key_pages[pool.table(other)[0]] == 1).all()
        assert pool.free_pages == 18


# Mistakes


def spoiled():
    model = decoder()
    torch.nn.init.constant_(model.norm.weight, math.nan)
    generate(model, [[1]], 2)


def used():
    model = decoder()
    caches = model.caches()
    generate(model, [[1, 2]], 2, caches=caches)
    generate(model, [[1, 2]], 2, caches=caches)


def run(prompts=((1, 2),), new=3, **options):
    return generate(decoder(), prompts, new, **options)


MISTAKES = {
    "`model` `Decoder` Linear": lambda: generate(torch.nn.Linear(2, 2), [[1]], 3),
    "`prompts` at least one token 1 number 0 list of one": lambda: run([1, 2]),
    "`prompts` 'say' number 0": lambda: run(["say"]),
    "`prompts` at least one token [] number 1": lambda: run([[1], []]),
    "`prompts` 0..10 got 11 number 0": lambda: run([[1, 11]]),
    "`prompts` 0..10 got 1.5": lambda: run([[1.5]]),
    "`new` 0 or more -1": lambda: run(new=-1),
    "`new` 2.5": lambda: run(new=2.5),
    "`end` 0..10 11 Leave": lambda: run(end=11),
    "`temperature` at least 0 -1": lambda: run(temperature=-1),
    "`temperature` nan": lambda: run(temperature=math.nan),
    "`temperature` 'hot'": lambda: run(temperature="hot"),
    "`caches` `KVCache` `PagedKVCache` got int": lambda: run(caches=[1, 2]),
    "`caches` 2 layers got 1": lambda: run(caches=[KVCache()]),
    "`caches` empty 3 tokens": used,
    "`logits` NaN parameters": spoiled,
}


@pytest.mark.parametrize("words", MISTAKES)
@pytest.mark.usefixtures("unchecked")
def test_mistake_names_the_argument_what_came_and_the_remedy(words):
    with pytest.raises((TypeError, ValueError)) as raised:
        MISTAKES[words]()
    assert [word for word in words.split() if word not in str(raised.value)] == [], str(raised.value)
