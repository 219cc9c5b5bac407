// Mask editor: rules that combine into one mask, the weights they leave, and the code that says the same.

import { argmax, fixed, h, percent, ramp, section, sentence, watch } from "./kit.js";

/** @typedef {import("./kit.js").Model} Model */
/** @typedef {{n: number, causal: number, window: number, prefix: number, documents: number, alibi: number, softcap: number}} Rules */
/** @typedef {{allowed: boolean[][], adjusted: number[][], weights: number[][]}} Drawing */
/** @typedef {(row: number, column: number) => boolean} Own */

const RULES = /** @type {const} */ (["n", "causal", "window", "prefix", "documents", "alibi", "softcap"]);
const TIE = 1e-9, LEVELS = 64; // shades of a cell

/** Lengths of the documents that share the sequence. @param {Rules} rules */
export function documents({ n, documents }) {
  const ends = [[n], [Math.floor((2 * n) / 5), n], [Math.floor((3 * n) / 10), Math.floor((7 * n) / 10), n]][documents - 1];
  return ends.map((end, i) => end - (ends[i - 1] ?? 0));
}

/** What `causal` and `window` leave, or the prefix; all within one document and the reader's mask.
 * @param {Rules} rules @param {Own} [own] */
export function allowed(rules, own = () => true) {
  const { n, causal, window, prefix } = rules, ids = documents(rules).flatMap((length, id) => Array(length).fill(id));
  const near = (/** @type {number} */ back) => (!causal || back >= 0) && (!window || Math.abs(back) < window);
  return Array.from({ length: n }, (_, i) => Array.from({ length: n }, (_, j) => (near(i - j) || j < prefix) && ids[i] === ids[j] && own(i, j)));
}

/** Cap, then bias, then mask, then softmax; a row that may read nothing is all zeros.
 * @param {(row: number, column: number) => number} score @param {Rules} rules @param {Own} [own] @returns {Drawing} */
export function compute(score, rules, own) {
  const { softcap, alibi } = rules, may = allowed(rules, own);
  const adjusted = may.map((line, i) => line.map((_, j) => (softcap ? softcap * Math.tanh(score(i, j) / softcap) : score(i, j)) + alibi * (j - i)));
  const weights = may.map((line, i) => {
    const top = line.reduce((most, open, j) => (open ? Math.max(most, adjusted[i][j]) : most), -Infinity);
    const powers = line.map((open, j) => (open ? Math.exp(adjusted[i][j] - top) : 0)), sum = powers.reduce((a, b) => a + b, 0);
    return powers.map((p) => (sum ? p / sum : 0));
  });
  return { allowed: may, adjusted, weights };
}

/** The rules as Python; Python writes the same. @param {Rules} rules @param {boolean} [own] */
export function code(rules, own = false) {
  const { n, causal, window: size, softcap, alibi } = rules, first = Math.min(rules.prefix, n), back = "q_idx - kv_idx";
  let flex = [], ours = [];
  const within = [], withinOurs = [];
  if (causal) {
    flex.push("(q_idx >= kv_idx)");
    ours.push(`causal(${n})`);
  }
  if (size) {
    flex.push(causal ? `(${back} < ${size})` : `(abs(${back}) < ${size})`);
    ours.push(`window(${n}, size=${size}${causal ? "" : ", causal=False"})`);
  }
  if (rules.documents > 1) {
    within.push("(doc_id[q_idx] == doc_id[kv_idx])");
    withinOurs.push("document(doc_id)");
  }
  if (own) {
    within.push("own[q_idx, kv_idx]");
    withinOurs.push(`own[:${n}, :${n}]`);
  }
  if (first && flex.length) {
    const wrap = (/** @type {string} */ text) => (within.length ? `(${text})` : text);
    flex = [wrap(`${flex.join(" & ")} | (kv_idx < ${first})`)];
    ours = [size ? wrap(`${ours.join(" & ")} | padding(torch.tensor(${first}), ${n})`) : `prefix(${n}, length=${first})`];
  }
  const terms = [...flex, ...within], bare = terms.length === 1 && terms[0].startsWith("(") && !terms[0].includes("|");
  const ids = documents(rules).map((length, i) => `[${i}] * ${length}`).join(" + "), score = softcap ? `${softcap} * torch.tanh(score / ${softcap})` : "score";
  return {
    setup: rules.documents > 1 ? `doc_id = torch.tensor(${ids})` : "",
    mask_mod: bare ? terms[0].slice(1, -1) : terms.join(" & ") || "kv_idx >= 0",
    score_mod: alibi ? `${score} + ${alibi} * (kv_idx - q_idx)` : score,
    mask: [...ours, ...withinOurs].join(" & ") || "None",
  };
}

