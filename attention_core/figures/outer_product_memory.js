// Outer-product memory: how many pairs a matrix holds, and what a key that is written twice answers.

import { fixed, h, picker, rove, section, sentence, tidy, watch } from "./kit.js";

/** @typedef {import("./kit.js").Model} Model */
/** @typedef {{answers: number[][], cosines: number[], errors: number[], right: boolean[], current: boolean[]}} Answers */
/** @typedef {{written: number, width: number, keys: number, right: number, error: number, worst: number, newest: number, cosine: number, times: number, before: number, overlap: number}} Facts */
/** @typedef {{key: number[][], value: number[][], ids: number[], states: number[][][], written: number[][], decay: number}} Run */

const LEVELS = 12, EXACT = 1e-6;

/** @template T @param {number} count @param {(i: number) => T} of @returns {T[]} */
const list = (count, of) => Array.from({ length: count }, (_, i) => of(i));
const dot = (/** @type {number[]} */ a, /** @type {number[]} */ b) => a.reduce((sum, x, i) => sum + x * b[i], 0);
const far = (/** @type {number[]} */ a, /** @type {number[]} */ b) => Math.hypot(...a.map((x, i) => x - b[i]));
const cosine = (/** @type {number[]} */ a, /** @type {number[]} */ b) => dot(a, b) / (Math.hypot(...a) * Math.hypot(...b) || Infinity);

/** The memory before the first write and after each: what is left of it, and one more outer product.
 * @param {number[][]} key @param {number[][]} written @param {number} decay @returns {number[][][]} */
export function replay(key, written, decay) {
  const states = [key[0].map(() => written[0].map(() => 0))];
  key.forEach((k, t) => states.push(states[t].map((row, i) => row.map((x, j) => decay * x + k[i] * written[t][j]))));
  return states;
}

/** What a memory answers to a key. @param {number[][]} state @param {number[]} key */
export const ask = (state, key) => state[0].map((_, j) => dot(key, state.map((row) => row[j])));

/** What the memory after t writes answers to their keys. @param {Run} run @param {number} t @returns {Answers} */
export function measure({ key, value, ids, states }, t) {
  const answers = list(t, (i) => ask(states[t], key[i])), off = answers.map((a) => list(t, (j) => far(a, value[j])));
  return {
    answers, cosines: answers.map((a, i) => cosine(a, value[i])), errors: off.map((row, i) => row[i] / Math.hypot(...value[i])),
    right: off.map((row, i) => row.every((x, j) => far(value[i], value[j]) < EXACT || x > row[i] + EXACT)), current: list(t, (i) => !ids.slice(i + 1, t).includes(ids[i])),
  };
}

/** What the sentence and the tiles say; nothing before the first write. @param {Run} run @param {number} t @returns {Facts | null} */
export function summary(run, t) {
  if (!t) return null;
  const { key, value, ids } = run, seen = measure(run, t), now = list(t, (i) => i).filter((i) => seen.current[i]), errors = now.map((i) => seen.errors[i]);
  const mine = list(t, (i) => i).filter((i) => ids[i] === ids[t - 1]);
  return {
    written: t, width: key[0].length, keys: now.length, right: now.filter((i) => seen.right[i]).length,
    error: errors.reduce((a, b) => a + b) / now.length, worst: Math.max(...errors), newest: seen.errors[t - 1], cosine: seen.cosines[t - 1],
    times: mine.length, before: mine.length > 1 ? cosine(seen.answers[t - 1], value[mine[mine.length - 2]]) : 0,
    overlap: Math.max(0, ...now.flatMap((i) => now.filter((j) => j < i).map((j) => Math.abs(dot(key[i], key[j]))))),
  };
}

const told = (/** @type {string} */ text, /** @type {Record<string, any>} */ values) => text.replace(/{(\w+)}/g, (_, name) => values[name]);

