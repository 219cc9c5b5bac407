"""The decoder: causal, whatever its heads and windows; with caches, and as another library has it."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from attention_core import masks
from attention_core.decoding import KVCache, PagedBatch, PagedKVCache
from attention_core.models import Decoder
from attention_core.models import decoder as decoder_module

VOCABULARY = 11


def assert_near(actual, expected, atol=1e-12):
    torch.testing.assert_close(actual, expected, atol=atol, rtol=0)


def decoder(seed=0, width=16, heads=4, layers=2, dtype=torch.float64, **options):
    """A decoder whose parameters are large enough for every token to matter."""
    model = Decoder(VOCABULARY, width, layers, heads, dtype=dtype, **options)
    generator = torch.Generator().manual_seed(seed)
    for parameter in model.parameters():
        nn.init.normal_(parameter, mean=0.5 * (parameter.ndim == 1), std=0.5, generator=generator)
    return model


def texts(batch, n, seed=0):
    return torch.randint(VOCABULARY, (batch, n), generator=torch.Generator().manual_seed(seed))


def paged(model, batch, pages=40, page_size=3):
    pools = model.paged_caches(pages, page_size)
    return [PagedBatch(pool, [pool.open() for _ in range(batch)]) for pool in pools]


# Caches


@settings(max_examples=20)
@given(
    seed=st.integers(0, 2**32 - 1),
    pieces=st.lists(st.integers(1, 4), min_size=1, max_size=5),
    kv_heads=st.sampled_from([1, 2, 4]),
    batch=st.integers(1, 3),
    tied=st.booleans(),
    page_size=st.integers(1, 5),
)
def test_a_text_read_in_any_pieces_into_caches_gives_the_logits_of_the_whole(
    seed, pieces, kv_heads, batch, tied, page_size
):
    model = decoder(seed, kv_heads=kv_heads, tied=tied)
    tokens = texts(batch, sum(pieces), seed)
    expected = model(tokens)
    for caches in (model.caches(), paged(model, batch, page_size=page_size)):
        got = [model(piece, caches) for piece in tokens.split(pieces, dim=1)]
        assert_near(torch.cat([one.logits for one in got], dim=1), expected.logits)
        for layer, whole in enumerate(expected.attended):
            assert_near(torch.cat([one.attended[layer].lse for one in got], dim=2), whole.lse)
            assert_near(got[-1].attended[layer].weights, whole.weights[:, :, -pieces[-1] :])


@settings(max_examples=20)
@given(
    seed=st.integers(0, 2**32 - 1),
    pieces=st.lists(st.integers(1, 4), min_size=1, max_size=5),
    window=st.integers(1, 5),
    sinks=st.integers(0, 2),
)
def test_caches_that_forget_give_the_logits_of_a_model_with_that_window(seed, pieces, window, sinks):
    model = decoder(seed, kv_heads=2, window=window, sinks=sinks)
    tokens, caches = texts(2, sum(pieces), seed), model.caches()
    got = [model(piece, caches).logits for piece in tokens.split(pieces, dim=1)]
    assert_near(torch.cat(got, dim=1), model(tokens).logits)


def test_caches_with_a_window_hold_the_sinks_and_the_last_tokens_only():
    model, tokens = decoder(window=4, sinks=1), texts(1, 60)
    caches = model.caches()
    for column in tokens.split(1, dim=1):
        model(column, caches)
    assert [cache.positions for cache in caches] == [[0, 56, 57, 58, 59]] * 2
    assert [cache.capacity for cache in caches] == [16, 16]


def test_a_fork_continues_its_parents_text_in_another_way():
    model, start = decoder(), texts(1, 5)
    caches = paged(model, 1)
    model(start, caches)
    forks = [PagedBatch(own.cache, [own.cache.fork(own.sequences[0])]) for own in caches]
    for own, last in ((caches, texts(1, 4, seed=1)), (forks, texts(1, 4, seed=2))):
        assert_near(model(last, own).logits, model(torch.cat([start, last], dim=1)).logits[:, 5:])


def test_without_caches_a_gradient_reaches_every_parameter():
    model = decoder(tied=False)
    model(texts(2, 5)).logits.square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in model.parameters())


# What a token sees


def test_logits_do_not_depend_on_later_tokens():
    model, tokens = decoder(kv_heads=2), texts(2, 9)
    for first in range(1, 9):
        changed = tokens.clone()
        changed[:, first:] = (changed[:, first:] + 1) % VOCABULARY
        assert_near(model(changed).logits[:, :first], model(tokens).logits[:, :first])
        assert (model(changed).logits[:, first:] != model(tokens).logits[:, first:]).any(-1).all()


@pytest.mark.parametrize("window", [1, 2, 3])
def test_through_two_layers_a_window_reaches_twice_as_far_back_and_no_further(window):
    model, tokens = decoder(window=window), texts(1, 9)
    for back in range(9):
        changed = tokens.clone()
        changed[:, 8 - back] = (changed[:, 8 - back] + 1) % VOCABULARY
        same = torch.allclose(model(changed).logits[:, 8], model(tokens).logits[:, 8], atol=1e-12, rtol=0)
        assert same == (back > 2 * (window - 1))


def test_a_window_as_long_as_the_text_shows_all_of_it():
    tokens = texts(2, 6)
    assert_near(decoder(window=6)(tokens).logits, decoder()(tokens).logits)


def test_weights_are_those_of_causal_attention_in_every_layer_and_head():
    got = decoder(layers=3, kv_heads=1)(texts(2, 6)).attended
    assert len(got) == 3
    for attended in got:
        assert attended.weights.shape == (2, 4, 6, 6)
        assert ((attended.weights > 0) == masks.causal(6)).all()
        assert_near(attended.weights.sum(-1), torch.ones(2, 4, 6, dtype=torch.float64))


def test_texts_of_a_batch_do_not_meet():
    model, tokens = decoder(), texts(3, 6)
    assert_near(model(tokens).logits, torch.cat([model(text[None]).logits for text in tokens]))


def test_only_the_rotations_tell_the_order_of_earlier_tokens(monkeypatch):
    model, tokens = decoder(layers=1), torch.tensor([[1, 2, 3], [2, 1, 3]])
    first, second = model(tokens).logits[:, -1]
    assert (first - second).abs().max() > 1e-3
    monkeypatch.setattr(decoder_module, "rope", lambda x, positions, base: x)
    assert_near(*model(tokens).logits[:, -1])


# Parameters


def test_grouped_heads_are_full_heads_with_repeated_parameters():
    grouped, full = decoder(kv_heads=2), decoder()
    state = grouped.state_dict()
    for name in state:
        if "to_key" in name or "to_value" in name:
            state[name] = state[name].unflatten(0, (2, 4)).repeat_interleave(2, dim=0).flatten(0, 1)
    full.load_state_dict(state)
    tokens = texts(2, 6)
    assert_near(grouped(tokens).logits, full(tokens).logits)


def test_a_tied_head_is_the_embedding_and_learns_with_it():
    tied, untied = decoder(tied=True), decoder(tied=False)
    assert tied.unembed.weight is tied.embed.weight
    count = [sum(parameter.numel() for parameter in model.parameters()) for model in (tied, untied)]
    assert count[1] - count[0] == VOCABULARY * 16


def test_a_new_decoder_is_nearly_undecided():
    logits = Decoder(VOCABULARY, 32, 2, 4)(texts(2, 6)).logits
    assert logits.softmax(-1).max() < 2 / VOCABULARY


@pytest.mark.parametrize("kv_heads", [4, 2, 1])
def test_transformers_llama_with_the_same_parameters_has_the_same_logits(kv_heads):
    from transformers import LlamaConfig, LlamaForCausalLM  # slow to import

    config = LlamaConfig(
        vocab_size=VOCABULARY,
        hidden_size=16,
        intermediate_size=24,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=kv_heads,
        rms_norm_eps=1e-6,
        tie_word_embeddings=False,
    )
    theirs = LlamaForCausalLM(config).double().eval()
    ours = decoder(hidden=24, kv_heads=kv_heads, tied=False)
    theirs.load_state_dict(as_in_transformers(ours))
    tokens = texts(2, 9)
    # Theirs turns in float32, whatever the model.
    assert_near(ours(tokens).logits, theirs(tokens).logits, atol=1e-5)


def as_in_transformers(model):
    """Our parameters by their names; there, feature c of a head turns with c + d/2, here 2c with 2c + 1."""

    def halves(weight):
        return weight.unflatten(0, (-1, 2, 2)).transpose(1, 2).flatten(0, 2)

    found = {
        "model.embed_tokens.weight": model.embed.weight,
        "model.norm.weight": model.norm.weight,
        "lm_head.weight": model.unembed.weight,
    }
    for number, layer in enumerate(model.layers):
        attention = layer.attention
        parts = {
            "input_layernorm": layer.attention_norm.weight,
            "self_attn.q_proj": halves(attention.to_query.weight),
            "self_attn.k_proj": halves(attention.to_key.weight),
            "self_attn.v_proj": attention.to_value.weight,
            "self_attn.o_proj": attention.to_output.weight,
            "post_attention_layernorm": layer.feed_norm.weight,
            "mlp.gate_proj": layer.gate.weight,
            "mlp.up_proj": layer.up.weight,
            "mlp.down_proj": layer.down.weight,
        }
        found |= {f"model.layers.{number}.{name}.weight": weight for name, weight in parts.items()}
    return found


def test_a_decoder_learns_a_rhyme_by_heart():
    rhyme = torch.tensor([[0, 1, 2, 1, 3, 0, 4, 4, 1, 2, 5]])
    model = Decoder(VOCABULARY, 16, 2, 4, kv_heads=2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(60):
        logits = model(rhyme[:, :-1]).logits
        loss = nn.functional.cross_entropy(logits.flatten(0, 1), rhyme[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert (model(rhyme[:, :-1]).logits.argmax(-1) == rhyme[:, 1:]).all()


# Mistakes


def with_caches(caches, **options):
    return decoder(**options)(texts(2, 3), caches)


def filled(model, n):
    caches = model.caches()
    model(texts(2, n), caches)
    return caches


def out_of_step():
    model = decoder()
    return model(texts(2, 1), [filled(model, 3)[0], filled(model, 2)[1]])


def one_pool():
    pool = PagedKVCache(4, 2, 4, 4, dtype=torch.float64)
    return PagedBatch(pool, [pool.open(), pool.open()])


MISTAKES = {
    "`tokens` integer float32": lambda: decoder()(torch.ones(2, 3)),
    "`tokens` integer list": lambda: decoder()([[1, 2]]),
    "`tokens` (batch, n) (3,) `tokens[None]`": lambda: decoder()(torch.tensor([1, 2, 3])),
    "`tokens` at least 1 (2, 0)": lambda: decoder()(texts(2, 0)),
    "`tokens` 0..10 got 1..11": lambda: decoder()(torch.tensor([[1, 11]])),
    "`tokens` 0..10 got -1..1": lambda: decoder()(torch.tensor([[1, -1]])),
    "`caches` 2 layers got 1 `model.caches()`": lambda: with_caches([KVCache()]),
    "`caches` 2 layers got 2 1 differ": lambda: with_caches([KVCache()] * 2),
    "`caches` got 0": lambda: with_caches([]),
    "`caches` KVCache got PagedKVCache `PagedBatch`": lambda: with_caches(decoder().paged_caches(4, 2)),
    "`caches` window None got 4": lambda: with_caches([KVCache(window=4), KVCache(window=4)]),
    "`caches` window 4 got None KVCache": lambda: with_caches([KVCache(), KVCache()], window=4),
    "`caches` window 4 got None PagedBatch": lambda: with_caches([one_pool(), one_pool()], window=4),
    "`caches` same tokens [3, 2]": out_of_step,
    "`key` (2, 4, 'new', 4) (1, 4, 1, 4)": lambda: (m := decoder())(texts(1, 1), filled(m, 3)),
    "`window` at least 1 0": lambda: decoder(window=0),
    "`sinks` comes with a `window` 1": lambda: decoder(sinks=1),
    "`heads` divides `width` 3 16": lambda: decoder(heads=3),
    "`kv_heads` divides `heads` 3 4": lambda: decoder(kv_heads=3),
    "`width` even `heads` 12 4 3": lambda: decoder(width=12),
    "`hidden` at least 1 0": lambda: decoder(hidden=0),
    "`layers` at least 1 0": lambda: decoder(layers=0),
    "`vocabulary` at least 1 0": lambda: Decoder(0, 16, 2, 4),
}


@pytest.mark.parametrize("words", MISTAKES)
@pytest.mark.usefixtures("unchecked")
def test_mistake_names_the_argument_what_came_and_the_remedy(words):
    with pytest.raises((TypeError, ValueError)) as raised:
        MISTAKES[words]()
    assert [word for word in words.split() if word not in str(raised.value)] == [], str(raised.value)
