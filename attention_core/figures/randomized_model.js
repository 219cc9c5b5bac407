// Randomised model: a map of the model as trained, beside that of one whose modules are drawn anew.

import { fixed, h, section, sentence, watch } from "./kit.js";
import { mapLegend, mapPanel, mapReader, patchMap } from "./maps.js";
import { largest } from "./shades.js";
import { stepChart } from "./step_chart.js";

/** @typedef {import("./kit.js").Model} Model */
/** @typedef {{title: string, signed: boolean, aloof: boolean}} Method aloof: it never looks at the model */
/** @typedef {{alike: number, blank: boolean, before: number, after: number}} Now rank correlation, whether a map is constant, the class's probabilities */

const STAYS = 0.9, GOES = 0.5, CURVE = "Rank correlation with the map as trained, from the head down";
const TILES = ["modules drawn anew", "rank correlation", "probability, trained", "probability, now"];

/** a; a and b; a, b and c. @param {string[]} names */
export const listed = (names) => [names.slice(0, -1).join(", "), names[names.length - 1]].filter(Boolean).join(" and ");

/** The sentence of result; Python writes the same one into the static picture. `stages` are those drawn anew.
 * @param {Method} method @param {string} name @param {string[]} stages @param {Now} now */
export function describe(method, name, stages, now) {
  if (!stages.length) return ["Nothing is drawn anew: both maps are of the model as trained.", `It gives ${name} the probability ${fixed(now.before)}.`];
  return [
    `With ${listed(stages)} drawn anew, ${method.title} keeps a rank correlation of ${fixed(now.alike)} with its map as trained.`,
    `The probability of ${name} was ${fixed(now.before)} and is ${fixed(now.after)}.`,
    remark(method, now),
  ];
}

/** @param {Method} method @param {Now} now */
function remark({ aloof }, { blank, alike }) {
  if (aloof) return "It never looks at the model, so nothing can change it: it cannot say what the model does.";
  if (blank) return "The map has no value but one: there are no ranks left to compare.";
  if (alike >= STAYS) return "What stays when what was learnt is lost cannot be about it, though it may describe something else.";
  if (alike <= GOES) return "The map hangs on what was learnt there. That alone does not make it right.";
  return "Part of the map hangs on what was learnt there, part of it does not.";
}

/** @param {number} at @param {number} every @param {Now} now */
export const facts = (at, every, { alike, before, after }) => [`${at} of ${every}`, ...[alike, before, after].map((x) => fixed(x))];

/** Above the map as trained, and above that of now. @param {string} title @param {string[]} stages */
export function captions(title, stages) {
  const last = stages[stages.length - 1];
  return [`${title}, as trained`, last ? `Now, anew down to ${last}` : "Now: as trained"];
}

export default {
  /** @param {{model: Model, el: HTMLElement}} view */
  render({ model, el }) {
    const { height, width, rows, columns } = model.get("shape"), patches = rows * columns;
    const [pixels, correlations] = ["pixels", "alike"].map((name) => /** @type {DataView} */ (model.get(name)));
    const mapOf = mapReader(model.get("frames"), model.get("tops"), patches);
    /** @type {Method[]} */
    const methods = model.get("methods");
    /** @type {string[]} */
    const stages = model.get("stages");
    const steps = stages.length + 1, result = sentence();
    const panels = ["As trained", "Now"].map((label) => {
      const map = patchMap({ rows, columns, label }), caption = new Text(), scale = mapLegend();
      return { map, caption, scale, el: mapPanel(caption, map.el, [], scale.el) };
    });
    const chart = stepChart(model.get("axes"), methods.map((m) => m.title), methods.map((m) => m.aloof));
    const values = TILES.map(() => h("strong"));
    el.replaceChildren(
      h("div.pa-flow.pa-pmpanels", {}, ...panels.map((p) => p.el)),
      section("detail", CURVE, chart.el, h("div.pa-tiles", {}, ...values.map((value, i) => h("div.pa-tile", {}, h("span", {}, TILES[i]), value)))), result.el);

    /** @param {number} start */
    const alikes = (start) => Array.from({ length: steps }, (_, i) => correlations.getFloat32(4 * (start + i), true));

    function draw() {
      const [image, chosen, at] = ["image", "method", "layers"].map((name) => model.get(name)), method = methods[chosen], run = image * methods.length;
      const pair = [0, at].map((stage) => mapOf((run + chosen) * steps + stage));
      const all = methods.map((_, m) => alikes((run + m) * steps)), answers = model.get("answers")[image];
      const now = { alike: all[chosen][at], blank: pair.some((one) => one.every((v) => v === one[0])), before: answers[0], after: answers[at] };
      const lost = stages.slice(0, at), said = captions(method.title, lost);
      panels.forEach(({ map, caption, scale }, i) => {
        caption.data = said[i];
        map.show(pixels, 3 * height * width * image, height, width);
        map.draw(pair[i], { signed: method.signed, says: said[i] });
        scale.say(largest(pair[i]), method.signed);
      });
      chart.draw(CURVE, all, chosen, at);
      facts(at, stages.length, now).forEach((text, i) => (values[i].textContent = text));
      result.say(describe(method, model.get("names")[image], lost, now), model.get("playing"));
      Object.assign(el.dataset, { weights: JSON.stringify(pair), correlations: JSON.stringify(all), image, method: method.title, layers: at, ...now });
    }

    draw();
    const stop = watch(model, ["image", "method", "layers", "playing"], draw);
    return () => [stop, result.stop].forEach((f) => f());
  },
};
