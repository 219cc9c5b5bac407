"""Tokens from text and text from tokens."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from attention_core.datasets import detokenize, tokenize


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("I love you", "I love you"),
        ("Look it up.", "look it up ."),
        ("I don't know; i'm late!", "I do n’t know ; I ’m late !"),
        ("He can't, she won’t.", "he ca n’t , she wo n’t ."),
        ("the girl's books, the girls' books", "the girl ’s books , the girls ’ books"),
        ("They'll say we've seen you'd go", "they ’ll say we ’ve seen you ’d go"),
        ("It costs 3.50, at 10:30 o'clock...", "it costs 3.50 , at 10:30 o’clock . . ."),
        ("a well-known “fact” (really)", "a well-known “ fact ” ( really )"),
        ("  tabs\tand\u00a0spaces ", "tabs and spaces"),
        ("", ""),
    ],
)
def test_english(text, tokens):
    assert " ".join(tokenize(text, "en")) == tokens


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("Je t'aime.", "je t’ aime ."),
        ("Je t’aime.", "je t’ aime ."),
        ("Cherchez-le !", "cherchez -le !"),
        ("Apportez-moi l'eau, donnez-la-leur.", "apportez -moi l’ eau , donnez -la -leur ."),
        ("Qu'est-ce qu'il y a ?", "qu’ est -ce qu’ il y a ?"),
        ("Mange-t-elle aujourd'hui ?", "mange -t -elle aujourd’hui ?"),
        ("Peut-être jusqu'à l'après-midi", "peut-être jusqu’ à l’ après-midi"),
        ("« C'est vrai », dit-il", "« c’ est vrai » , dit -il"),
        ("E\u0301teignez la lampe", "éteignez la lampe"),
        ("ŒUFS", "œufs"),
        ("je i", "je i"),
    ],
)
def test_french(text, tokens):
    assert " ".join(tokenize(text, "fr")) == tokens


@pytest.mark.parametrize(
    ("language", "tokens", "text"),
    [
        ("en", "do n’t look at the girl ’s books , please .", "don’t look at the girl’s books, please."),
        ("en", "( I ’m ) the girls ’ house", "(I’m) the girls’ house"),
        ("fr", "est -ce que tu l’ as vue ?", "est-ce que tu l’as vue\u00a0?"),
        ("fr", "cherchez -le .", "cherchez-le."),
        ("fr", "« oui » , dit -il : « non ! »", "«\u00a0oui\u00a0», dit-il\u00a0: «\u00a0non\u00a0!\u00a0»"),
        ("fr", "aujourd’hui il dort", "aujourd’hui il dort"),
        ("en", "", ""),
    ],
)
def test_tokens_become_text(language, tokens, text):
    assert detokenize(tokens.split(), language) == text


@pytest.mark.parametrize("language", ["en", "fr"])
@given(text=st.text(st.sampled_from("abdeilnqrstuéœIJ'’- .,!?:;«»()0159\n\t\""), max_size=24))
@example(text="a 'b")  # neither an English ending, nor a French pronoun, nor an elision: not to be joined
@example(text="ai -q")
@example(text="su' 9")
def test_text_of_tokens_has_these_tokens(language, text):
    tokens = tokenize(text, language)
    assert tokenize(detokenize(tokens, language), language) == tokens


@pytest.mark.parametrize("language", ["en", "fr"])
@given(text=st.text(max_size=40))
def test_any_text_can_be_split(language, text):
    tokens = tokenize(text, language)
    assert all(token and not any(character.isspace() for character in token) for token in tokens)


@pytest.mark.parametrize("function", [tokenize, detokenize])
def test_another_language_is_refused(function):
    with pytest.raises(
        ValueError, match=r'`language` must be "en" \(English\) or "fr" \(French\); got \'de\''
    ):
        function("ja", "de")
