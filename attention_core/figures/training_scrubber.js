// Training scrubber: one sentence's alignment at every checkpoint, beside the loss and the error rate.

import { fixed, h, matrix, percent, picker, section, sentence, tidy, watch } from "./kit.js";

/** @typedef {import("./kit.js").Model} Model */
/** @typedef {{kind: string, steps: number[], train: number[], validation: number[], aer: number[], at: number[], agree: number[][], paths: Record<string, string>, offset: number, size: number}} Run */
/** @typedef {{name: string, source: string[], target: string[], sure: number[][], possible: number[][], gold: number[][]}} Sentence */
/** @typedef {{tops: Record<string, number>, marks: Record<string, number[]>, ticks: [string, number][], baselines: [string, number, number][]}} Scale */
/** @typedef {{run: Run, kind: string, at: number, sentence: Sentence, index: number, weights: number[][], row: number, column: number, locked: boolean}} Scene */

const GOLD = "gold";

/** 2560 updates are 2,560. @param {number} x */
export const counted = (x) => String(x).replace(/\B(?=(\d{3})+$)/g, ",");

/** A text of Python's with its gaps filled. @param {string} text @param {Record<string, any>} gaps */
const fill = (text, gaps) => text.replace(/\{(\w+)\}/g, (_, name) => String(gaps[name]));

/** What may stand in the gaps. @param {Scene} scene */
function gapsOf({ run, kind, at, sentence: { name, source, target }, index, weights, row, column }) {
  const picked = row < 0 || column < 0 ? {} : { target: target[row], source: source[column], share: percent(weights[row][column]) };
  return {
    kind: kind === GOLD ? run.kind : kind[0].toUpperCase() + kind.slice(1), updates: counted(run.steps[at]), name,
    agree: run.agree[at][index], rows: target.length - 1, loss: fixed(run.validation[at]), aer: fixed(run.aer[at]), ...picked,
  };
}

/** The sentence of result; Python writes the same one into the static picture.
 * @param {Record<string, any>} words @param {Scene} scene */
export function describe(words, scene) {
  const { kind, sentence: { sure, possible }, row, column } = scene, gold = kind === GOLD, gaps = gapsOf(scene);
  const among = (/** @type {number[][]} */ links) => links.some(([t, s]) => t === row && s === column);
  const linked = among(sure) ? "sure" : among(possible) ? "possible" : "unlinked";
  const parts = row < 0 ? (gold ? ["links", GOLD, "meanwhile"] : ["agrees", kind, "all"]) : gold ? ["shares", GOLD] : ["cell", linked, kind];
  if (scene.locked) parts.push("locked");
  return parts.map((part) => fill(words[part], gaps));
}

/** What a curve says to the ear. @param {Record<string, any>} words @param {Scene} scene @param {string} name */
export function spoken(words, { run, kind, at }, name) {
  if (kind === GOLD) return `${words.plots[name]}: gold is not trained`;
  const values = name === "loss" ? run.validation : run.aer;
  return `${words.plots[name]} of the ${kind} model: ${fixed(values[0])} at first, ${fixed(values[at])} here, ${fixed(values[values.length - 1])} at the end`;
}

/** The checkpoint of `after`, from 1, whose update is nearest to that of checkpoint `step` of `before`.
 * @param {Run} before @param {number} step @param {Run} after */
export function nearest(before, step, after) {
  const update = before.steps[Math.min(step, before.steps.length) - 1], away = after.steps.map((s) => Math.abs(s - update));
  return 1 + away.indexOf(Math.min(...away));
}

/** One quantity over training. @param {string} name @param {string} title @param {Run[]} runs @param {Scale} scale */
function plot(name, title, runs, scale) {
  const top = scale.tops[name], own = name === "loss" ? h("svg:path.pa-course-train") : null;
  const lines = runs.map((run) => h("svg:path", { d: run.paths[name] }));
  const svg = h("svg:svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" }, ...lines);
  const dot = h("span.pa-course-dot"), zero = h("span.pa-course-zero"), at = h("span.pa-course-at");
  const bases = name === "aer" ? scale.baselines.map(([text, value, y]) => h("span.pa-course-base", { style: { top: `${y}%` } }, h("span", {}, `${text} ${fixed(value)}`))) : [];
  const marks = scale.marks[name].map((mark) => h("span.pa-course-y", { style: { top: `${100 - (100 * mark) / top}%` } }, tidy(mark)));
  const ticks = name === "aer" ? scale.ticks.map(([text, x]) => h("span.pa-course-x", { style: { left: `${x}%` } }, text)) : [];
  const box = h("div.pa-course-box", { role: "img" }, svg, ...bases, at, dot, zero, ...marks, ...ticks);
  return {
    el: h("div.pa-course-plot", {}, h("p.pa-course-name", {}, title), box),
    /** @param {Scene} scene @param {string} label */
    draw({ run, kind, at: checkpoint }, label) {
      const gold = kind === GOLD, mine = runs.indexOf(run);
      lines.forEach((line, r) => line.setAttribute("class", `pa-course-${!gold && r === mine ? "on" : runs[r].kind}`));
      if (own) own.setAttribute("d", run.paths.train);
      svg.replaceChildren(...lines.filter((_, r) => gold || r !== mine), ...(gold ? [] : [...(own ? [own] : []), lines[mine]]));
      const value = (name === "loss" ? run.validation : run.aer)[checkpoint], x = `${run.at[checkpoint]}%`;
      dot.hidden = gold;
      zero.hidden = !gold || name === "loss";
      dot.style.left = at.style.left = x;
      dot.style.top = `${100 - (100 * value) / top}%`;
      box.setAttribute("aria-label", label);
    },
  };
}

