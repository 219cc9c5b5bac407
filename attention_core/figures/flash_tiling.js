// Flash tiling: the same attention by two schedules, a step of either at a time, and the bytes that each moves.

import { fixed, h, picker, ramp, rove, section, sentence, watch } from "./kit.js";

/** @typedef {import("./kit.js").Model} Model */
/** @typedef {{phase: number, r0: number, r1: number, c0: number, c1: number, loaded: number, stored: number, query: number, maximum: number[], total: number[]}} Step */
/** @typedef {{first: number, count: number, statistics: number, bytes: number, difference: number, sram: Record<string, {bytes: number, over: boolean, said: string, parts: [string, number][], mark: number}>, whole: string, end: string[]}} Listed */
/** @typedef {Listed & {steps: Step[]}} Run */
/**
 * All that one picture shows.
 * @typedef {object} Scene
 * @property {Run} run @property {Run} other of the other schedule @property {number} at the step, from 0
 * @property {number} tile @property {boolean} causal @property {number} query @property {number} n @property {number} m
 */

// Shades of a cell.
const TILES = [8, 16, 32], LEVELS = 32;
// Phases: flash has the first, standard the other three.
const TILE = 0, SCORES = 1, SOFTMAX = 2, AVERAGE = 3;
// Scores and weights travel as 16 bits.
const COARSE = 65535;

/** @template T @param {number} length @param {(i: number) => T} of @returns {T[]} */
const list = (length, of) => Array.from({ length }, (_, i) => of(i));
/** @param {number} count */
const kib = (count) => `${fixed(count / 1024, 1)}\u00a0KiB`;

/** Running maximum and sum of a query after a step. @param {Step} step @param {number} query @returns {number[] | null} */
const known = (step, query) => (step.maximum.length ? [step.maximum[query - step.r0], step.total[query - step.r0]] : null);

/** What the old sum is multiplied by: e to the old maximum minus the new one. @param {Scene} scene @returns {number | null} */
export function rescale({ run, at, query }) {
  const now = run.steps[at], new_ = known(now, query);
  if (now.phase !== TILE || now.c0 === 0 || !new_) return null;
  return Math.exp(run.steps[at - 1].maximum[query - now.r0] - new_[0]);
}

/** A sentence of Python's with its gaps filled. @param {string} text @param {Record<string, any>} values */
const told = (text, values) => text.replace(/\{(\w+)\}/g, (_, name) => values[name]);

/** The sentence of result. @param {Scene} scene @param {Record<string, any>} words */
export function describe(scene, words) {
  const { run, at, tile, query } = scene, now = run.steps[at], factor = rescale(scene);
  if (at === run.steps.length - 1) return run.end;
  const happens = now.phase || (factor === null ? "begins" : factor < 1 ? "rose" : "stayed");
  const values = { row: Math.floor(now.r0 / tile) + 1, column: Math.floor(now.c0 / tile) + 1, query, first: now.r0, last: now.r1 - 1, factor: fixed(factor ?? 1), moved: kib(now.loaded + now.stored) };
  return [told(words[happens], values), told(words.moved, values), run.whole];
}

/** The step of `last` that is as far on as `step` was of `before`. @param {number} step @param {number} before @param {number} last */
export const movedOn = (step, before, last) => Math.max(1, Math.round((step * last) / before));

/** Every tile or band, with what has become of it. @param {Scene} scene */
export function boxes({ run, at, tile, n, m }) {
  const now = run.steps[at], wide = now.phase === TILE ? tile : m, made = [];
  const place = new Map(run.steps.map((s, i) => [`${s.phase},${s.r0},${s.c0}`, i]));
  for (let r = 0; r < n; r += tile) for (let c = 0; c < m; c += wide) {
    const i = place.get(`${now.phase},${r},${c}`);
    const past = i !== undefined && (i < at || now.phase > SCORES);
    const state = i === undefined ? "skipped" : i === at ? "now" : !past ? "none" : now.phase === TILE ? "made" : "stored";
    made.push({ state, r0: r, r1: Math.min(r + tile, n), c0: c, c1: Math.min(c + wide, m) });
  }
  return made;
}

