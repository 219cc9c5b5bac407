// Pixel attention: a picture to choose a pixel in, and where that pixel attends under two filters.

import { fixed, h, percent, ramp, section, sentence, tidy, watch } from "./kit.js";

/** @typedef {import("./kit.js").Model} Model */
/** @typedef {{rows: number, columns: number, filter: number, width: number, reach: number}} Setting */
/** @typedef {{noisy: number, mean: number, truth: number, own: number, itself: number, half: number}} Facts */

const PATCH = 7, MARGIN = 3, LEVELS = 64, ALIKE = 0.1;
const STATE = /** @type {const} */ (["filter", "width", "noise"]);

/** A Gaussian over the patch, of deviation 1.5 pixels; sums to 1. */
const IMPORTANCE = (() => {
  const bell = Array.from({ length: PATCH }, (_, i) => Math.exp((-8 * (i - MARGIN) ** 2) / (PATCH - 1) ** 2));
  const sum = bell.reduce((a, b) => a + b, 0);
  return bell.flatMap((a) => bell.map((b) => (a * b) / sum ** 2));
})();

/** A place beyond a border is its mirror image. @param {number} i @param {number} n */
const mirror = (i, n) => (i < 0 ? -i : i >= n ? 2 * n - 2 - i : i);

/** What surrounds a pixel. @param {number[]} image @param {Setting} setting @param {number} row @param {number} column */
function patch(image, { rows, columns }, row, column) {
  const around = [];
  for (let i = -MARGIN; i <= MARGIN; i++)
    for (let j = -MARGIN; j <= MARGIN; j++) around.push(image[mirror(row + i, rows) * columns + mirror(column + j, columns)]);
  return around;
}

/** Weights of one pixel over all. Its distance to itself is 0, so the softmax needs no maximum taken away.
 * @param {number[]} image @param {Setting} setting @param {number[]} pixel */
export function weigh(image, setting, [row, column]) {
  const { columns, filter, width, reach } = setting, own = patch(image, setting, row, column), here = image[row * columns + column];
  const powers = image.map((v, at) => {
    const r = Math.floor(at / columns), c = at % columns;
    if (!filter) return Math.exp(-((row - r) ** 2 + (column - c) ** 2) / (2 * reach ** 2) - (here - v) ** 2 / (2 * width ** 2));
    return Math.exp(-patch(image, setting, r, c).reduce((sum, x, i) => sum + IMPORTANCE[i] * (x - own[i]) ** 2, 0) / width ** 2);
  });
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((p) => p / sum);
}

/** @param {number[]} weights @param {number[]} noisy @param {number[]} truth @param {number} at @returns {Facts} */
export function measure(weights, noisy, truth, at) {
  let half = 0, held = 0;
  for (const w of [...weights].sort((a, b) => b - a)) {
    held += w;
    half += 1;
    if (held >= 0.5 - 1e-9) break;
  }
  const sum = (/** @type {(w: number, i: number) => number} */ f) => weights.reduce((total, w, i) => total + f(w, i), 0);
  const mean = sum((w, i) => w * noisy[i]), own = sum((w, i) => (Math.abs(truth[i] - truth[at]) <= ALIKE ? w : 0));
  return { noisy: noisy[at], mean, truth: truth[at], own, itself: weights[at], half };
}

/** @param {Facts} facts @param {number} filter @param {number} width */
function remark({ noisy, truth, own, itself }, filter, width) {
  const moved = Math.abs(noisy - truth);
  if (itself > 0.5) return `It attends mostly to itself: within ${tidy(width)} hardly any other ${filter ? "patch" : "pixel"} is alike.`;
  if (own >= 0.95) return filter ? `${PATCH ** 2} pixels together say which shade this is.` : "Brightness and place were enough here.";
  if (!filter && moved >= width) return `All it knows of itself is one brightness, and noise has moved that by ${fixed(moved)}.`;
  return `Within ${tidy(width)}, ${filter ? "patches" : "pixels"} of another shade count as alike too.`;
}

/** The sentence of result; Python writes the same one into the static picture.
 * @param {Facts} facts @param {number} filter @param {number} width @param {number[]} pixel */
export function describe(facts, filter, width, [row, column]) {
  const on = facts.half === 1 ? "a single pixel" : `${facts.half} pixels`;
  return [
    `Row ${row}, column ${column} puts ${percent(facts.own)} of its weight on pixels of its own true shade.`,
    `Half of all weight is on ${on}, and the mean is ${fixed(facts.mean)}; with its noise the pixel was ${fixed(facts.noisy)}, in truth it is ${fixed(facts.truth)}.`,
    remark(facts, filter, width),
  ];
}