/** The sentence of result, in the words that Python sends; `other` is by the rule to compare with.
 * @param {Facts | null} f @param {Facts | null} other @param {number} rule @param {number} against @param {number} decay @param {Record<string, any>} words @returns {string[]} */
export function describe(f, other, rule, against, decay, words) {
  if (!f || !other) return words.nothing;
  const [mine, theirs] = [f, other].map((f) => told(words[f.worst < EXACT ? "exactly" : "partly"], { ...f, error: fixed(f.error) }));
  const newest = f.newest < EXACT && f.worst >= EXACT && "newest";
  const said = f.times > 1
    ? ["again", rule ? "taken" : "added", newest, rule === 2 && "fades", "both"]
    : ["after", newest, rule === 2 && "fades", Math.max(f.worst, other.worst) >= EXACT && "rival",
      f.keys > f.width ? "full" : f.overlap >= EXACT ? "overlap" : f.keys === 1 ? "one" : f.keys === f.width ? "taken_up" : "orthogonal"];
  const values = { ...f, mine, theirs, name: words.names[rule], rival: words.names[against], pairs: `${f.written} pair${f.written === 1 ? "" : "s"}`, decay: fixed(decay), cosine: fixed(f.cosine), before: fixed(f.before), overlap: fixed(f.overlap) };
  return said.filter(Boolean).map((key) => told(words[String(key)], values));
}

/** Cells as paths, one a sign and shade, on paper; a row is `tall` of its height. @param {number[][]} rows @param {number} top @param {number} [tall] @returns {[string, string, number][]} */
export function shades(rows, top, tall = 1) {
  /** @type {Map<string, string>} */
  const paths = new Map([["paper", ""]]), add = (/** @type {string} */ name, /** @type {string} */ d) => paths.set(name, (paths.get(name) ?? "") + d);
  rows.forEach((row, r) => {
    add("paper", `M0 ${r}h${row.length}v${tall}H0z`);
    row.forEach((x, c) => {
      const level = Math.min(Math.floor((Math.abs(x) / top) * LEVELS + 0.5), LEVELS);
      if (level) add(`${x < 0 ? "neg" : "pos"} ${level}`, `M${c} ${r}h1v${tall}h-1z`);
      if (x < 0 && level > 2) add(level < 7 ? "minus" : "deep", `M${c}.3 ${(r + tall / 2).toFixed(2)}h.4`);
    });
  });
  const last = ["minus", "deep"], order = [...paths].sort(([a], [b]) => last.indexOf(a) - last.indexOf(b));
  return order.map(([name, d]) => [name.split(" ")[0], d, Number(((Number(name.split(" ")[1] ?? LEVELS) / LEVELS) ** 0.7).toFixed(2))]);
}

/** A sheet of cells, of as many rows as it is given or of `rows`, some of them empty.
 * @param {number} top @param {number} [rows] @param {number} [tall] */
function sheet(top, rows, tall) {
  const el = h("svg:svg.pa-om-sheet", { preserveAspectRatio: "none", "aria-hidden": "true" });
  return {
    el,
    /** @param {number[][]} values @param {number} columns */
    draw(values, columns) {
      el.setAttribute("viewBox", `0 0 ${columns} ${rows ?? (values.length || 1)}`);
      el.replaceChildren(...shades(values, top, tall).map(([name, d, opacity]) => h(`svg:path.pa-om-${name}`, { d, "fill-opacity": opacity })));
    },
  };
}

/** A matrix between the key on its left and three vectors above: one, less another, is the third.
 * @param {string[]} names @param {number} top */