/** The code as it stands in the figure, ready to be pasted. @param {Rules} rules @param {boolean} [own] */
export function script(rules, own = false) {
  const { setup, mask_mod, score_mod, mask } = code(rules, own);
  return [setup, "def mask_mod(b, h, q_idx, kv_idx):", `    return ${mask_mod}`, "def score_mod(score, b, h, q_idx, kv_idx):", `    return ${score_mod}`, `mask = ${mask}`].filter(Boolean).join("\n");
}

/** The cell that is current until the reader picks one. @param {number[][]} weights */
export function start(weights) {
  const row = Math.floor((2 * weights.length) / 3);
  return [row, argmax(weights[row])];
}

const count = (/** @type {boolean[]} */ line) => line.filter(Boolean).length;

/** @param {Drawing} drawing @param {number} row */
function ofRow({ allowed: may, weights }, row) {
  const read = count(may[row]), line = weights[row], best = argmax(line), ties = line.filter((w, j) => may[row][j] && line[best] - w < TIE).length;
  if (read === 0) return `Query ${row} may read nothing, so its weights are zeros.`;
  if (read === 1) return `Query ${row} reads a single key, ${best}.`;
  if (ties > 1) return `Query ${row} reads ${read} keys; ${ties} share its largest weight, ${percent(line[best])}.`;
  return `Query ${row} reads ${read} keys, most of all key ${best} (${percent(line[best])}).`;
}

/** The sentence of result; Python writes the same one into the static picture.
 * @param {Drawing} drawing @param {Rules} rules @param {Own} [own] @param {number[] | null} [cell] */
export function describe(drawing, rules, own, cell = null) {
  const { allowed: may, weights } = drawing, [row, column] = cell ?? start(weights), size = may.length ** 2, pairs = count(may.flat());
  const lead = pairs < size ? `${pairs} of ${size} pairs may be read, ${percent(pairs / size)} of the matrix.` : `Every query may read every key, all ${size} pairs.`;
  if (!cell) return [lead, ofRow(drawing, row), ...remarks(drawing, rules, own)];
  const w = weights[row][column], gives = `Query ${row} gives key ${column} a weight of ${w >= 0.0005 ? fixed(w, 3) : "less than 0.001"}.`;
  return [may[row][column] ? gives : `Query ${row} may not read key ${column}: its weight is exactly 0.`, ofRow(drawing, row), lead];
}

/** What each rule does here, as far as it can be seen. @param {Drawing} drawing @param {Rules} rules @param {Own} [own] */
function remarks({ allowed: may }, rules, own) {
  const said = [], ahead = may.some((line, i) => line.some((open, j) => open && j > i)), empty = may.filter((line) => !count(line)).length;
  if (!ahead) said.push("No query reads a key ahead of it.");
  else if (rules.causal) said.push(`Ahead of itself a query reads only the prefix, keys 0 to ${Math.min(rules.prefix, rules.n) - 1}.`);
  if (rules.prefix && !allowed({ ...rules, prefix: 0 }, own).some((line, i) => line.some((open, j) => open !== may[i][j]))) said.push("The prefix adds no pair.");
  if (rules.softcap) said.push(`The cap bends every score into ±${rules.softcap}.`);
  if (rules.alibi) said.push(`ALiBi takes ${rules.alibi} off a score for each step back${ahead ? ", and adds as much for each step ahead" : ""}.`);
  if (empty) said.push(`Rows with nothing to read are all zeros: ${empty}.`);
  return said;
}

/** The square root lets small weights be told apart. @param {number} weight */
const shade = (weight) => Math.round(Math.sqrt(weight) * LEVELS);

/**
 * The cells on a canvas, as sharp as the screen; hatching shows through where a pair may not be read. A canvas
 * takes no CSS variables, so the colours are read off an element, again when the theme changes.
 * @param {HTMLElement} box @param {HTMLCanvasElement} canvas @param {HTMLElement} probe @param {() => Drawing} current
 */
