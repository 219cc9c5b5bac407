// Alignment explorer: ribbons, matrix and recipe of one worked alignment at one temperature.

import { argmax, fixed, h, matrix, paint, percent, picker, ramp, rove, section, sentence, tidy, watch } from "./kit.js";
import { ribbons } from "./ribbons.js";

/** @typedef {import("./kit.js").Model} Model */
/** @typedef {{name: string, source: string[], target: string[], provenance: string, again: string, offset: number}} Example */
/** @typedef {{weights: number[][], temperature: number}} Frame */

/**
 * The weights at the controls' values: exact ones where Python has sent them, else the nearest frame.
 * @param {Model} model @returns {Frame}
 */
function weightsOf(model) {
  const index = model.get("example"), exact = model.get("exact"), wanted = model.get("temperature");
  if (exact.example === index && exact.temperature === wanted) return exact;
  /** @type {Example} */
  const { source, target, offset } = model.get("examples")[index];
  const { low, step, count } = model.get("grid"); // exponents of two
  const k = Math.min(Math.max(Math.round((Math.log2(wanted) - low) / step), 0), count - 1);
  const view = /** @type {DataView} */ (model.get("frames")), size = source.length * target.length;
  const weights = target.map((_, r) => source.map((_, c) => view.getFloat32(4 * (offset + k * size + r * source.length + c), true)));
  return { weights, temperature: 2 ** (low + k * step) };
}

/**
 * What the picture says, in words: the claim, then what qualifies it. Python writes the same sentence
 * into the static picture.
 * @param {Example} example @param {Frame} frame @param {{row: number, column: number, written: number, locked: boolean}} at
 */
export function describe({ source, target, provenance, again }, { weights, temperature }, { row, column, written, locked }) {
  const rest = [];
  let lead;
  if (row < 0) {
    const taken = weights.slice(0, written).map((line) => line[column]), best = argmax(taken);
    lead = `“${source[column]}” is read most by “${target[best]}”: ${percent(taken[best])}.`;
  } else {
    const best = argmax(weights[row]), ties = weights[row].filter((w) => weights[row][best] - w < 1e-9).length;
    lead = column < 0 || column === best
      ? `Step ${row + 1}: ${percent(weights[row][best])} of the weight is on “${source[best]}” as the decoder writes “${target[row]}”.`
      : `Step ${row + 1}: “${target[row]}” takes ${percent(weights[row][column])} from “${source[column]}”.`;
    if (ties > 1) rest.push(`${ties} words tie for the largest weight.`);
    else if (best !== row) rest.push(`Off the diagonal: word ${row + 1} of the translation reads word ${best + 1} of the source.`);
    else rest.push("On the diagonal: same place in both sentences.");
  }
  if (temperature !== 1) rest.push(`Temperature ${tidy(temperature)} ${temperature < 1 ? "sharpens" : "flattens"} ${again}.`);
  rest.push(provenance);
  if (locked) rest.push("Locked: press Escape to release.");
  return [lead, ...rest];
}

/** Everything that depends on the sentence alone. @param {Example} example */
function build({ source, target }) {
  const columns = Math.max(source.length, target.length);
  const chips = (/** @type {string[]} */ words, /** @type {(i: number) => string} */ pick) =>
    words.map((word, i) => h("button.pa-chip", { type: "button", "data-pick": pick(i), "aria-pressed": "false" }, word));
  const keys = chips(source, (c) => `,${c}`), queries = chips(target, (r) => `${r},`);
  const paths = target.map(() => source.map(() => h("svg:path")));
  const svg = h("svg:svg.pa-ribbons", { viewBox: "0 0 1000 100", preserveAspectRatio: "none", "aria-hidden": "true" }, ...paths.flat());
  const flow = h("div.pa-flowbox", { role: "group", "aria-label": "Words: source above, translation below", style: { "--columns": columns } },
    h("div.pa-chips", {}, ...keys), svg, h("div.pa-chips", {}, ...queries));
  rove(flow, () => [keys, queries]);
  const grid = matrix({ label: "Attention weights, one row a word of the translation", rows: target, columns: source });
  const parts = source.map(() => h("span.pa-part"));
  const formula = h("p.pa-formula");
  return { keys, queries, paths, flow, grid, parts, formula };
}