/** What stands in the tiles: name, value, and the grey to show.
 * @param {Facts} facts @returns {[string, string, number | null][]} */
export const listed = ({ noisy, mean, truth, own, itself, half }) => [
  ["with its noise", fixed(noisy), noisy], ["after the filter", fixed(mean), mean], ["in truth", fixed(truth), truth],
  ["weight on own shade", percent(own), null], ["weight on itself", percent(itself), null], ["pixels with half of it", String(half), null],
];

/** @param {number} filter @param {number} reach */
export const note = (filter, reach) => (filter ? `Compared: the ${PATCH} × ${PATCH} patch in the frame. Place does not count.` : `Compared: one brightness, and place (circle: twice the reach of ${tidy(reach)} pixels).`);

/** SVG paths by shade; the square root lets small weights be told apart. @param {number[]} weights @param {number} columns */
export function shades(weights, columns) {
  const top = Math.max(...weights);
  /** @type {string[]} */
  const paths = Array(LEVELS + 1).fill("");
  weights.forEach((w, at) => (paths[Math.round(Math.sqrt(w / top) * LEVELS)] += `M${at % columns} ${Math.floor(at / columns)}h1v1h-1z`));
  return paths;
}

/** SVG path between pixels that are in truth as bright as this one, and those that are not.
 * @param {number[]} truth @param {Setting} setting @param {number} at */
export function edges(truth, { rows, columns }, at) {
  const inside = truth.map((v) => Math.abs(v - truth[at]) <= ALIKE);
  let across = "", down = "";
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) {
      const k = i * columns + j;
      if (i + 1 < rows && inside[k] !== inside[k + columns]) across += `M${j} ${i + 1}h1`;
      if (j + 1 < columns && inside[k] !== inside[k + 1]) down += `M${j + 1} ${i}v1`;
    }
  return across + down;
}

/** @param {number} x */
const level = (x) => Math.round(255 * Math.min(Math.max(x, 0), 1));

