// A picture with a map of patches over it. Python joins this file, after the kit, with a figure's own (see base.py);
// maps.py draws the same without JavaScript.

import { fixed, h, rove, tidy } from "./kit.js";
import { layers } from "./shades.js";

/** @typedef {import("./shades.js").Look} Look */
/** @typedef {Look & {marks?: number[], says?: string, name?: (at: number) => string}} Drawing */

/** Reads map number `i` out of what `patch_scenes.sixteen_bit` packs. @param {DataView} frames @param {number[]} tops @param {number} patches */
export const mapReader = (frames, tops, patches) => (/** @type {number} */ i) => Array.from({ length: patches }, (_, k) => {
  const at = i * patches + k, step = frames.getUint8(at) + 256 * frames.getInt8(frames.byteLength / 2 + at);
  return (step / 32767) * tops[i];
});

/** A map in words; one that is 0 everywhere has none, and is only what its label says. @param {string} label @param {ArrayLike<number>} values @param {number} columns @param {boolean} [signed] */
export function alternative(label, values, columns, signed = false) {
  const all = Array.from(values);
  if (!all.some(Boolean)) return `${label}.`;
  const at = all.indexOf(Math.max(...all)), low = all.indexOf(Math.min(...all));
  const where = (/** @type {number} */ i) => `${fixed(all[i], 3)} in row ${Math.floor(i / columns) + 1}, column ${(i % columns) + 1}`;
  return `${label}: ${all.length / columns} by ${columns} patches. Largest ${where(at)}${signed && all[low] < 0 ? `, lowest ${where(low)}` : ""}.`;
}

/**
 * A picture (or, `bare`, the card's surface) with a map over it. With `pick` each patch is a button: one tab stop, arrows
 * move, and `pick(patch, how)` hears "look" (pointer or focus is on it; null: on none) and "keep" (clicked, Enter).
 * @param {{rows: number, columns: number, label: string, bare?: boolean, pick?: (at: number | null, how: "look" | "keep") => void}} spec
 */
export function patchMap({ rows, columns, label, bare = false, pick }) {
  const canvas = h("canvas", { "aria-hidden": "true" }), ink = h("svg:g", { transform: "translate(0 .5)" });
  const svg = h("svg:svg", { viewBox: `0 0 ${columns} ${rows}`, preserveAspectRatio: "none", ...(pick ? { "aria-hidden": "true" } : { role: "img", "aria-label": label }) }, ink);
  const frames = h("div.pa-pmframes", { "aria-hidden": "true" });
  const box = h(`div.pa-pm${bare ? ".pa-pmbare" : ""}`, { style: { "aspect-ratio": `${columns} / ${rows}` } }, ...(bare ? [] : [canvas]), svg, frames);
  /** @type {any[]} */
  const cells = pick ? Array.from({ length: rows * columns }, (_, at) => h("button.pa-pmpatch", { type: "button", "data-patch": at })) : [];
  if (pick) {
    const group = h("div.pa-pmpatches", { role: "group", "aria-label": label, style: { "grid-template": `repeat(${rows}, 1fr) / repeat(${columns}, 1fr)` } }, ...cells);
    rove(group, () => Array.from({ length: rows }, (_, r) => cells.slice(r * columns, (r + 1) * columns)));
    const of = (/** @type {Event} */ e) => cells.indexOf(/** @type {Element} */ (e.target).closest("button"));
    const on = (/** @type {string[]} */ events, /** @type {(e: Event) => void} */ act) => events.forEach((event) => group.addEventListener(event, act));
    on(["pointerover", "focusin"], (e) => { if (of(e) >= 0) pick(of(e), "look"); });
    on(["pointerleave", "focusout"], () => pick(null, "look"));
    on(["click"], (e) => { if (of(e) >= 0) pick(of(e), "keep"); });
    box.append(group);
  }
  return {
    el: box, cells,
    /** @param {DataView} bytes red, green, blue; @param {number} from first byte @param {number} height @param {number} width */
    show(bytes, from, height, width) {
      const pixels = new ImageData(width, height);
      for (let i = 0; i < width * height; i++) pixels.data.set([0, 1, 2].map((c) => bytes.getUint8(from + 3 * i + c)).concat(255), 4 * i);
      Object.assign(canvas, { width, height });
      canvas.getContext("2d")?.putImageData(pixels, 0, 0);
      box.style.aspectRatio = `${width} / ${height}`;
    },
    /** @param {ArrayLike<number>} values @param {Drawing} [drawing] */
    draw(values, { marks = [], says = label, name, ...look } = {}) {
      ink.replaceChildren(...layers(values, columns, look).map(([kind, d, opacity]) => h("svg:path", { class: kind, d, "stroke-opacity": opacity })));
      frames.replaceChildren(...marks.map((at) => h("span.pa-pmmark", { style: Object.fromEntries(frame(at, rows, columns)) })));
      if (!pick) svg.setAttribute("aria-label", alternative(says, values, columns, look.signed));
      cells.forEach((cell, at) => {
        cell.setAttribute("aria-label", name?.(at) ?? `row ${Math.floor(at / columns) + 1}, column ${(at % columns) + 1}: ${look.dropped?.[at] ? "removed" : fixed(values[at], 3)}`);
        cell.setAttribute("aria-pressed", String(marks.includes(at)));
      });
    },
  };
}

/** Where a patch lies, in per cent. @param {number} at @param {number} rows @param {number} columns @returns {[string, string][]} */
const frame = (at, rows, columns) => [["top", Math.floor(at / columns) / rows], ["left", (at % columns) / columns], ["width", 1 / columns], ["height", 1 / rows]].map(([side, x]) => [String(side), `${100 * Number(x)}%`]);

/** The scale of a map: `say(top, signed)` sets what its ends mean. */
export function mapLegend() {
  const low = new Text("0"), high = h("em"), el = h("div.pa-legend.pa-pmlegend", { "aria-hidden": "true" }, low, h("span"), high);
  return {
    el,
    /** @param {number} top @param {boolean} [signed] @param {[string, string]} [ends] words beside the two ends */
    say(top, signed = false, ends = ["", ""]) {
      el.classList.toggle("pa-pmsigned", signed);
      low.data = [ends[0], signed ? `−${tidy(top, 2)}` : "0"].filter(Boolean).join(" ");
      high.textContent = [`${signed ? "+" : ""}${tidy(top, 2)}`, ends[1]].filter(Boolean).join(" ");
    },
  };
}

/** A board below its caption, with what lies over it and what stands under it: a column of `pa-pmpanels`.
 * @param {Node} caption @param {Node} shown @param {Node[]} over @param {...Node} below */
export const mapPanel = (caption, shown, over, ...below) => h("div.pa-pmpanel", {}, h("p.pa-caption", {}, caption), h("div.pa-pmover", {}, shown, ...over), ...below);