function board(names, top) {
  const caption = h("p.pa-caption"), note = h("span.pa-om-note"), tags = names.map((name) => h("span", {}, name)), keyTag = h("span.pa-om-k");
  const strips = names.map(() => sheet(top)), key = sheet(top), matrix = sheet(top), blank = h("span.pa-om-blank");
  tags[0].className = "pa-om-v";
  const grid = h("div.pa-om-grid", { role: "img" }, ...strips.flatMap((strip, i) => [tags[i], strip.el]), keyTag, h("i"), key.el, matrix.el, blank, note);
  return {
    el: h("div.pa-om-board", {}, caption, grid),
    /** @param {{said: string, pair: string, asked: string, vectors: (number[] | null)[], key: number[], matrix: number[][], note: string, empty?: string, heard?: string}} shown */
    draw(shown) {
      caption.textContent = shown.said;
      tags[0].textContent = `v${shown.pair}`;
      keyTag.textContent = `k${shown.asked}`;
      shown.vectors.forEach((v, i) => strips[i].draw(v ? [v] : [], shown.matrix[0].length));
      key.draw(shown.key.map((x) => [x]), 1);
      matrix.draw(shown.matrix, shown.matrix[0].length);
      blank.textContent = shown.empty ?? "";
      note.textContent = shown.note;
      grid.setAttribute("aria-label", `${shown.said}: ${shown.heard ?? shown.note}`);
    },
  };
}

const below = (/** @type {number} */ i) => (i ? String(i) : "").replace(/\d/g, (digit) => "₀₁₂₃₄₅₆₇₈₉"[Number(digit)]);

/** Highest mark of the chart: the next half. @param {number[][]} curves */
export const ceiling = (curves) => Math.max(0.5, Math.ceil(2 * Math.max(...curves.flat()) - 1e-9) / 2);

/** The place on the axis worth a line: where keys come again, else where they are as many as the memory is wide.
 * @param {number[]} ids @param {number} width @returns {[number, string] | null} */
export function landmark(ids, width) {
  const again = ids.findIndex((id, t) => ids.indexOf(id) < t);
  return again >= 0 ? [again + 1, "a key again"] : width < ids.length ? [width, `width ${width}`] : null;
}

