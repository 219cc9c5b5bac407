// One curve a method over the steps of a figure: the chosen one in the accent, the others in grey.
// Python joins this file, after the kit, with a figure's own; step_chart.py draws the same without JavaScript.

import { fixed, h } from "./kit.js";

/** @typedef {{low: number, high: number, marks: number[], xs: number[], ticks: [string, number][], fill?: boolean}} Axes */

/** Place of a value on the vertical axis, in per cent from below. @param {Axes} axes @param {number} y */
export const climb = ({ low, high }, y) => (100 * (y - low)) / (high - low);

/** @param {Axes} axes @param {number[]} ys */
export const course = (axes, ys) => "M" + ys.map((y, i) => `${axes.xs[i].toFixed(2)} ${(100 - climb(axes, y)).toFixed(2)}`).join("L");

/** What the chart says to the ear. @param {string} label @param {string} title @param {number[]} ys @param {number} at */
export const heard = (label, title, ys, at) => `${label}. ${title}: ${fixed(ys[0])} at first, ${fixed(ys[at])} here, ${fixed(ys[ys.length - 1])} at the end`;

/** `dashed` are the curves of baselines. @param {Axes} axes @param {string[]} titles @param {boolean[]} dashed */
export function stepChart(axes, titles, dashed) {
  const lines = titles.map(() => h("svg:path")), area = h("svg:path.pa-sc-area");
  const svg = h("svg:svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" });
  const dot = h("span.pa-sc-dot"), at = h("span.pa-sc-at");
  const marks = axes.marks.map((mark) => h("span.pa-sc-y", { style: { bottom: `${climb(axes, mark)}%` } }, h("span", {}, fixed(mark, 1))));
  const ticks = axes.ticks.map(([text, x]) => h("span.pa-sc-x", { style: { left: `${x}%` } }, text));
  const box = h("div.pa-sc-box", { role: "img" }, ...marks, at, svg, dot, ...ticks);
  const key = h("p.pa-key.pa-sc-key");
  return {
    el: h("div", {}, box, key),
    /** @param {string} label @param {number[][]} curves @param {number} mine @param {number} step */
    draw(label, curves, mine, step) {
      const kinds = dashed.map((base, i) => (i === mine ? "on" : base ? "base" : "off"));
      lines.forEach((line, i) => {
        line.setAttribute("d", course(axes, curves[i]));
        line.setAttribute("class", `pa-sc-${kinds[i]}`);
      });
      area.setAttribute("d", axes.fill ? `${course(axes, curves[mine])}V100H${axes.xs[0]}Z` : "");
      svg.replaceChildren(area, ...lines.filter((_, i) => i !== mine), lines[mine]);
      dot.style.left = at.style.left = `${axes.xs[step]}%`;
      dot.style.bottom = `${climb(axes, curves[mine][step])}%`;
      const names = /** @type {const} */ ([["on", titles[mine]], ["off", "other methods"], ["base", "baselines"]]).filter(([kind]) => kinds.includes(kind));
      key.replaceChildren(...names.map(([kind, name]) => h("span", {}, h(`i.pa-sc-${kind}`), name)));
      box.setAttribute("aria-label", heard(label, titles[mine], curves[mine], step));
    },
  };
}