/** Which line is which. @param {HTMLElement} el @param {Run[]} runs @param {Scene} scene */
function legend(el, runs, { run, kind }) {
  const mine = kind === GOLD ? [["on", "gold: none, by definition"]] : [["on", `${kind}, validation`], ["train", `${kind}, training`]];
  const grey = runs.filter((r) => kind === GOLD || r !== run).map((r) => [r.kind, r.kind]);
  el.replaceChildren(...[...mine, ...grey].map(([css, text]) => h("span", {}, h(`i.pa-course-${css}`), text)));
}

/** The matrix, its gold links framed. @param {Sentence} sentence */
function build({ name, source, target, sure, possible }) {
  const grid = matrix({ label: `Alignment of “${name}”, one row a word of the translation`, rows: target, columns: source });
  const cells = grid.el.querySelectorAll(".pa-cell");
  for (const [t, s] of sure) cells[t * source.length + s].classList.add("pa-sure");
  for (const [t, s] of possible) cells[t * source.length + s].classList.add("pa-possible");
  return grid;
}

export default {
  /** @param {{model: Model, el: HTMLElement}} view */
  render({ model, el }) {
    /** @type {Run[]} */
    const runs = model.get("runs");
    /** @type {Sentence[]} */
    const sentences = model.get("sentences");
    /** @type {Scale} */
    const scale = model.get("scale");
    const words = model.get("words"), frames = /** @type {DataView} */ (model.get("frames"));
    const picks = picker(el, draw), result = sentence(), key = h("p.pa-key.pa-course-legend");
    const plots = Object.entries(words.plots).map(([name, title]) => ({ name, ...plot(name, title, runs, scale) }));
    const facts = words.tiles.map((/** @type {string} */ name) => h("div.pa-tile", {}, h("span", {}, name), h("strong")));
    /** @type {ReturnType<typeof matrix>} */
    let grid;
    const runOf = (/** @type {number} */ training) => runs[training % runs.length]; // gold follows the first
    let shown = runOf(model.get("training"));

    /** Exact weights where Python has sent them, else the frame. @param {number} index @param {number} at */
    function weightsOf(index, at) {
      const training = model.get("training"), exact = model.get("exact"), { gold, source, target } = sentences[index];
      if (exact.training === training && exact.sentence === index && exact.step === at + 1) return /** @type {number[][]} */ (exact.weights);
      if (training === runs.length) return gold;
      const before = sentences.slice(0, index).reduce((sum, s) => sum + s.source.length * s.target.length, 0);
      const start = runs[training].offset + at * runs[training].size + before;
      return target.map((_, r) => source.map((_, c) => frames.getFloat32(4 * (start + r * source.length + c), true)));
    }

    function rebuild() {
      const { source } = sentences[model.get("sentence")], wide = (source.length > 5 ? " pa-snug" : "") + (source.length > 8 ? " pa-wide" : "");
      grid = build(sentences[model.get("sentence")]);
      const flow = h("div.pa-flow", {}, ...plots.map((p) => p.el), key);
      const weights = section("matrix", "", grid.el, h("p.pa-legend", {}, h("i.pa-sure"), "sure link", h("i.pa-possible"), "possible link"));
      flow.className += wide;
      weights.className += wide;
      el.replaceChildren(flow, weights, h("div.pa-detail", {}, h("div.pa-tiles", {}, ...facts)), result.el);
    }

    function draw() {
      const training = model.get("training"), index = model.get("sentence"), run = runOf(training), gold = training === runs.length;
      const at = Math.min(model.get("step"), run.steps.length) - 1, weights = weightsOf(index, at), kind = gold ? GOLD : run.kind;
      const [row, column] = picks.pick ? picks.pick.split(",").map(Number) : [-1, -1];
      /** @type {Scene} */
      const scene = { run, kind, at, sentence: sentences[index], index, weights, row, column, locked: picks.locked !== null };
      const gaps = gapsOf(scene), rows = gaps.rows;
      for (const p of plots) p.draw(scene, spoken(words, scene, p.name));
      legend(key, runs, scene);
      grid.draw(weights, { written: weights.length, current: row, locked: picks.locked });
      const caption = /** @type {HTMLElement} */ (el.querySelector(".pa-matrix > .pa-caption"));
      caption.textContent = fill(words[gold ? "goldcaption" : "caption"], gaps);
      const texts = gold ? ["–", "–", fixed(0), `${rows} of ${rows}`] : [gaps.loss, fixed(run.train[at]), gaps.aer, `${gaps.agree} of ${rows}`];
      facts.forEach((/** @type {HTMLElement} */ fact, /** @type {number} */ i) => (/** @type {HTMLElement} */ (fact.lastChild).textContent = texts[i]));
      result.say(describe(words, scene), model.get("playing"));
      Object.assign(el.dataset, {
        weights: JSON.stringify(weights), training: kind, sentence: sentences[index].name, step: at + 1, update: run.steps[at],
        loss: gold ? "" : run.validation[at], train: gold ? "" : run.train[at], aer: gold ? 0 : run.aer[at], agree: gold ? rows : run.agree[at][index],
      });
    }

    /** Another run has checkpoints of its own: go to the nearest update. */
    function turn() {
      const run = runOf(model.get("training")), step = nearest(shown, model.get("step"), run);
      shown = run;
      picks.clear();
      if (step < model.get("step")) model.set("step", step); // never past the end, not even for a moment
      model.set("steps", run.steps.length);
      model.set("step", step);
      model.save_changes();
      draw();
    }

    function turnPage() {
      picks.clear();
      rebuild();
      draw();
    }

    rebuild();
    draw();
    const stops = [watch(model, ["step", "exact", "playing"], draw), watch(model, ["training"], turn), watch(model, ["sentence"], turnPage)];
    return () => [...stops, picks.stop, result.stop].forEach((stop) => stop());
  },
};