function painter(box, canvas, probe, current) {
  /** @type {string[]} */
  let palette = [];
  function paint() {
    const size = Math.round(box.clientWidth * devicePixelRatio), context = canvas.getContext("2d");
    if (!size || !context) return;
    if (!palette.length) palette = [...Array.from({ length: LEVELS + 1 }, (_, level) => ramp(level / LEVELS)), "var(--pa-surface)"].map((colour) => {
      probe.style.color = colour;
      return getComputedStyle(probe).color;
    });
    const { allowed: may, weights } = current(), n = may.length, at = (/** @type {number} */ i) => Math.round((i * size) / n);
    canvas.width = canvas.height = size; // empties it too
    /** @type {number[][][]} */
    const shades = palette.map(() => []); // to name each colour once
    may.forEach((line, i) => line.forEach((open, j) => open && shades[shade(weights[i][j])].push([i, j])));
    shades.forEach((cells, level) => {
      context.fillStyle = palette[level];
      for (const [i, j] of cells) context.fillRect(at(j), at(i), at(j + 1) - at(j), at(i + 1) - at(i));
    });
    context.fillStyle = palette[LEVELS + 1];
    for (let i = 1; i < n; i++) {
      context.fillRect(at(i), 0, 1, size);
      context.fillRect(0, at(i), size, 1);
    }
  }
  const sizes = new ResizeObserver(paint), themes = new MutationObserver(() => {
    palette = [];
    paint();
  });
  sizes.observe(box);
  for (const root of [document.documentElement, document.body]) themes.observe(root, { attributeFilter: ["data-theme", "data-jp-theme-light"] });
  return {
    paint,
    stop() {
      sizes.disconnect();
      themes.disconnect();
    },
  };
}

/**
 * A cell that hover previews, a click or the arrow keys keep, and Escape lets go.
 * @param {HTMLElement} box @param {() => number} size @param {() => number[]} current @param {() => void} redraw
 */
function cursor(box, size, current, redraw) {
  /** @type {number[] | null} */ let kept = null;
  /** @type {number[] | null} */ let preview = null;
  const cell = (/** @type {PointerEvent | MouseEvent} */ e) => {
    const r = box.getBoundingClientRect(), on = (/** @type {number} */ x) => Math.min(Math.max(Math.floor((x * size()) / r.width), 0), size() - 1);
    return [on(e.clientY - r.top), on(e.clientX - r.left)];
  };
  const look = (/** @type {number[] | null} */ at) => {
    if (String(at) === String(preview)) return;
    preview = at;
    redraw();
  };
  const keep = (/** @type {number[] | null} */ at) => {
    [kept, preview] = [at, null];
    redraw();
  };
  box.addEventListener("pointermove", (e) => look(cell(e)));
  for (const end of ["pointerleave", "pointercancel"]) box.addEventListener(end, () => look(null));
  box.addEventListener("click", (e) => keep(cell(e)));
  box.addEventListener("keydown", (e) => {
    const [r, c] = current(), end = size() - 1, on = (/** @type {number} */ x) => Math.min(Math.max(x, 0), end);
    /** @type {Record<string, number[]>} */
    const moves = { ArrowUp: [on(r - 1), c], ArrowDown: [on(r + 1), c], ArrowLeft: [r, on(c - 1)], ArrowRight: [r, on(c + 1)], Home: [r, 0], End: [r, end], PageUp: [0, c], PageDown: [end, c], Enter: [r, c], " ": [r, c] };
    if (!moves[e.key]) return;
    e.preventDefault();
    keep(moves[e.key]);
  });
  const escape = (/** @type {KeyboardEvent} */ e) => { if (e.key === "Escape" && (kept ?? preview)) keep(null); };
  document.addEventListener("keydown", escape);
  return {
    get cell() { return preview ?? kept; },
    /** Forget what lies outside a smaller matrix. */
    clip() {
      if (kept?.some((i) => i >= size())) kept = null;
      if (preview?.some((i) => i >= size())) preview = null;
    },
    stop: () => document.removeEventListener("keydown", escape),
  };
}

/** Names and values that change. @param {string} line @param {number} length */
function facts(line, length) {
  const all = Array.from({ length }, () => ({ name: h("span"), value: h("strong") }));
  return {
    lines: all.map(({ name, value }) => h(line, {}, name, value)),
    /** @param {Record<string, string>} said */
    say: (said) => Object.entries(said).forEach(([name, value], i) => {
      all[i].name.textContent = name;
      all[i].value.textContent = value;
    }),
  };
}