export default {
  /** @param {{model: Model, el: HTMLElement}} view */
  render({ model, el }) {
    /** @type {{pairs: number, wide: number, widths: number[], decay: number, top: number, ids: number[][]}} */
    const { pairs, wide, widths, decay, top, ids } = model.get("shape"), words = model.get("words");
    /** @type {DataView} */
    const bytes = model.get("numbers");
    let place = 0;
    const rows = (/** @type {number} */ columns) => list(pairs, () => list(columns, () => bytes.getFloat32(4 * place++, true)));
    const value = rows(wide), scenes = ids.map((ids, at) => {
      const key = rows(widths[at]);
      /** @type {Run[]} */
      const runs = words.names.map((/** @type {string} */ _, /** @type {number} */ rule) => {
        const kept = rule === 2 ? decay : 1, written = rows(wide);
        return { key, value, ids, written, decay: kept, states: replay(key, written, kept) };
      });
      return { runs, curves: runs.map((run) => list(pairs, (t) => summary(run, t + 1)?.error ?? 0)) };
    });

    const writing = board(["", "− read", "= write"], top), asking = board(["", "− answer", "= error"], top);
    const flow = h("div.pa-flow", {}, h("div.pa-om-boards", {}, writing.el, asking.el), h("div.pa-legend.pa-om-legend", { "aria-hidden": "true" }, `−${top}`, h("span"), `+${top}`));
    const stored = sheet(top, pairs, 0.84), answered = sheet(top, pairs, 0.84);
    const lines = list(pairs, (i) => {
      const name = h("b"), bar = h("i"), number = h("span"), mark = h("span");
      return { el: h("div", {}, name, h("span.pa-om-bar", {}, bar), number, mark), pick: h("div", { role: "option", "data-pick": i }), name, bar, number, mark };
    });
    const listing = h("div.pa-om-lines", { role: "listbox", "aria-label": "Pair to ask for" }, ...lines.map((line) => line.pick));
    const table = h("div.pa-om-table", { style: { "--pairs": pairs } }, ...["key", "stored", "answer", "cosine"].map((name) => h("span.pa-om-head", { "aria-hidden": "true" }, name)), stored.el, answered.el, h("div.pa-om-lines", { "aria-hidden": "true" }, ...lines.map((line) => line.el)), listing);
    const curves = list(3, () => h("svg:path")), at = h("span.pa-om-at"), spot = h("span.pa-om-dot"), mark = h("span.pa-om-mark"), marks = [0, 1, 2].map(() => h("span.pa-om-y", {}, h("span")));
    const across = (/** @type {number} */ t) => (100 * (t - 1)) / (pairs - 1);
    const svg = h("svg:svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" });
    const ticks = [1, Math.round(pairs / 2), pairs].map((t) => h("span.pa-om-x", { style: { left: `${across(t)}%` } }, String(t)));
    const chart = h("div.pa-om-chart", { role: "img" }, ...marks, mark, at, svg, spot, ...ticks), key = h("p.pa-key.pa-om-key");
    const tiles = words.tiles.map((/** @type {string} */ name) => ({ name: h("span", {}, name), value: h("strong") }));
    const result = sentence(), picks = picker(listing, draw);
    rove(listing, () => lines.map((line) => [line.pick]));
    el.replaceChildren(flow, section("matrix", "What the memory S answers to each key", table),
      section("detail", words.caption, h("div.pa-om-below", {}, h("div", {}, chart, key), h("div.pa-tiles", {}, ...tiles.map((/** @type {any} */ t) => h("div.pa-tile", {}, t.name, t.value))))), result.el);

    const keyOf = (/** @type {Run} */ run, /** @type {number} */ i) => below((run.ids[i] ?? -1) + 1);
    const scene = () => (ids.length === 1 ? 0 : (model.get("size") * 2 + model.get("kind")) * 2 + model.get("task"));

    /** @param {Run} run @param {number} t @param {number} rule @param {Answers} seen */
    function drawBoards(run, t, rule, seen) {
      const d = run.key[0].length, none = list(d, () => list(wide, () => 0)), pick = Number(picks.pick ?? t - 1), asked = pick < t ? pick : t - 1;
      const v = t ? value[t - 1] : null, u = t ? run.written[t - 1] : null, k = t ? run.key[t - 1] : null;
      const read = v && u && rule ? v.map((x, j) => x - u[j]) : null;
      writing.draw({
        said: t ? `Write pair ${t}` : "Nothing written", pair: below(t), asked: keyOf(run, t - 1), vectors: [v, read, u], key: k ?? [], matrix: k && u ? k.map((x) => u.map((y) => x * y)) : none,
        note: t ? `outer product, added to ${rule === 2 ? `${tidy(decay)} ` : ""}S` : "nothing to add", empty: t && !rule ? "not read" : "",
      });
      const answer = t ? seen.answers[asked] : null, wanted = t ? value[asked] : null;
      asking.draw({
        said: t ? `Ask for pair ${asked + 1}${picks.locked === null ? "" : " (Escape lets go)"}` : "Nothing to ask for", pair: below(asked + 1), asked: keyOf(run, asked), vectors: [wanted, answer, wanted && answer && wanted.map((x, j) => x - answer[j])],
        key: t ? run.key[asked] : [], matrix: run.states[t], note: `S, ${d} × ${wide}, after ${t} write${t === 1 ? "" : "s"}`,
        heard: t ? `error ${fixed(seen.errors[asked])}` : undefined,
      });
      lines.forEach((line, i) => line.pick.setAttribute("aria-selected", String(i === asked)));
      el.dataset.asked = String(asked);
    }

    /** @param {Run} run @param {number} t @param {Answers} seen */
    function drawLines(run, t, seen) {
      stored.draw(value.slice(0, t), wide);
      answered.draw(seen.answers, wide);
      lines.forEach((line, i) => {
        const known = i < t, now = known && seen.current[i], good = known && seen.right[i], said = known ? fixed(seen.cosines[i]) : "·";
        line.el.className = `pa-om-line${known ? (now ? "" : " pa-om-old") : " pa-om-unwritten"}`;
        line.name.textContent = `k${keyOf(run, i)}`;
        line.bar.style.width = `${known ? 100 * Math.max(0, seen.cosines[i]) : 0}%`;
        line.number.textContent = said;
        line.mark.textContent = known ? (now ? (good ? "✓" : "✗") : "old") : "";
        line.mark.className = now && !good ? "pa-om-wrong" : "";
        line.pick.setAttribute("aria-label", `pair ${i + 1}: ${known ? `cosine ${said}, ${now ? (good ? "right" : "wrong") : "written over"}` : "not written yet"}`);
      });
    }

    /** @param {number[][]} errors @param {Run} run @param {number} t @param {number} rule */
    function drawChart(errors, run, t, rule) {
      const high = ceiling(errors), height = (/** @type {number} */ y) => 100 - (100 * y) / high, line = landmark(run.ids, run.key[0].length);
      const order = [0, 1, 2].filter((i) => i !== rule), pens = (/** @type {number} */ i) => (i === rule ? "on" : i === order[0] ? "off" : "base");
      errors.forEach((ys, i) => {
        curves[i].setAttribute("d", "M" + ys.map((y, t) => `${across(t + 1).toFixed(2)} ${height(y).toFixed(2)}`).join("L"));
        curves[i].setAttribute("class", `pa-om-${pens(i)}`);
      });
      svg.replaceChildren(...[...order, rule].map((i) => curves[i]));
      marks.forEach((mark, i) => {
        mark.style.bottom = `${50 * i}%`;
        mark.firstChild.textContent = fixed((high * i) / 2, 2);
      });
      at.hidden = spot.hidden = !t;
      at.style.left = spot.style.left = `${across(Math.max(t, 1))}%`;
      spot.style.top = `${height(t ? errors[rule][t - 1] : 0)}%`;
      mark.hidden = !line;
      mark.classList.toggle("pa-om-late", line !== null && line[0] > pairs / 2);
      mark.style.left = `${across(line ? line[0] : 1)}%`;
      mark.textContent = line ? line[1] : "";
      key.replaceChildren(...[rule, ...order].map((i) => h("span", {}, h(`i.pa-om-${pens(i)}`), words.names[i].slice(4))));
      const ends = errors.map((ys) => fixed(ys[pairs - 1]));
      chart.setAttribute("aria-label", told(words.chart, { name: words.names[rule], here: fixed(t ? errors[rule][t - 1] : 0), end: ends[rule], one: words.names[order[0]], first: ends[order[0]], two: words.names[order[1]], second: ends[order[1]] }));
    }

    function draw() {
      const { runs, curves } = scenes[scene()], rule = model.get("rule"), t = Math.min(model.get("step"), pairs), run = runs[rule], against = rule === 1 ? 0 : 1;
      const seen = measure(run, t), facts = summary(run, t);
      drawBoards(run, t, rule, seen);
      drawLines(run, t, seen);
      drawChart(curves, run, t, rule);
      [facts ? `${facts.right} of ${facts.keys}` : "–", facts ? fixed(facts.error) : "–", facts ? fixed(facts.cosine) : "–", facts && facts.times > 1 ? fixed(facts.before) : "–"].forEach((text, i) => (tiles[i].value.textContent = text));
      result.say(describe(facts, summary(runs[against], t), rule, against, decay, words), model.get("playing"));
      Object.assign(el.dataset, { weights: JSON.stringify(run.states[t]), step: t, rule, scene: scene(), seen: JSON.stringify(seen), facts: JSON.stringify(facts), curve: JSON.stringify(curves[rule]) });
    }

    draw();
    const stop = watch(model, ["task", "kind", "rule", "size", "step", "playing"], draw);
    return () => [stop, picks.stop, result.stop].forEach((f) => f());
  },
};