/** The running maximum of a query as a stair, a step a tile. @param {Scene} scene @param {(score: number) => number} height */
const stair = ({ run, at, query }, height) => run.steps.slice(0, at + 1)
  .filter((s) => s.phase === run.steps[at].phase && s.r0 === run.steps[at].r0)
  .reduce((path, s) => `${path}${path ? "V" : "M0 "}${height(s.maximum[query - s.r0]).toFixed(2)}H${s.c1}`, "");

/** How full of its sum each tile of the output is, and which one is in fast memory. @param {Scene} scene */
function outputs({ run, at, tile, n }) {
  const makes = (/** @type {Step} */ s, /** @type {number} */ r) => s.r0 === r * tile && (s.phase === TILE || s.phase === AVERAGE);
  return list(Math.ceil(n / tile), (r) => {
    const made = run.steps.slice(0, at + 1).filter((s) => makes(s, r));
    return { full: made.length / run.steps.filter((s) => makes(s, r)).length, here: makes(run.steps[at], r) };
  });
}

/** Place and size in per cent. @param {{r0: number, r1: number, c0: number, c1: number}} box @param {number} n @param {number} m */
const placed = ({ r0, r1, c0, c1 }, n, m) => ({ top: `${(100 * r0) / n}%`, height: `${(100 * (r1 - r0)) / n}%`, left: `${(100 * c0) / m}%`, width: `${(100 * (c1 - c0)) / m}%` });

/** The runs as Python recorded them. @param {Model} model @returns {Run[]} */
function read(model) {
  const table = /** @type {DataView} */ (model.get("table")), statistics = /** @type {DataView} */ (model.get("statistics"));
  return model.get("runs").map((/** @type {Listed} */ run) => {
    let offset = run.statistics;
    const steps = list(run.count, (k) => {
      const [phase, r0, r1, c0, c1, loaded, stored, query] = list(8, (i) => table.getInt32(4 * (8 * (run.first + k) + i), true));
      const rows = phase === SCORES ? 0 : r1 - r0, from = offset;
      offset += rows;
      const take = (/** @type {number} */ which) => list(rows, (i) => statistics.getFloat64(8 * (2 * (from + i) + which), true));
      return { phase, r0, r1, c0, c1, loaded, stored, query, maximum: take(0), total: take(1) };
    });
    return { ...run, steps };
  });
}

/** A strip of tiles, those in fast memory in full colour. @param {HTMLElement} el @param {number} size @param {number} tile
 * @param {(start: number, i: number) => boolean} here @param {(i: number) => Node[]} [inside] */
function strip(el, size, tile, here, inside = () => []) {
  el.replaceChildren(...list(Math.ceil(size / tile), (i) =>
    h(here(i * tile, i) ? "span.pa-held" : "span", { style: { "flex-grow": Math.min(tile, size - i * tile) } }, ...inside(i))));
}

