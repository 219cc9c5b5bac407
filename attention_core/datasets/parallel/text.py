"""From text to tokens and back, for English and French."""

import re
import unicodedata
from collections.abc import Sequence

_APOSTROPHES = str.maketrans({"'": "’", "ʼ": "’", "ʹ": "’", "′": "’", "‘": "’", "`": "’"})
_PIECE = re.compile(r"\d+(?:[.,:]\d+)*|[^\W\d_][^\W_]*(?:[-’][^\W_]+)*’?|-[^\W\d_]+’?|’[^\W\d_]+|\S")
_ENGLISH_ENDINGS = frozenset(("n’t", "’s", "’m", "’d", "’re", "’ve", "’ll"))
_ENGLISH_ENDING = re.compile(rf"(?<=.)(?:{'|'.join(sorted(_ENGLISH_ENDINGS))})$")
_FRENCH_ELISION = re.compile(r"(?:[cdjlmnst]|qu|jusqu|lorsqu|puisqu|quoiqu)’")
_FRENCH_CLITIC = re.compile(
    r"-(?:t|je|tu|il|elle|on|nous|vous|ils|elles|le|la|les|lui|leur|moi|toi|en|y|ce)$"
)
_CLOSING, _OPENING = frozenset(".,;:!?…)]}»%"), frozenset("([{«¿¡")
_NO_BREAK = "\N{NO-BREAK SPACE}"


def tokenize(text: str, language: str = "en") -> tuple[str, ...]:
    """The tokens of a text, in the conventions of the corpus.

    Lower case, apart from the English word "I". Apostrophes come out curly, however they went in. English
    splits off n’t and ’s ’m ’d ’re ’ve ’ll (don't: do n’t; the girl's: the girl ’s). French splits after an
    elision (t'aime: t’ aime; aujourd’hui stays) and before a pronoun on a hyphen (cherchez-le: cherchez -le;
    mange-t-il: mange -t -il; est-ce: est -ce). Every other mark is a token of its own.
    """
    split = _language(language)[0]
    plain = unicodedata.normalize("NFC", text).translate(_APOSTROPHES).replace("\N{SOFT HYPHEN}", "").lower()
    tokens = [token for piece in _PIECE.findall(plain) for token in split(piece)]
    return tuple("I" if token == "i" and language == "en" else token for token in tokens)


def detokenize(tokens: Sequence[str], language: str = "en") -> str:
    """The text of tokens; `tokenize` gives these back.

    French has a no-break space before ? ! ; : and inside « ». Case stays as in the tokens.
    """
    glue = _language(language)[1]
    text = ""
    for before, token in zip(["", *tokens], tokens, strict=False):
        text += (glue(before, token) if text else "") + token
    return text


def _language(language: str) -> tuple:
    if language not in _LANGUAGES:
        raise ValueError(f'`language` must be "en" (English) or "fr" (French); got {language!r}.')
    return _LANGUAGES[language]


def _split_english(piece: str) -> list[str]:
    ending = _ENGLISH_ENDING.search(piece)
    if ending:
        return [*_split_english(piece[: ending.start()]), ending[0]]
    if len(piece) > 1 and piece.endswith("’"):  # the girls’ books
        return [piece[:-1], "’"]
    return [piece]


def _split_french(piece: str) -> list[str]:
    elision = _FRENCH_ELISION.match(piece)
    if elision and elision.end() < len(piece):
        return [elision[0], *_split_french(piece[elision.end() :])]
    clitic = _FRENCH_CLITIC.search(piece)
    if clitic and clitic.start():
        return [*_split_french(piece[: clitic.start()]), clitic[0]]
    return [piece]


def _english_glue(before: str, token: str) -> str:
    if token in _CLOSING or before in _OPENING or token in _ENGLISH_ENDINGS or token == "’":
        return ""
    return " "


def _french_glue(before: str, token: str) -> str:
    if _FRENCH_ELISION.fullmatch(before) or _FRENCH_CLITIC.match(token) or before in _OPENING - {"«"}:
        return ""
    if token in ("?", "!", ";", ":", "»") or before == "«":
        return _NO_BREAK
    return "" if token in _CLOSING else " "


_LANGUAGES = {"en": (_split_english, _english_glue), "fr": (_split_french, _french_glue)}
