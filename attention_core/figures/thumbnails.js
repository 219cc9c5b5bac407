// Small maps to choose among. Python joins this file, after shades.js, with a figure's own; maps.py draws the same.

import { h, rove } from "./kit.js";
import { layers } from "./shades.js";

/** @typedef {import("./shades.js").Look} Look */

/**
 * Small maps in a grid, each to its own scale, of which one is chosen: one tab stop, arrows move, Enter or a click chooses.
 * @param {{rows: number, columns: number, label: string, down: string[], across: string[], name: (i: number, j: number) => string, pick: (i: number, j: number) => void}} spec
 */
export function thumbnails({ rows, columns, label, down, across, name, pick }) {
  const inks = down.map(() => across.map(() => h("svg:g", { transform: "translate(0 .5)" })));
  const cells = inks.map((line, i) => line.map((ink, j) => h("button.pa-pmthumb", { type: "button", "data-at": `${i},${j}`, "aria-label": name(i, j) }, h("svg:svg", { viewBox: `0 0 ${columns} ${rows}`, "aria-hidden": "true" }, ink))));
  const heads = ["", ...across].map((text) => h("span", { "aria-hidden": "true" }, text));
  const el = h("div.pa-pmgrid", { role: "group", "aria-label": label, style: { "--across": across.length } }, ...heads, ...cells.flatMap((line, i) => [h("span", { "aria-hidden": "true" }, down[i]), ...line]));
  rove(el, () => cells);
  el.addEventListener("click", (/** @type {Event} */ e) => {
    const [i, j] = (/** @type {Element} */ (e.target).closest("button")?.getAttribute("data-at") ?? "").split(",").map(Number);
    if (j >= 0) pick(i, j);
  });
  return {
    el, cells,
    /** @param {(i: number, j: number) => ArrayLike<number>} values @param {(i: number, j: number) => boolean} chosen @param {Look} [look] */
    draw(values, chosen, look = {}) {
      cells.forEach((line, i) => line.forEach((cell, j) => {
        inks[i][j].replaceChildren(...layers(values(i, j), columns, look).map(([kind, d, opacity]) => h("svg:path", { class: kind, d, "stroke-opacity": opacity })));
        cell.setAttribute("aria-pressed", String(chosen(i, j)));
      }));
    },
  };
}