export default {
  /** @param {{model: Model, el: HTMLElement}} view */
  render({ model, el }) {
    const runs = read(model), [n, m] = model.get("size"), [low, pitch] = model.get("scale"), words = model.get("words");
    const coarse = { scores: /** @type {DataView} */ (model.get("scores")), weights: /** @type {DataView} */ (model.get("weights")) };
    const score = (/** @type {number} */ i, /** @type {number} */ j) => low + pitch * coarse.scores.getUint16(2 * (i * m + j), true);
    const weight = (/** @type {number} */ i, /** @type {number} */ j) => coarse.weights.getUint16(2 * ((Number(model.get("causal")) * n + i) * m + j), true) / COARSE;
    const open = (/** @type {number} */ i, /** @type {number} */ j) => !model.get("causal") || j <= i + m - n;

    const [k, v, q, o] = ["k", "v", "q.pa-down", "o.pa-down"].map((name) => h(`div.pa-lane.pa-lane-${name}`));
    const spans = h("div.pa-boxes"), under = h("svg:path.pa-under"), faded = h("svg:g.pa-faded"), bright = h("svg:g");
    const boxLine = h("span.pa-boxline"), tag = h("span.pa-querytag", { "aria-hidden": "true" }), queryLine = h("span.pa-queryline");
    const lines = list(TILES[2], (i) => h("span", { role: "option", "data-pick": i })), rows = h("div.pa-boxes", { role: "listbox", "aria-label": "Query to look at" }, ...lines);
    const grid = h("div.pa-tilecells", { style: { "aspect-ratio": `${m} / ${n}` } }, spans,
      h("svg:svg", { viewBox: `0 0 ${m} ${n}`, preserveAspectRatio: "none", "aria-hidden": "true" }, under, faded, bright), boxLine, queryLine, tag, rows);
    const hung = [h("i"), k, "K", h("i"), v, "V", "Q", h("i"), "O", q, grid, o].map((x) => (typeof x === "string" ? h("b", { "aria-hidden": "true" }, x) : x));
    const board = h("div.pa-tiling", {}, ...hung);
    const legend = h("p.pa-key.pa-tilekey"), flow = section("flow", "", board, legend), caption = flow.firstElementChild;

    const bars = ["Standard", "Flash"].map((name) => {
      const parts = ["in", "out", "whole"].map((part) => h(`i.pa-${part}`)), text = h("strong");
      return { el: h("div.pa-bytes", {}, h("span", {}, name), h("span.pa-membar", {}, ...parts), text), parts, text };
    });
    const moved = [h("span"), h("span"), "at the end"], key = h("p.pa-key.pa-tilekey", {}, ...["in", "out", "whole"].map((part, i) => h("span", {}, h(`i.pa-${part}`), moved[i])));
    const sramCaption = h("p.pa-caption"), sram = h("div.pa-sram"), onlineCaption = h("p.pa-caption.pa-oftile");
    const plot = h("svg:svg.pa-online", { viewBox: `0 0 ${m} 100`, preserveAspectRatio: "none", role: "img" });
    const tiles = [0, 1, 2].map(() => ({ name: h("span"), value: h("strong") }));
    const result = sentence(), picks = picker(grid, draw);
    rove(rows, () => lines.filter((line) => !line.hidden).map((line) => [line]));
    el.replaceChildren(flow, h("div.pa-matrix", {}, h("p.pa-caption", {}, "Bytes between HBM (slow) and SRAM (fast)"), ...bars.map((b) => b.el), key,
      sramCaption, sram, onlineCaption, plot, h("div.pa-tiles", {}, ...tiles.map((t) => h("div.pa-tile", {}, t.name, t.value)))), result.el);

    const index = (/** @type {number} */ kernel) => (kernel * TILES.length + model.get("tile")) * 2 + Number(model.get("causal"));
    /** @returns {Scene} */
    function scene() {
      const kernel = model.get("kernel"), run = runs[index(kernel)], at = Math.min(model.get("step"), run.steps.length) - 1, now = run.steps[at], pick = picks.pick;
      // A place in the tile, so that it moves on with the steps.
      const query = pick === null ? now.query : Math.min(now.r0 + Number(pick), now.r1 - 1);
      return { run, other: runs[index(1 - kernel)], at, tile: TILES[model.get("tile")], causal: model.get("causal"), query, n, m };
    }
    /** A path for each shade of these cells; the mask's pairs stay bare.
     * @param {{r0: number, r1: number, c0: number, c1: number}[]} of @param {(box: {r0: number}) => boolean} weights */
    function shades(of, weights) {
      const paths = Array(LEVELS + 1).fill("");
      for (const box of of) {
        const weighs = weights(box), bare = weighs || model.get("kernel") === 1;
        for (let i = box.r0; i < box.r1; i++) for (let j = box.c0; j < box.c1; j++) {
          if (bare && !open(i, j)) continue;
          const t = weighs ? Math.sqrt(weight(i, j)) : coarse.scores.getUint16(2 * (i * m + j), true) / COARSE;
          paths[Math.round(t * LEVELS)] += `M${j} ${i}h1v1h-1z`;
        }
      }
      return paths.flatMap((d, level) => (d ? [h("svg:path", { d, style: { fill: ramp(level / LEVELS) } })] : []));
    }

    /** @param {Scene} s */
    function drawBoard(s) {
      const { run, at, tile, causal } = s, now = run.steps[at], flash = now.phase === TILE, all = boxes(s), names = run.sram[now.phase].parts.map(([name]) => name);
      caption.textContent = words.captions[now.phase];
      spans.replaceChildren(...all.map((box) => h(`span.pa-tilebox.pa-${box.state}`, { style: placed(box, n, m) })));
      const stored = all.filter((b) => b.state === "stored"), done = (/** @type {{r0: number}} */ b) => now.phase === AVERAGE || (now.phase === SOFTMAX && b.r0 < now.r0);
      bright.replaceChildren(...shades(all.filter((b) => b.state === "now"), () => now.phase > SCORES));
      faded.replaceChildren(...shades(stored, done));
      // So that no hatching shines through.
      under.setAttribute("d", [...faded.children].map((path) => path.getAttribute("d")).join(""));
      Object.assign(boxLine.style, placed(now, n, m));
      const inside = (/** @type {string} */ name, /** @type {number} */ x, /** @type {number} */ a, /** @type {number} */ b) => names.includes(name) && x >= a && x < b;
      for (const [el, name] of /** @type {[HTMLElement, string][]} */ ([[k, "K"], [v, "V"]])) strip(el, m, tile, (x) => inside(name, x, flash ? now.c0 : 0, flash ? now.c1 : m));
      strip(q, n, tile, (x) => inside("Q", x, now.r0, now.r1));
      const out = outputs(s);
      strip(o, n, tile, (_, i) => out[i].here, (i) => [h("i", { style: { height: `${100 * out[i].full}%` } })]);
      legend.replaceChildren(...words.legends[now.phase].slice(0, causal ? 3 : 2).map((/** @type {string[]} */ [kind, text]) => h("span", {}, h(`i.pa-tilebox.pa-${kind}`), text)));
      Object.assign(el.dataset, { boxes: all.map((b) => b.state[0]).join(""), skipped: all.filter((b) => b.state === "skipped").length });
    }

    /** What has moved, and what is in fast memory. @param {Scene} s */
    function drawMemory({ run, other, at }) {
      const now = run.steps[at], { bytes, over, said, parts, mark } = run.sram[now.phase], most = Math.max(run.bytes, other.bytes);
      bars.forEach(({ el, parts, text }, i) => {
        const mine = i === Number(now.phase === TILE), its = mine ? run : other, seen = mine ? now : its.steps[its.steps.length - 1];
        el.classList.toggle("pa-subject", mine);
        [seen.loaded, seen.stored].forEach((bytes, k) => (parts[k].style.width = `${(100 * bytes) / most}%`));
        parts[2].style.left = `${(100 * its.bytes) / most}%`;
        text.textContent = kib(seen.loaded + seen.stored);
      });
      moved[0].textContent = `loaded ${kib(now.loaded)}`;
      moved[1].textContent = `stored ${kib(now.stored)}`;
      sramCaption.textContent = said;
      sramCaption.classList.toggle("pa-over", over);
      sram.replaceChildren(...parts.map(([part, width]) => h(`span.pa-part-${part[0].toLowerCase()}`, { style: { width: `${width}%` } }, part)), h("i.pa-whole", { style: { left: `${mark}%` } }));
      el.dataset.sram = String(bytes);
    }

    /** One query's scores and running maximum above, the weights that add up to its sum below. @param {Scene} s */
    function drawOnline(s) {
      const { run, at, query } = s, now = run.steps[at], state = known(now, query), factor = rescale(s);
      const line = list(m, (j) => score(query, j)), least = Math.min(...line), most = Math.max(...line);
      const height = (/** @type {number} */ x) => 4 + (36 * (most - x)) / (most - least || 1), made = [], weighed = [], sizes = [];
      for (let j = 0; j < now.c1; j++) {
        if (!open(query, j) && now.phase !== SCORES) continue;
        const fresh = j >= now.c0;
        made.push(h(fresh ? "svg:path.pa-fresh" : "svg:path", { d: `M${(j + 0.1).toFixed(1)} ${height(line[j]).toFixed(2)}h0.8` }));
        if (!state) continue;
        const e = Math.exp(line[j] - state[0]);
        sizes.push(e);
        weighed.push(h("svg:rect", { x: j + 0.1, y: 96 - 44 * e, width: 0.8, height: 44 * e, style: fresh ? { fill: ramp(Math.round(Math.min(e, 1) * LEVELS) / LEVELS) } : {} }));
      }
      plot.replaceChildren(h("svg:path.pa-axis", { d: `M0 48H${m}M0 96H${m}` }), ...made, ...(state ? [h("svg:path.pa-running", { d: stair(s, height) })] : []), ...weighed);
      onlineCaption.textContent = told(words.online[now.phase], { query });
      [...(state ?? [null, null]), factor].forEach((x, i) => {
        tiles[i].name.textContent = words.tiles[i];
        tiles[i].value.textContent = x === null ? "–" : fixed(x);
      });
      // The rest is said in words below and above.
      plot.setAttribute("aria-label", `${made.length} scores so far`);
      tag.textContent = String(query);
      tag.style.top = `${(100 * (query + 0.5)) / n}%`;
      Object.assign(queryLine.style, placed({ ...now, r0: query, r1: query + 1 }, n, m));
      lines.forEach((line, i) => {
        const row = now.r0 + i;
        line.hidden = row >= now.r1;
        line.setAttribute("aria-label", `query ${row}`);
        line.setAttribute("aria-selected", String(row === query));
        Object.assign(line.style, placed({ ...now, r0: row, r1: row + 1 }, n, m));
      });
      Object.assign(el.dataset, { query, maximum: state ? state[0] : "", total: state ? state[1] : "", rescale: factor ?? "", bars: JSON.stringify(sizes) });
    }

    /** What the current query does not change. */
    function draw() {
      const s = scene(), { run, at } = s, now = run.steps[at];
      drawBoard(s);
      drawMemory(s);
      drawOnline(s);
      result.say(describe(s, words), model.get("playing"));
      Object.assign(el.dataset, { kernel: now.phase === TILE ? "flash" : "standard", tile: s.tile, causal: s.causal, step: at + 1, loaded: now.loaded, stored: now.stored, difference: run.difference });
    }

    function weigh() {
      el.dataset.weights = JSON.stringify(list(n, (i) => list(m, (j) => weight(i, j))));
    }

    /** Another schedule has another number of steps; go as far into it, and never past its end, not even for a moment. */
    function turn() {
      const before = model.get("steps"), last = runs[index(model.get("kernel"))].steps.length, step = movedOn(model.get("step"), before, last);
      if (last !== before) {
        if (last < before) model.set("step", step);
        model.set("steps", last);
        model.set("step", step);
        model.save_changes();
      }
      weigh();
      draw();
    }

    weigh();
    draw();
    const stops = [watch(model, ["step", "playing"], draw), watch(model, ["kernel", "tile", "causal"], turn)];
    return () => [...stops, picks.stop, result.stop].forEach((stop) => stop());
  },
};
