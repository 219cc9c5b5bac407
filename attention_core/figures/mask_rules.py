"""The mask editor's rules: the mask they make, the weights it leaves, the code and the words that say so."""

from typing import NamedTuple

import numpy as np
import torch

from attention_core import masks, normalizers
from attention_core.figures.static import fixed, percent

TIE = 1e-9


class Rules(NamedTuple):
    """What the controls say; 0 (one document, for `documents`) leaves a rule out."""

    n: int = 24
    causal: int = 1
    window: int = 0
    prefix: int = 0
    documents: int = 1
    alibi: float = 0.0
    softcap: int = 0


class Drawing(NamedTuple):
    """What the rules make of the scores: each (n, n)."""

    allowed: np.ndarray
    adjusted: np.ndarray  # scores after `score_mod`
    weights: np.ndarray


def documents(rules: Rules) -> list[int]:
    """Lengths of the documents that share the sequence."""
    n = rules.n
    ends = {1: [n], 2: [2 * n // 5, n], 3: [3 * n // 10, 7 * n // 10, n]}[rules.documents]
    return np.diff([0, *ends]).tolist()


def allowed(rules: Rules, own: np.ndarray | None = None) -> np.ndarray:
    """What `causal` and `window` leave, or the prefix; all within one document and the reader's mask."""
    n, lengths = rules.n, torch.tensor(documents(rules))
    mask = torch.ones(n, n, dtype=torch.bool)
    if rules.causal:
        mask = mask & masks.causal(n)
    if rules.window:
        mask = mask & masks.window(n, size=rules.window, causal=bool(rules.causal))
    if rules.prefix:
        mask = mask | masks.padding(torch.tensor(min(rules.prefix, n)), n)
    mask = mask & masks.document(torch.arange(len(lengths)).repeat_interleave(lengths))
    return mask.numpy() if own is None else mask.numpy() & own[:n, :n]


def compute(scores: np.ndarray, rules: Rules, own: np.ndarray | None = None) -> Drawing:
    """Cap, then bias, then mask, then softmax, in float64."""
    n, place = rules.n, np.arange(rules.n)
    adjusted = np.array(scores[:n, :n], dtype=np.float64)
    if rules.softcap:
        adjusted = rules.softcap * np.tanh(adjusted / rules.softcap)
    adjusted = adjusted + rules.alibi * (place - place[:, None])
    may = allowed(rules, own)
    return Drawing(
        may, adjusted, normalizers.softmax(torch.from_numpy(adjusted), torch.from_numpy(may)).numpy()
    )


def code(rules: Rules, own: bool = False) -> dict[str, str]:
    """The rules as Python: see `code` in mask_editor.js."""
    n, size, first, back = rules.n, rules.window, min(rules.prefix, rules.n), "q_idx - kv_idx"
    flex, ours = [], []
    if rules.causal:
        flex.append("(q_idx >= kv_idx)")
        ours.append(f"causal({n})")
    if size:
        flex.append(f"({back} < {size})" if rules.causal else f"(abs({back}) < {size})")
        ours.append(
            f"window({n}, size={size})" if rules.causal else f"window({n}, size={size}, causal=False)"
        )
    within, within_ours = [], []
    if rules.documents > 1:
        within.append("(doc_id[q_idx] == doc_id[kv_idx])")
        within_ours.append("document(doc_id)")
    if own:
        within.append("own[q_idx, kv_idx]")
        within_ours.append(f"own[:{n}, :{n}]")
    if first and flex:
        either = f"{' & '.join(flex)} | (kv_idx < {first})"
        flex = [f"({either})" if within else either]
        short = f"prefix({n}, length={first})" if not size else ""
        long = f"{' & '.join(ours)} | padding(torch.tensor({first}), {n})"
        ours = [short or (f"({long})" if within else long)]
    terms = flex + within
    bare = len(terms) == 1 and terms[0].startswith("(") and "|" not in terms[0]
    ids = " + ".join(f"[{i}] * {length}" for i, length in enumerate(documents(rules)))
    score = f"{rules.softcap} * torch.tanh(score / {rules.softcap})" if rules.softcap else "score"
    slope = np.format_float_positional(rules.alibi, trim="-")
    return {
        "setup": f"doc_id = torch.tensor({ids})" if rules.documents > 1 else "",
        "mask_mod": terms[0][1:-1] if bare else " & ".join(terms) or "kv_idx >= 0",
        "score_mod": f"{score} + {slope} * (kv_idx - q_idx)" if rules.alibi else score,
        "mask": " & ".join(ours + within_ours) or "None",
    }


def script(rules: Rules, own: bool = False) -> str:
    """The code as it stands in the figure, ready to be pasted."""
    said = code(rules, own)
    lines = [
        said["setup"],
        "def mask_mod(b, h, q_idx, kv_idx):",
        f"    return {said['mask_mod']}",
        "def score_mod(score, b, h, q_idx, kv_idx):",
        f"    return {said['score_mod']}",
        f"mask = {said['mask']}",
    ]
    return "\n".join(line for line in lines if line)


def start(weights: np.ndarray) -> tuple[int, int]:
    """The cell that is current until the reader picks one: two thirds down, at the row's largest weight."""
    row = 2 * len(weights) // 3
    return row, int(weights[row].argmax())


def of_row(drawing: Drawing, row: int) -> str:
    count, line = int(drawing.allowed[row].sum()), drawing.weights[row]
    best = int(line.argmax())
    ties = int((drawing.allowed[row] & (line[best] - line < TIE)).sum())
    if count == 0:
        return f"Query {row} may read nothing, so its weights are zeros."
    if count == 1:
        return f"Query {row} reads a single key, {best}."
    if ties > 1:
        return f"Query {row} reads {count} keys; {ties} share its largest weight, {percent(line[best])}."
    return f"Query {row} reads {count} keys, most of all key {best} ({percent(line[best])})."


def describe(
    scores: np.ndarray, rules: Rules, own: np.ndarray | None = None, cell: tuple[int, int] | None = None
) -> list[str]:
    """The sentence the view shows: see `describe` in mask_editor.js."""
    drawing = compute(scores, rules, own)
    may, weights = drawing.allowed, drawing.weights
    row, column = cell or start(weights)
    pairs, size = int(may.sum()), may.size
    lead = (
        f"{pairs} of {size} pairs may be read, {percent(pairs / size)} of the matrix."
        if pairs < size
        else f"Every query may read every key, all {size} pairs."
    )
    if cell:
        w = weights[row, column]
        small = fixed(w, 3) if w >= 0.0005 else "less than 0.001"
        gives = f"Query {row} gives key {column} a weight of {small}."
        barred = f"Query {row} may not read key {column}: its weight is exactly 0."
        return [gives if may[row, column] else barred, of_row(drawing, row), lead]
    return [lead, of_row(drawing, row), *remarks(drawing, rules, own)]


def remarks(drawing: Drawing, rules: Rules, own: np.ndarray | None) -> list[str]:
    """What each rule does here, as far as it can be seen."""
    said, may = [], drawing.allowed
    ahead, empty = np.triu(may, 1).any(), int((~may.any(axis=1)).sum())
    if not ahead:
        said.append("No query reads a key ahead of it.")
    elif rules.causal:
        last = min(rules.prefix, rules.n) - 1
        said.append(f"Ahead of itself a query reads only the prefix, keys 0 to {last}.")
    if rules.prefix and (may == allowed(rules._replace(prefix=0), own)).all():
        said.append("The prefix adds no pair.")
    if rules.softcap:
        said.append(f"The cap bends every score into ±{rules.softcap}.")
    if rules.alibi:
        slope = np.format_float_positional(rules.alibi, trim="-")
        past = f"ALiBi takes {slope} off a score for each step back"
        said.append(f"{past}, and adds as much for each step ahead." if ahead else f"{past}.")
    if empty:
        said.append(f"Rows with nothing to read are all zeros: {empty}.")
    return said
