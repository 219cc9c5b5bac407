// Levels of a matrix as one SVG path a shade. Python joins this file with a figure's own (see base.py);
// maps.py draws the same without JavaScript.

/** @typedef {{signed?: boolean, top?: number, dropped?: ArrayLike<any> | null, outline?: ArrayLike<any> | null}} Look */

const STEPS = 20, BARRED = 3; // shades of one hue; from which on a negative patch carries its minus

/** The largest absolute value, to which colours are scaled. @param {ArrayLike<number>} values */
export const largest = (values) => Array.from(values).reduce((most, v) => Math.max(most, Math.abs(v)), 0);

/** What is drawn over the picture: class, SVG path and opacity. A unit of length is a patch, a path all of one level;
 * strokes are half a unit low, so that a patch is `M2 3h1`, and neighbours of one level are one stroke.
 * @param {ArrayLike<number>} values row by row @param {number} columns @param {Look} look @returns {[string, string, number][]} */
export function layers(values, columns, { signed = false, top = largest(values), dropped = null, outline = null } = {}) {
  /** @type {Map<string, string>} */
  const paths = new Map();
  const add = (/** @type {string} */ name, /** @type {string} */ d) => paths.set(name, (paths.get(name) ?? "") + d);
  const level = (/** @type {number} */ at) => (top > 0 ? Math.min(Math.floor((Math.abs(values[at]) / top) * STEPS + 0.5), STEPS) : 0);
  const named = (/** @type {number} */ at) => {
    if (dropped?.[at]) return "gone";
    if (!level(at) || (!signed && values[at] < 0)) return "";
    return `${signed ? (values[at] < 0 ? "neg" : "pos") : "t"} ${level(at)}`;
  };
  for (let at = 0, from = 0; at < values.length; at++) {
    const name = named(at), row = Math.floor(at / columns);
    if (name === "gone") add("hatch", `M${at % columns} ${row}.5l1 -1`);
    if (name.startsWith("neg") && level(at) >= BARRED) add(level(at) < STEPS / 2 ? "minus" : "minus pa-pmdeep", `M${at % columns}.3 ${row}h.4`);
    if ((at + 1) % columns && named(at + 1) === name) continue;
    if (name) add(name, `M${from % columns} ${row}h${at + 1 - from}`);
    from = at + 1;
  }
  if (outline) paths.set("edge", edges(outline, values.length / columns, columns));
  const last = (/** @type {string} */ name) => ["gone", "hatch", "minus", "minus pa-pmdeep", "edge"].indexOf(name);
  return [...paths].sort(([a], [b]) => last(a) - last(b)).map(([name, d]) => {
    const [kind, step] = name.split(" "), t = Number(step) / STEPS;
    if (!t) return [`pa-pm${name}`, d, 1];
    return [kind === "t" ? `pa-pmt${step}` : `pa-pm${kind}`, d, Number((0.92 * t ** (kind === "t" ? 0.6 : 0.8)).toFixed(2))];
  });
}

/** SVG path round the patches that are inside. @param {ArrayLike<any>} inside @param {number} rows @param {number} columns */
function edges(inside, rows, columns) {
  const is = (/** @type {number} */ r, /** @type {number} */ c) => r >= 0 && c >= 0 && r < rows && c < columns && Boolean(inside[r * columns + c]);
  let d = "";
  for (let r = 0; r <= rows; r++)
    for (let c = 0; c <= columns; c++) {
      if (is(r, c) !== is(r - 1, c)) d += `M${c} ${r - 0.5}h1`;
      if (is(r, c) !== is(r, c - 1)) d += `M${c} ${r - 0.5}v1`;
    }
  return d;
}