export default {
  /** @param {{model: Model, el: HTMLElement}} view */
  render({ model, el }) {
    /** @type {DataView} */ const raw = model.get("scores"), mine = /** @type {DataView} */ (model.get("own")), size = model.get("size");
    const score = (/** @type {number} */ i, /** @type {number} */ j) => raw.getFloat32(4 * (i * size + j), true);
    /** @type {Own | undefined} */
    const own = mine.byteLength ? (i, j) => mine.getUint8(i * size + j) === 1 : undefined;
    /** @type {Rules} */ let rules;
    /** @type {Drawing} */ let drawing;
    const canvas = h("canvas", { role: "img" }), probe = h("span", { hidden: "" }), result = sentence();
    const rowLine = h("span.pa-rowline"), cellMark = h("span.pa-cellmark"), atK = h("span.pa-at.pa-atk"), atQ = h("span.pa-at.pa-atq");
    const box = h("div.pa-cells", { tabindex: 0, role: "group", "aria-label": "Cells: the arrow keys move to another, Escape lets go" }, canvas, rowLine, cellMark, probe);
    const most = h("span.pa-most"), bars = h("div.pa-rowbars"), tiles = facts("div.pa-tile", 4), steps = facts("p.pa-maskstep", 4), ofCell = h("p.pa-caption.pa-ofcell"), pre = h("pre.pa-code");
    const legend = [h("div.pa-legend", { "aria-hidden": "true" }, "0", h("span"), "1", h("em", {}, "square-root scale")), h("p.pa-legend", {}, h("i.pa-hatch"), "may not be read")];
    const left = h("div.pa-board", {}, h("div.pa-top", { "aria-hidden": "true" }, atK), h("div.pa-side", { "aria-hidden": "true" }, atQ), box, most, bars);
    const right = h("div.pa-maskfacts", {}, h("div.pa-tiles", {}, ...tiles.lines), ofCell, h("div.pa-masksteps", {}, ...steps.lines), ...legend);
    el.replaceChildren(
      section("flow", "Weights under these rules: queries q down, keys k across", h("div.pa-editor", {}, left, right)),
      section("detail", "The same rules as code, for torch’s FlexAttention and for attention_core", pre), result.el);
    const at = () => cells.cell ?? start(drawing.weights);
    const cells = cursor(box, () => rules.n, at, point), shown = painter(box, canvas, probe, () => drawing);

    /** What depends on the current cell. */
    function point() {
      const { allowed: may, adjusted, weights } = drawing, { n } = rules, [row, column] = at(), line = weights[row], top = Math.max(...line);
      const middle = (/** @type {number} */ i) => `${(100 * (i + 0.5)) / n}%`, edge = (/** @type {number} */ i) => `${(100 * i) / n}%`;
      Object.assign(rowLine.style, { top: edge(row), height: edge(1) });
      Object.assign(cellMark.style, { top: edge(row), left: edge(column), width: edge(1), height: edge(1) });
      atK.textContent = `k${column}`;
      atK.style.left = middle(column);
      atQ.textContent = `q${row}`;
      atQ.style.top = middle(row);
      most.textContent = fixed(top);
      while (bars.childElementCount > n) bars.lastChild.remove();
      while (bars.childElementCount < n) bars.append(h("span", {}, h("span")));
      line.forEach((w, j) => {
        bars.children[j].className = may[row][j] ? "pa-open" : "";
        Object.assign(bars.children[j].firstChild.style, { height: `${100 * (w / (top || 1))}%`, background: ramp(shade(w) / LEVELS) });
      });
      const read = count(may.flat()), open = may[row][column], after = fixed(adjusted[row][column]);
      tiles.say({ "pairs allowed": `${read} of ${n * n}`, share: percent(read / (n * n)), [`keys of query ${row}`]: `${count(may[row])} of ${n}`, "keys a query (mean)": fixed(read / n, 1) });
      ofCell.textContent = `Query ${row}, key ${column}`;
      steps.say({ score: fixed(score(row, column)), "after score_mod": after, "after mask_mod": open ? after : "−∞", "weight, after the softmax": fixed(line[column], 3) });
      result.say(describe(drawing, rules, own, cells.cell));
      Object.assign(el.dataset, { row, column, cell: String(open) });
    }

    function draw() {
      rules = /** @type {Rules} */ (Object.fromEntries(RULES.map((name) => [name, model.get(name) + (name === "documents" ? 1 : 0)])));
      drawing = compute(score, rules, own);
      const { n } = rules, exact = model.get("exact");
      if (RULES.every((name, i) => exact.rules[i] === rules[name])) {
        drawing.weights = drawing.weights.map((line, i) => line.map((_, j) => exact.weights.getFloat64(8 * (i * n + j), true)));
      }
      const lines = script(rules, own !== undefined).split("\n");
      pre.replaceChildren(...lines.map((text) => h(text.endsWith(":") ? "span.pa-codeline.pa-dim" : "span.pa-codeline", {}, text)));
      canvas.setAttribute("aria-label", `Matrix of ${n} queries by ${n} keys. ${describe(drawing, rules, own).join(" ")}`);
      Object.assign(el.dataset, { weights: JSON.stringify(drawing.weights), rules: JSON.stringify(rules), pairs: count(drawing.allowed.flat()), mask: drawing.allowed.map((line) => line.map(Number).join("")).join(" "), code: lines.join("\n") });
      cells.clip();
      shown.paint();
      point();
    }

    draw();
    const stop = watch(model, [...RULES, "exact"], draw);
    return () => [stop, cells.stop, shown.stop, result.stop].forEach((f) => f());
  },
};
