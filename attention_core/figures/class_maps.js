// Class maps: one image, two classes to ask for, and what several methods make of the question.

import { fixed, h, percent, section, sentence, watch } from "./kit.js";
import { mapLegend, mapPanel, mapReader, patchMap } from "./maps.js";
import { largest } from "./shades.js";

/** @typedef {import("./kit.js").Model} Model */
/** @typedef {{title: string, signed: boolean, blind: boolean}} Method */
/** @typedef {{own: (number | null)[], other: (number | null)[], blank: boolean[], difference: number, correlation: number}} Facts pairs are asked for A, for B */

const LETTERS = ["A", "B"], WHERE = "Where the maps lie: shares of what is positive", EVEN = "A map spread evenly", KEY = ["on what is asked for", "on the other", "on neither"];
/** @type {[string, string]} */
const ENDS = ["against", "for it"];

/** The sentence of result; Python writes the same one into the static picture. `raw`: the method is what stands beside it.
 * @param {Method} method @param {Facts} facts @param {number} answer @param {string[]} names @param {boolean} raw */
export function describe(method, facts, answer, names, raw) {
  const other = `${LETTERS[1 - answer]}, the ${names[1 - answer]}`;
  const changed = facts.difference === 0
    ? `gives the same map, difference 0${method.blind ? ": it has no argument for the class" : ""}.`
    : `gives another map: the two correlate by ${fixed(facts.correlation)}.`;
  return [where(method, facts, answer, names), `Asked for ${other}, ${method.title} ${changed}`, raw ? "" : "Raw attention, beside it, is the same for both."];
}

/** @param {Method} method @param {Facts} facts @param {number} answer @param {string[]} names */
function where(method, facts, answer, names) {
  const asked = `Asked for ${LETTERS[answer]}, the ${names[answer]}`, [own, other] = [facts.own[answer], facts.other[answer]];
  if (facts.blank[answer]) return `${asked}, the map is 0 everywhere: nothing here spoke for it.`;
  if (own === null || other === null) return `${asked}: ${method.title}.`;
  return `${asked}: ${percent(own)} of ${method.signed ? "the map's positive part" : "the map"} lies on it, ${percent(other)} on the ${names[1 - answer]}.`;
}

/** On the object asked for, on the other, on neither; null where that is not known or nothing is there.
 * @param {Facts} facts @param {number} answer */
export function shares(facts, answer) {
  const [own, other] = [facts.own[answer], facts.other[answer]];
  return own === null || other === null || facts.blank[answer] ? null : [own, other, Math.max(1 - own - other, 0)];
}

/** Above the picture, the map, and raw attention. @param {Method} method @param {Method} raw @param {number} answer @param {string[]} names */
export const captions = (method, raw, answer, names) => [
  `The picture. ${LETTERS.map((letter, i) => `${letter}: ${names[i]}`).join(", ")}`, `${method.title}, asked for ${LETTERS[answer]}`, `${raw.title}, last layer`,
];

/** The upper left corner of the first patch that an object touches, in per cent. @param {boolean[]} line @param {number} rows @param {number} columns */
export function spot(line, rows, columns) {
  const at = line.indexOf(true);
  return [(100 * Math.floor(at / columns)) / rows, (100 * (at % columns)) / columns];
}

export default {
  /** @param {{model: Model, el: HTMLElement}} view */
  render({ model, el }) {
    const { height, width, rows, columns } = model.get("shape"), pixels = /** @type {DataView} */ (model.get("pixels"));
    /** @type {Method[]} */
    const methods = model.get("methods"), patches = rows * columns, raw = methods.length - 1, read = mapReader(model.get("frames"), model.get("tops"), patches);
    const result = sentence(), detail = h("div.pa-cm-bars");
    const panels = ["The picture", "The map", methods[raw].title].map((label, i) => {
      const map = patchMap({ rows, columns, label }), caption = new Text(), scale = mapLegend(), over = h("div", { "aria-hidden": "true" });
      return { map, caption, scale, over, el: mapPanel(caption, map.el, [over], ...(i ? [scale.el] : [])) };
    });
    panels[0].map.el.classList.add("pa-pmplain");
    const shelf = section("detail", WHERE, detail, h("p.pa-key", {}, ...KEY.map((name, i) => h("span", {}, h(`i.pa-cm-${i}`), name))));
    el.replaceChildren(h("div.pa-flow.pa-wide.pa-pmpanels", {}, ...panels.map((p) => p.el)), shelf, result.el);

    /** @param {number} image @param {number} method @param {number} answer */
    const mapOf = (image, method, answer) => read((image * methods.length + method) * 2 + answer);

    function draw() {
      const [image, chosen, answer] = ["image", "method", "answer"].map((name) => model.get(name));
      /** @type {boolean[][]} */
      const lines = model.get("outlines")[image], known = lines.every((line) => line.length), names = model.get("names")[image];
      /** @type {Facts[]} */
      const facts = model.get("facts")[image], method = methods[chosen], titles = captions(method, methods[raw], answer, names);
      const both = known ? lines[0].map((inside, i) => inside || lines[1][i]) : null, asked = known ? lines[answer] : null;
      const values = [Array(patches).fill(0), mapOf(image, chosen, answer), mapOf(image, raw, answer)];
      panels.forEach(({ map, caption, scale }, i) => {
        const { signed } = [methods[raw], method, methods[raw]][i];
        caption.data = titles[i];
        map.show(pixels, 3 * height * width * image, height, width);
        map.draw(values[i], { signed, outline: i ? asked : both, says: titles[i] });
        scale.say(largest(values[i]), signed, signed ? ENDS : ["", ""]);
      });
      panels[0].over.replaceChildren(...lines.flatMap((line, i) => {
        if (!line.length) return [];
        const [top, left] = spot(line, rows, columns);
        return [h(`span.pa-cm-badge${i === answer ? ".pa-cm-asked" : ""}`, { style: { top: `${top}%`, left: `${left}%` } }, LETTERS[i])];
      }));
      shelf.hidden = [...facts[chosen].own, ...facts[chosen].other].includes(null);
      detail.replaceChildren(...[chosen, raw, raw + 1].map((m) => bar(methods[m]?.title ?? EVEN, shares(facts[m], answer))));
      result.say(describe(method, facts[chosen], answer, names, method.title === methods[raw].title));
      Object.assign(el.dataset, { weights: JSON.stringify(values[1]), raw: JSON.stringify(values[2]), image, method: method.title, answer, difference: facts[chosen].difference });
    }

    draw();
    const stop = watch(model, ["image", "method", "answer"], draw);
    return () => [stop, result.stop].forEach((f) => f());
  },
};

/** One map's shares, as a bar and in numbers. @param {string} title @param {number[] | null} found */
const bar = (title, found) => h("div.pa-cm-row", {}, h("span", {}, title), h("strong", {}, found ? found.map(percent).join(" · ") : "nothing is positive"),
  h("div.pa-cm-bar", { "aria-hidden": "true" }, ...(found ?? [0, 0, 0]).map((x, i) => h(`i.pa-cm-${i}`, { style: { width: `${100 * x}%` } }))));