export default {
  /** @param {{model: Model, el: HTMLElement}} view */
  render({ model, el }) {
    const [rows, columns, reach] = ["rows", "columns", "reach"].map((name) => model.get(name)), home = model.get("pixel");
    const [truth, pattern] = ["picture", "pattern"].map((name) => Array.from({ length: rows * columns }, (_, i) => /** @type {DataView} */ (model.get(name)).getFloat32(4 * i, true)));
    /** @type {number[] | null} */ let preview = null;
    /** @type {number[]} */ let noisy = [];
    const canvas = h("canvas", { role: "img", width: columns, height: rows, "aria-label": `The picture with noise, ${rows} by ${columns} pixels` });
    const scope = h("span"), marks = [h("span.pa-pxmark"), h("span.pa-pxmark")], shape = { style: { "aspect-ratio": `${columns} / ${rows}` } };
    const box = h("div.pa-pxboard.pa-pxpick", { ...shape, tabindex: 0, role: "group", "aria-label": "Pixels: the arrow keys move to another, Escape goes back to the first" }, canvas, h("div.pa-pxclip", {}, scope), marks[0]);
    const paths = Array.from({ length: LEVELS }, (_, i) => h("svg:path", { style: { fill: ramp((i + 1) / LEVELS) } })), edge = h("svg:path.pa-pxedge");
    const map = h("svg:svg", { viewBox: `0 0 ${columns} ${rows}`, role: "img", "aria-label": "Map of the weights" }, ...paths, edge);
    const compared = h("p.pa-caption.pa-pxnote"), most = h("em"), result = sentence();
    const tiles = Array.from({ length: 6 }, (_, i) => ({ name: h("span"), swatch: i < 3 ? [h("i.pa-pxswatch", { "aria-hidden": "true" })] : [], value: new Text() }));
    el.replaceChildren(
      section("flow", "The noisy picture: choose a pixel", box, compared),
      section("matrix", "Its weights over all pixels", h("div.pa-pxboard.pa-pxmap", shape, map, marks[1]), h("div.pa-legend", { "aria-hidden": "true" }, "0", h("span"), most),
        h("p.pa-caption.pa-pxnote", {}, "Lines: borders of its own true shade.")),
      section("detail", "What becomes of the pixel", h("div.pa-tiles", {}, ...tiles.map(({ name, swatch, value }) => h("div.pa-tile", {}, name, h("strong", {}, ...swatch, value))))), result.el);

    /** @param {HTMLElement} element @param {number[]} pixel @param {number} size */
    const place = (element, [row, column], size) => Object.assign(element.style, { top: `${(100 * (row + 0.5 - size / 2)) / rows}%`, left: `${(100 * (column + 0.5 - size / 2)) / columns}%`, width: `${(100 * size) / columns}%`, height: `${(100 * size) / rows}%` });

    function grey() {
      noisy = truth.map((v, i) => v + model.get("noise") * pattern[i]);
      const pixels = new ImageData(columns, rows);
      noisy.forEach((v, i) => pixels.data.set([level(v), level(v), level(v), 255], 4 * i));
      canvas.getContext("2d")?.putImageData(pixels, 0, 0);
      draw();
    }

    function draw() {
      const pixel = preview ?? model.get("pixel"), [row, column] = pixel, at = row * columns + column, [filter, width, noise] = STATE.map((name) => model.get(name));
      const setting = { rows, columns, filter, width, reach }, exact = model.get("exact"), now = [filter, width, noise, row, column];
      const weights = now.every((x, i) => x === exact.state[i]) ? noisy.map((_, i) => exact.weights.getFloat64(8 * i, true)) : weigh(noisy, setting, pixel);
      const facts = measure(weights, noisy, truth, at), said = describe(facts, filter, width, pixel);
      marks.forEach((mark) => place(mark, pixel, 1));
      place(scope, pixel, filter ? PATCH : 4 * reach);
      scope.className = filter ? "pa-pxscope" : "pa-pxscope pa-pxround";
      shades(weights, columns).slice(1).forEach((d, i) => paths[i].setAttribute("d", d));
      edge.setAttribute("d", edges(truth, setting, at));
      compared.textContent = note(filter, reach);
      most.textContent = `${tidy(Math.max(...weights), 2)}, square-root scale`;
      listed(facts).forEach(([name, text, shade], i) => {
        tiles[i].name.textContent = name;
        tiles[i].value.data = text;
        if (shade !== null) tiles[i].swatch[0].style.background = `rgb(${level(shade)}, ${level(shade)}, ${level(shade)})`;
      });
      result.say(said);
      Object.assign(el.dataset, { weights: JSON.stringify(weights), filter, width, noise, row, column, ...facts });
    }

    /** @param {number[] | null} pixel */
    function look(pixel) {
      if (String(pixel) === String(preview)) return;
      preview = pixel;
      draw();
    }

    /** @param {number[]} pixel */
    function keep(pixel) {
      preview = null;
      model.set("pixel", pixel);
      model.save_changes();
      draw();
    }

    const on = (/** @type {number} */ i, /** @type {number} */ n) => Math.min(Math.max(i, 0), n - 1);
    const under = (/** @type {MouseEvent} */ e) => {
      const r = box.getBoundingClientRect();
      return [on(Math.floor(((e.clientY - r.top) * rows) / r.height), rows), on(Math.floor(((e.clientX - r.left) * columns) / r.width), columns)];
    };
    box.addEventListener("pointermove", (/** @type {PointerEvent} */ e) => look(under(e)));
    for (const end of ["pointerleave", "pointercancel"]) box.addEventListener(end, () => look(null));
    box.addEventListener("click", (/** @type {MouseEvent} */ e) => keep(under(e)));
    box.addEventListener("keydown", (/** @type {KeyboardEvent} */ e) => {
      const [r, c] = preview ?? model.get("pixel");
      /** @type {Record<string, number[]>} */
      const moves = { ArrowUp: [r - 1, c], ArrowDown: [r + 1, c], ArrowLeft: [r, c - 1], ArrowRight: [r, c + 1], Home: [r, 0], End: [r, columns], PageUp: [0, c], PageDown: [rows, c], Enter: [r, c], " ": [r, c] };
      if (!moves[e.key]) return;
      e.preventDefault();
      keep([on(moves[e.key][0], rows), on(moves[e.key][1], columns)]);
    });
    const escape = (/** @type {KeyboardEvent} */ e) => { if (e.key === "Escape" && (preview || String(model.get("pixel")) !== String(home))) keep(home); };
    document.addEventListener("keydown", escape);

    grey();
    const stops = [watch(model, ["noise"], grey), watch(model, ["filter", "width", "pixel", "exact"], draw)];
    return () => [...stops, result.stop, () => document.removeEventListener("keydown", escape)].forEach((stop) => stop());
  },
};
