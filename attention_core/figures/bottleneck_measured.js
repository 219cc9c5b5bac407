// Bottleneck measured: translation quality against sentence length, with attention and through one vector.

import { fixed, h, section, sentence, watch } from "./kit.js";

/** @typedef {import("./kit.js").Model} Model */
/** @typedef {{width: number, seeds: number, bleu: number[], low: number[], high: number[]}} Reader medians over seeds, and their range */
/** @typedef {[number, number]} Band shortest and longest sentence, in tokens */

const NAMES = ["attention", "its seeds", "one vector", "its seeds"], TICKS = [0, 25, 50, 75, 100];
const ABOVE = "BLEU of the translations (higher is better) against tokens in the sentence";

/** @param {Band} band */
export const said = ([low, high]) => `${low}–${high}`;

/** The band that holds a length, or the nearest. @param {Band[]} bands @param {number} length */
export function place(bands, length) {
  const found = bands.findIndex(([, high]) => length <= high);
  return found < 0 ? bands.length - 1 : found;
}

/** @param {number} x */
const score = (x) => fixed(x, 1);

/** The sentence of result; Python writes the same one into the static picture.
 * @param {Band[]} bands @param {number} trained @param {Reader[]} readers attention first @param {number} chosen @param {number} at */
export function describe(bands, trained, readers, chosen, at) {
  const [attention, ...vectors] = readers, vector = vectors[chosen], others = vectors.filter((_, i) => i !== chosen);
  const lost = (/** @type {Reader} */ r) => score(r.bleu[0] - r.bleu[at]), [low, high] = bands[at];
  const loses = `from the shortest sentences to these attention loses ${lost(attention)}, the vector ${lost(vector)}.`;
  const others_ = others.map((o) => `width ${o.width} scores ${score(o.bleu[at])}`).join("; ");
  return [
    `At ${low} to ${high} tokens attention scores ${score(attention.bleu[at])} BLEU, one vector of width ${vector.width} scores ${score(vector.bleu[at])}.`,
    ...(others_ ? [`W${others_.slice(1)}.`] : []),
    middle(bands[at]) > trained ? `No sentence in training had more than ${trained} tokens; ${loses}` : `F${loses.slice(1)}`,
  ];
}

/** @param {Reader[]} readers @param {number} chosen @param {number} at */
export function facts(readers, chosen, at) {
  return [readers[0], readers[1 + chosen]].flatMap((r) => [score(r.bleu[at]), r.seeds > 1 ? `${score(r.low[at])} to ${score(r.high[at])}` : "one only"]);
}

/** @param {Band} band */
const middle = ([low, high]) => (low + high) / 2;

/** Place of a length on the axis, in per cent. @param {Band[]} bands @param {number} length */
export const across = (bands, length) => (100 * (length - bands[0][0] + 0.5)) / (bands[bands.length - 1][1] - bands[0][0] + 1);

/** @param {Band[]} bands @param {number[]} ys */
export const path = (bands, ys) => "M" + ys.map((y, i) => `${across(bands, middle(bands[i])).toFixed(2)} ${(100 - y).toFixed(2)}`).join("L");

/** The band between the lowest and the highest seed. @param {Band[]} bands @param {Reader} reader */
const spread = (bands, { low, high }) => `${path(bands, high)}L${path(bands, low).slice(1).split("L").reverse().join("L")}Z`;

export default {
  /** @param {{model: Model, el: HTMLElement}} view */
  render({ model, el }) {
    /** @type {Band[]} */ const bands = model.get("bands");
    /** @type {Reader[]} */ const readers = model.get("readers");
    const trained = model.get("trained"), longest = bands[bands.length - 1][1], fives = Array.from({ length: Math.floor(longest / 5) }, (_, i) => 5 * i + 5).filter((t) => t >= bands[0][0]), result = sentence();
    const areas = readers.map((r) => h("svg:path.pa-mb-area", { d: spread(bands, r) })), lines = readers.map((r) => h("svg:path.pa-mb-line", { d: path(bands, r.bleu) }));
    const svg = h("svg:svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" }, ...areas, ...lines);
    const at = h("span.pa-mb-at"), dots = [0, 1].map((i) => h(`span.pa-mb-dot.pa-mb-dot-${i}`));
    const zone = trained >= longest ? [] : [h("div.pa-mb-zone", { style: { left: `${across(bands, trained + 0.5)}%` } }, h("span", {}, "longer than any in training"))];
    const box = h("div.pa-mb-box", { role: "img" }, ...zone, ...TICKS.map((t) => h("span.pa-mb-y", { style: { bottom: `${t}%` } }, h("span", {}, String(t)))),
      at, svg, ...dots, ...fives.map((t) => h("span.pa-mb-x", { style: { left: `${across(bands, t)}%` } }, String(t))));
    const values = NAMES.map(() => h("strong")), vectorName = h("span");
    const key = h("p.pa-mb-key", {}, h("span", {}, h("i.pa-mb-key-0"), "attention"), h("span", {}, h("i.pa-mb-key-1"), vectorName), h("span", {}, h("i.pa-mb-key-2"), "its other widths"));
    if (readers.length < 3) key.lastChild.remove();
    el.replaceChildren(
      section("flow", ABOVE, box, key),
      section("detail", model.get("source"), h("div.pa-tiles", {}, ...values.map((value, i) => h("div.pa-tile", {}, h("span", {}, NAMES[i]), value)))), result.el);

    function draw() {
      const chosen = model.get("width"), i = place(bands, model.get("length")), shown = [readers[0], readers[1 + chosen]];
      readers.forEach((r, j) => {
        const on = shown.indexOf(r);
        lines[j].setAttribute("class", on < 0 ? "pa-mb-line" : `pa-mb-line pa-mb-${on}`);
        areas[j].setAttribute("class", on < 0 ? "pa-mb-area" : `pa-mb-area pa-mb-area-${on}`);
      });
      const [low, high] = bands[i], left = across(bands, low - 0.5);
      Object.assign(at.style, { left: `${left}%`, width: `${across(bands, high + 0.5) - left}%` });
      dots.forEach((dot, j) => Object.assign(dot.style, { left: `${across(bands, middle(bands[i]))}%`, bottom: `${shown[j].bleu[i]}%` }));
      vectorName.textContent = `one vector of width ${shown[1].width}`;
      box.setAttribute("aria-label", bands.map((b, j) => `${said(b)} tokens: attention ${score(shown[0].bleu[j])}, one vector ${score(shown[1].bleu[j])}`).join("; "));
      facts(readers, chosen, i).forEach((text, j) => (values[j].textContent = text));
      result.say(describe(bands, trained, readers, chosen, i));
      Object.assign(el.dataset, { weights: JSON.stringify(shown.map((r) => r.bleu)), width: shown[1].width, band: said(bands[i]) });
    }

    draw();
    const stop = watch(model, ["width", "length"], draw);
    return () => [stop, result.stop].forEach((f) => f());
  },
};
