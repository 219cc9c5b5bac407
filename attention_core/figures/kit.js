// The kit every figure shares. Python joins it with a figure's own file into one ES module (see base.py),
// so nothing here may rely on its own address, and names must not clash with a figure's.

/**
 * The part of anywidget's model that figures use.
 * @typedef {object} Model
 * @property {(name: string) => any} get
 * @property {(name: string, value: any) => void} set
 * @property {() => void} save_changes
 * @property {(event: string, callback: () => void) => void} on
 * @property {(event?: string | null, callback?: (() => void) | null) => void} off
 */

/**
 * Make an element: `h("td.pa-cell", {role: "gridcell"}, "0.94")`; SVG tags begin with `svg:`.
 * @param {string} tag @param {Record<string, any>} [attributes] @param {...(Node | string)} children
 * @returns {any}
 */
export function h(tag, attributes = {}, ...children) {
  const [name, ...classes] = tag.split(".");
  const made = name.startsWith("svg:")
    ? document.createElementNS("http://www.w3.org/2000/svg", name.slice(4))
    : document.createElement(name);
  if (classes.length) made.setAttribute("class", classes.join(" "));
  for (const [key, value] of Object.entries(attributes)) {
    if (key === "style") for (const [k, v] of Object.entries(value)) made.style.setProperty(k, v);
    else if (value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children);
  return made;
}

/** Colour of a weight in [0, 1]. The stops are CSS variables, so the theme can change without JavaScript.
 * @param {number} t */
export function ramp(t) {
  const x = 10 * Math.min(Math.max(t, 0), 1), i = Math.min(Math.floor(x), 9);
  return `color-mix(in oklab, var(--pa-s${i + 1}) ${+(100 * (x - i)).toFixed(2)}%, var(--pa-s${i}))`;
}

/** Ink that can be read on `ramp(t)`; it flips at 0.64 in the light theme and at 0.44 in the dark one.
 * @param {number} t */
export const ink = (t) => `var(--pa-ink-${t < 0.44 ? "low" : t < 0.64 ? "mid" : "high"})`;

/** @param {HTMLElement} element @param {number} t */
export function paint(element, t) {
  element.style.background = ramp(t);
  element.style.color = ink(t);
}

/** A number with a true minus, never minus zero. @param {number} x @param {number} [digits] */
export function fixed(x, digits = 2) {
  const text = x.toFixed(digits);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
}

/** Three figures at most, no trailing zeros: 0.0625, 1.09, 16. @param {number} x @param {number} [digits] */
export const tidy = (x, digits = 3) => String(Number(x.toPrecision(digits))).replace("-", "−");

/** The space before the sign does not break. @param {number} x */
export const percent = (x) => `${Math.floor(100 * x + 0.5)}\u00a0%`;

/** @param {ArrayLike<number>} values */
export const argmax = (values) => Array.from(values).reduce((best, v, i, all) => (v > all[best] ? i : best), 0);

/** Powers of `base` from low to high. @param {number} low @param {number} high @param {number} [base] */
export function logTicks(low, high, base = 10) {
  const of = (/** @type {number} */ x) => Math.log(x) / Math.log(base), slack = 1e-9;
  const first = Math.ceil(of(low) - slack), last = Math.floor(of(high) + slack);
  return Array.from({ length: last - first + 1 }, (_, i) => base ** (first + i));
}

/**
 * The sentence of result. What is seen changes at once; what is spoken waits for 250 ms of quiet,
 * and says nothing while the figure plays.
 */
export function sentence() {
  const seen = h("p.pa-sentence"), spoken = h("p.pa-spoken", { role: "status", "aria-live": "polite" });
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer, first = true;
  return {
    el: h("div.pa-result", {}, seen, spoken),
    /** @param {string[]} parts the claim, then what qualifies it @param {boolean} [playing] */
    say([lead, ...rest], playing = false) {
      seen.replaceChildren(h("strong", {}, lead), " " + rest.filter(Boolean).join(" "));
      clearTimeout(timer);
      if (!playing && !first) timer = setTimeout(() => (spoken.textContent = seen.textContent), 250);
      first = false; // nobody asked for the first picture to be read out
    },
    stop: () => clearTimeout(timer),
  };
}

/**
 * One tab stop for a grid of elements; arrows, Home and End move inside it.
 * @param {HTMLElement} root @param {() => HTMLElement[][]} rows
 */
export function rove(root, rows) {
  const settle = (/** @type {HTMLElement} */ stop) => {
    for (const item of rows().flat()) item.tabIndex = item === stop ? 0 : -1;
  };
  settle(rows()[0][0]);
  root.addEventListener("focusin", (e) => settle(/** @type {HTMLElement} */ (e.target)));
  root.addEventListener("keydown", (e) => {
    const grid = rows(), r = grid.findIndex((row) => row.includes(/** @type {HTMLElement} */ (e.target)));
    if (r < 0) return;
    const c = grid[r].indexOf(/** @type {HTMLElement} */ (e.target)), end = grid[r].length - 1;
    /** @type {Record<string, [number, number]>} */
    const moves = { ArrowUp: [r - 1, c], ArrowDown: [r + 1, c], ArrowLeft: [r, c - 1], ArrowRight: [r, c + 1], Home: [r, 0], End: [r, end] };
    if (!moves[e.key]) return;
    e.preventDefault();
    const row = grid[Math.min(Math.max(moves[e.key][0], 0), grid.length - 1)];
    row[Math.min(Math.max(moves[e.key][1], 0), row.length - 1)].focus();
  });
}

/**
 * Hover or focus previews, click or Enter locks, Escape (anywhere on the page) unlocks.
 * Elements say what they stand for in `data-pick`. Returns the pick to show, and what clears it.
 * @param {HTMLElement} root @param {() => void} redraw
 */
export function picker(root, redraw) {
  /** @type {string | null} */ let preview = null;
  /** @type {string | null} */ let lock = null;
  const pickOf = (/** @type {Event} */ e) => {
    const found = /** @type {Element} */ (e.target).closest("[data-pick]");
    return found ? found.getAttribute("data-pick") : null;
  };
  const look = (/** @type {string | null} */ pick) => {
    if (pick !== preview) { preview = pick; redraw(); }
  };
  const toggle = (/** @type {string | null} */ pick) => {
    if (pick !== null) { lock = lock === pick ? null : pick; redraw(); }
  };
  const escape = (/** @type {KeyboardEvent} */ e) => {
    if (e.key === "Escape" && (lock ?? preview) !== null) { lock = preview = null; redraw(); }
  };
  root.addEventListener("pointerover", (e) => look(pickOf(e)));
  root.addEventListener("pointerleave", () => look(null));
  root.addEventListener("focusin", (e) => look(pickOf(e)));
  root.addEventListener("focusout", () => look(null));
  root.addEventListener("click", (e) => toggle(pickOf(e)));
  root.addEventListener("keydown", (e) => {
    if (e.key !== "Enter" && e.key !== " ") return;
    e.preventDefault(); // a chip is a button and would click as well
    toggle(pickOf(e));
  });
  document.addEventListener("keydown", escape);
  return {
    get pick() { return lock ?? preview; },
    get locked() { return lock; },
    clear() { lock = preview = null; },
    stop: () => document.removeEventListener("keydown", escape),
  };
}

/**
 * A matrix as a grid with one tab stop. Rows beyond `written` are not known yet and stay empty; a `causal` one has no
 * cell above its diagonal.
 * @param {{label: string, rows: string[], columns: string[], causal?: boolean}} spec
 */
export function matrix({ label, rows, columns, causal = false }) {
  const head = h("tr", { role: "row" }, h("td.pa-corner", { role: "presentation" }), ...columns.map((name) => h("th.pa-colhead", { role: "columnheader", scope: "col" }, name)));
  const cells = rows.map((_, r) => columns.slice(0, causal ? r + 1 : undefined).map((_, c) => h("td.pa-cell", { role: "gridcell", "data-pick": `${r},${c}` })));
  const lines = rows.map((name, r) => h("tr", { role: "row" }, h("th.pa-rowhead", { role: "rowheader", scope: "row" }, name), ...cells[r]));
  const table = h("table.pa-grid", { role: "grid", "aria-label": label, style: { "--columns": columns.length } }, h("thead", { role: "rowgroup" }, head), h("tbody", { role: "rowgroup" }, ...lines));
  rove(table, () => cells);
  return {
    el: h("div.pa-scroll", {}, table),
    /** @param {number[][]} weights @param {{written: number, current: number, locked: string | null}} state */
    draw(weights, { written, current, locked }) {
      lines.forEach((line, r) => {
        line.classList.toggle("pa-current", r === current);
        cells[r].forEach((cell, c) => {
          const known = r < written;
          cell.classList.toggle("pa-unwritten", !known);
          cell.textContent = known ? fixed(weights[r][c]) : "·";
          if (known) paint(cell, weights[r][c]);
          else cell.removeAttribute("style");
          cell.setAttribute("aria-selected", String(locked === `${r},${c}`));
        });
      });
    },
  };
}

/** A caption over its content. @param {string} area @param {string} caption @param {...Node} content */
export const section = (area, caption, ...content) => h(`div.pa-${area}`, {}, h("p.pa-caption", {}, caption), ...content);

/** Redraw when any of these change, and stop when the view goes.
 * @param {Model} model @param {string[]} names @param {() => void} draw */
export function watch(model, names, draw) {
  for (const name of names) model.on(`change:${name}`, draw);
  return () => { for (const name of names) model.off(`change:${name}`, draw); };
}
