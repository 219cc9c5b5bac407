// Faithfulness: an image loses its patches in the order of a map; the probability of its class meanwhile.

import { fixed, h, section, sentence, watch } from "./kit.js";
import { mapLegend, mapPanel, mapReader, patchMap } from "./maps.js";
import { largest } from "./shades.js";
import { stepChart } from "./step_chart.js";

/** @typedef {import("./kit.js").Model} Model */
/** @typedef {{title: string, signed: boolean, baseline: boolean}} Method */
/** @typedef {{gone: number, patches: number, whole: number, left: number, lot: number, area: number, chance: number}} Now patches gone of how many; probabilities with all, with what is left, and by lot; areas */

const NEAR = 0.02, TILES = ["with all patches", "with those left", "area under the curve", "area, order by lot"];

/** The sentence of result; Python writes the same one into the static picture. `random`: the method is the order by lot.
 * @param {string} title @param {string} name @param {Now} now @param {boolean} lowest @param {boolean} random */
export function describe(title, name, now, lowest, random) {
  const first = lead(title, name, now, lowest, random);
  return random ? [first] : [first, now.gone && now.gone < now.patches ? `Without as many drawn by lot it is ${fixed(now.lot)}.` : "", areas(now, lowest)];
}

/** @param {string} title @param {string} name @param {Now} now @param {boolean} lowest @param {boolean} random */
function lead(title, name, { gone, patches, whole, left }, lowest, random) {
  if (gone === 0) return `With all ${patches} patches the probability of ${name} is ${fixed(whole)}.`;
  if (gone === patches) return `Without any patch the probability of ${name} is ${fixed(left)}: there all curves end.`;
  const [before, after] = [fixed(whole), fixed(left)], which = random ? "drawn by lot" : `that ${title} ranks ${lowest ? "lowest" : "highest"}`;
  const went = before === after ? "stays at" : `${left < whole ? "falls" : "rises"} from ${before} to`;
  return `Without the ${gone} of ${patches} patches ${which}, the probability of ${name} ${went} ${after}.`;
}

/** Highest first, a small area is good; lowest first, a large one. @param {Now} now @param {boolean} lowest */
function areas({ area, chance }, lowest) {
  const better = (area - chance) * (lowest ? 1 : -1), said = `The area under the curve is ${fixed(area)}, by lot ${fixed(chance)}: `;
  if (Math.abs(better) < NEAR) return `${said}much the same as chance.`;
  if (better > 0) return said + (lowest ? "what it ranks low can be spared." : "what it ranks high has effect.");
  return said + (lowest ? "low in the map is not low in effect." : "high in the map is not high in effect.");
}

/** @param {Now} now */
export const facts = ({ whole, left, area, chance }) => [whole, left, area, chance].map((x) => fixed(x));

/** Above the map, and above what is left of the picture. @param {string} title @param {Now} now */
export const captions = (title, { gone, patches }) => [title, `Left: ${patches - gone} of ${patches} patches`];

export default {
  /** @param {{model: Model, el: HTMLElement}} view */
  render({ model, el }) {
    const { height, width, rows, columns } = model.get("shape"), patches = rows * columns;
    const [pixels, orders, curves] = ["pixels", "places", "curves"].map((name) => /** @type {DataView} */ (model.get(name)));
    const mapOf = mapReader(model.get("frames"), model.get("tops"), patches);
    /** @type {Method[]} */
    const methods = model.get("methods");
    /** @type {number[]} */
    const counts = model.get("counts");
    const lot = methods.findIndex((m) => m.baseline), result = sentence(); // the first of the baselines is the order by lot
    const [map, left] = ["The map", "What the model sees"].map((label) => patchMap({ rows, columns, label })), scale = mapLegend();
    const titles = [new Text(), new Text()], caption = new Text();
    const chart = stepChart(model.get("axes"), methods.map((m) => m.title), methods.map((m) => m.baseline));
    const values = TILES.map(() => h("strong"));
    const detail = section("detail", "", chart.el, h("div.pa-tiles", {}, ...values.map((value, i) => h("div.pa-tile", {}, h("span", {}, TILES[i]), value))));
    /** @type {Element} */ (detail.firstChild).replaceChildren(caption);
    el.replaceChildren(
      h("div.pa-flow.pa-pmpanels", {}, mapPanel(titles[0], map.el, [], scale.el), mapPanel(titles[1], left.el, [])), detail, result.el);
    left.el.classList.add("pa-pmplain");

    /** @param {number} length @param {(i: number) => number} read */
    const list = (length, read) => Array.from({ length }, (_, i) => read(i));

    function draw() {
      const [image, chosen, order, step] = ["image", "method", "order", "step"].map((name) => model.get(name)), method = methods[chosen];
      const run = (image * 2 + order) * methods.length, name = model.get("names")[image], area = model.get("areas")[image][order];
      const all = methods.map((_, m) => list(counts.length, (i) => curves.getFloat32(4 * ((run + m) * counts.length + i), true)));
      const weights = mapOf(image * methods.length + chosen);
      const dropped = list(patches, (i) => Number(orders.getUint16(2 * ((run + chosen) * patches + i), true) < counts[step]));
      const now = { gone: counts[step], patches, whole: all[chosen][0], left: all[chosen][step], lot: all[lot][step], area: area[chosen], chance: area[lot] };
      const said = captions(method.title, now);
      titles.forEach((title, i) => (title.data = said[i]));
      for (const one of [map, left]) one.show(pixels, 3 * height * width * image, height, width);
      map.draw(weights, { signed: method.signed, outline: dropped, says: said[0] });
      left.draw(Array(patches).fill(0), { dropped, says: said[1] });
      scale.say(largest(weights), method.signed);
      caption.data = `Probability of ${name}, by share of patches gone`;
      chart.draw(caption.data, all, chosen, step);
      facts(now).forEach((text, i) => (values[i].textContent = text));
      result.say(describe(method.title, name, now, order === 1, chosen === lot), model.get("playing"));
      Object.assign(el.dataset, { ...now, weights: JSON.stringify(all), gone: JSON.stringify(dropped), image, method: method.title, order, step });
    }

    draw();
    const stop = watch(model, ["image", "method", "order", "step", "playing"], draw);
    return () => [stop, result.stop].forEach((f) => f());
  },
};