export default {
  /** @param {{model: Model, el: HTMLElement}} view */
  render({ model, el }) {
    const picks = picker(el, draw), result = sentence();
    /** @type {ReturnType<typeof build>} */
    let made;

    function rebuild() {
      /** @type {Example} */
      const example = model.get("examples")[model.get("example")];
      made = build(example);
      const wide = example.source.length > 6 ? " pa-wide" : "";
      const flow = section("flow", "Flow of attention (ribbon width = weight)", h("div.pa-scroll", {}, made.flow));
      const weights = section("matrix", "Attention weights (each row sums to 1)", made.grid.el, h("div.pa-legend", { "aria-hidden": "true" }, "0", h("span"), "1"));
      flow.className += wide;
      weights.className += wide;
      el.replaceChildren(flow, weights, section("detail", "Recipe for the context vector", h("div.pa-recipe", { "aria-hidden": "true" }, ...made.parts), made.formula), result.el);
    }

    function draw() {
      /** @type {Example} */
      const example = model.get("examples")[model.get("example")];
      const { source, target } = example, { paths, keys, queries, parts, formula } = made;
      const frame = weightsOf(model), { weights } = frame;
      const written = Math.min(Math.max(model.get("step"), 1), target.length);
      const [r, c] = (picks.pick ?? `${written - 1},`).split(",").map((x) => (x === "" ? -1 : Number(x)));
      const known = r < written; // a word not yet written has no weights to show
      const row = known ? r : written - 1, column = known ? c : -1, shown = row < 0 ? written - 1 : row;
      const shapes = ribbons(weights);
      paths.forEach((line, i) => line.forEach((path, j) => {
        const on = (row < 0 || i === row) && (column < 0 || j === column);
        path.setAttribute("d", shapes[i][j]);
        path.setAttribute("class", i < written && weights[i][j] >= 0.0005 ? (on ? "pa-on" : "pa-off") : "pa-none");
        path.style.fill = ramp(weights[i][j]);
      }));
      queries.forEach((chip, i) => {
        chip.classList.toggle("pa-unwritten", i >= written);
        chip.classList.toggle("pa-current", i === row);
        chip.setAttribute("aria-pressed", String(picks.locked === `${i},`));
        chip.setAttribute("aria-label", i < written ? target[i] : `${target[i]}, not yet written`);
      });
      keys.forEach((chip, j) => {
        chip.classList.toggle("pa-current", j === column);
        chip.setAttribute("aria-pressed", String(picks.locked === `,${j}`));
      });
      made.grid.draw(weights, { written, current: row, locked: picks.locked });
      parts.forEach((part, j) => {
        const w = weights[shown][j];
        part.style.flexGrow = String(w);
        part.textContent = w >= 0.18 ? `${source[j]} ${percent(w)}` : "";
        paint(part, w);
      });
      formula.replaceChildren(h("i", {}, "c"), h("sub", {}, String(shown + 1)), " = " + source.map((word, j) => `${fixed(weights[shown][j])}\u00a0h(${word})`).join(" + "));
      result.say(describe(example, frame, { row, column, written, locked: picks.locked !== null }), model.get("playing"));
      Object.assign(el.dataset, { weights: JSON.stringify(weights), temperature: frame.temperature, example: example.name, step: written, row: shown });
    }

    /** Another sentence has another number of steps; show it whole. */
    function turn() {
      const steps = model.get("examples")[model.get("example")].target.length;
      picks.clear();
      rebuild();
      if (model.get("step") > steps) model.set("step", steps); // never past the end, not even for a moment
      model.set("steps", steps);
      model.set("step", steps);
      model.save_changes();
      draw();
    }

    function advance() {
      picks.clear();
      draw();
    }

    rebuild();
    draw();
    const stops = [watch(model, ["temperature", "exact", "playing"], draw), watch(model, ["step"], advance), watch(model, ["example", "examples"], turn)];
    return () => [...stops, picks.stop, result.stop].forEach((stop) => stop());
  },
};
