// Bottleneck measured: translation quality against sentence length, with attention and through one vector.

import { fixed, h, section, sentence, watch } from "./kit.js";

/** @typedef {import("./kit.js").Model} Model */
/** @typedef {{width: number, bleu: number[], low: number[], high: number[]}} Reader medians over seeds, and their range */
/** @typedef {[number, number | null]} Band shortest and longest sentence, in words; null: no longest */

const NAMES = ["attention", "its seeds", "one vector", "its seeds"], TICKS = [0, 25, 50, 75, 100];
const ABOVE = "BLEU of the translations (higher is better) against words in the sentence";

/** @param {Band} band */
export const said = ([low, high]) => (high === null ? `${low}+` : `${low}–${high}`);

/** @param {Band} band */
const words = ([low, high]) => (high === null ? `${low} words or more` : `${low} to ${high} words`);

/** The band that holds a length, or the nearest. @param {Band[]} bands @param {number} length */
export function place(bands, length) {
  const found = bands.findIndex(([, high]) => high === null || length <= high);
  return found < 0 ? bands.length - 1 : found;
}

/** @param {number} x */
const score = (x) => fixed(x, 1);

/** The sentence of result; Python writes the same one into the static picture.
 * @param {Band[]} bands @param {number} trained @param {Reader[]} readers attention first @param {number} chosen @param {number} at */
export function describe(bands, trained, readers, chosen, at) {
  const [attention, ...vectors] = readers, vector = vectors[chosen], others = vectors.filter((_, i) => i !== chosen);
  const parts = [`At ${words(bands[at])} attention scores ${score(attention.bleu[at])} BLEU, one vector of width ${vector.width} scores ${score(vector.bleu[at])}.`];
  if (others.length) parts.push(`${others.map((o) => `Width ${o.width} scores ${score(o.bleu[at])}`).join("; ").replace("; Width", "; width")}.`);
  const loses = `rom the shortest sentences to these attention loses ${score(attention.bleu[0] - attention.bleu[at])}, the vector ${score(vector.bleu[0] - vector.bleu[at])}.`;
  parts.push(bands[at][0] > trained ? `No sentence in training was longer than ${trained} words; f${loses}` : `F${loses}`);
  return parts;
}

/** @param {Reader[]} readers @param {number} chosen @param {number} at */
export function facts(readers, chosen, at) {
  return [readers[0], readers[1 + chosen]].flatMap((r) => [score(r.bleu[at]), `${score(r.low[at])} to ${score(r.high[at])}`]);
}

/** @param {number} i @param {number} n */
const across = (i, n) => (100 * (i + 0.5)) / n;

/** @param {number[]} ys */
const path = (ys) => "M" + ys.map((y, i) => `${across(i, ys.length).toFixed(2)} ${(100 - y).toFixed(2)}`).join("L");

/** The band between the lowest and the highest seed. @param {Reader} reader */
const spread = ({ low, high }) => `${path(high)}L${path(low).slice(1).split("L").reverse().join("L")}Z`;

export default {
  /** @param {{model: Model, el: HTMLElement}} view */
  render({ model, el }) {
    /** @type {Band[]} */ const bands = model.get("bands");
    /** @type {Reader[]} */ const readers = model.get("readers");
    const trained = model.get("trained"), n = bands.length, first = bands.findIndex(([low]) => low > trained), result = sentence();
    const areas = readers.map((r) => h("svg:path.pa-mb-area", { d: spread(r) })), lines = readers.map((r) => h("svg:path.pa-mb-line", { d: path(r.bleu) }));
    const svg = h("svg:svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" }, ...areas, ...lines);
    const at = h("span.pa-mb-at"), dots = [0, 1].map((i) => h(`span.pa-mb-dot.pa-mb-dot-${i}`));
    const zone = first < 0 ? [] : [h("div.pa-mb-zone", { style: { left: `${(100 * first) / n}%` } }, h("span", {}, "longer than any in training"))];
    const box = h("div.pa-mb-box", { role: "img" }, ...zone, ...TICKS.map((t) => h("span.pa-mb-y", { style: { bottom: `${t}%` } }, h("span", {}, String(t)))),
      svg, at, ...dots, ...bands.map((b, i) => h("span.pa-mb-x", { style: { left: `${across(i, n)}%` } }, said(b))));
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
      at.style.left = `${across(i, n)}%`;
      dots.forEach((dot, j) => Object.assign(dot.style, { left: `${across(i, n)}%`, bottom: `${shown[j].bleu[i]}%` }));
      vectorName.textContent = `one vector of width ${shown[1].width}`;
      box.setAttribute("aria-label", bands.map((b, j) => `${said(b)} words: attention ${score(shown[0].bleu[j])}, one vector ${score(shown[1].bleu[j])}`).join("; "));
      facts(readers, chosen, i).forEach((text, j) => (values[j].textContent = text));
      result.say(describe(bands, trained, readers, chosen, i));
      Object.assign(el.dataset, { weights: JSON.stringify(shown.map((r) => r.bleu)), width: shown[1].width, band: said(bands[i]) });
    }

    draw();
    const stop = watch(model, ["width", "length"], draw);
    return () => [stop, result.stop].forEach((f) => f());
  },
};
