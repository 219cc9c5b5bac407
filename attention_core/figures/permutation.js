// Permutation: move the words, and see which output vectors move with them and which change.

import { fixed, h, matrix, percent, picker, rove, section, sentence, tidy, watch } from "./kit.js";

/** @typedef {import("./kit.js").Model} Model */
/** @typedef {{weights: number[][], output: number[][], expected: number[][], gaps: number[]}} Compared */

const SAME = 1e-12; // below this, a difference is rounding
const HEADS = ["f(PX)", "P f(X)", "difference"];

/** Two figures, as a power of ten below 0.001. @param {number} x */
export function small(x) {
  if (x === 0 || x >= 0.001) return tidy(x, 2);
  const [digits, exponent] = x.toExponential(1).split("e-");
  return `${digits} × 10⁻${[...exponent].map((i) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(i)]).join("")}`;
}

/** The pair of places whose weight differs most from what the same words had in the first order.
 * @param {number[]} order @param {number[][]} weights @param {number[][]} first */
function moved(order, weights, first) {
  let best = { row: 0, column: 0, old: 0, now: 0, gap: -1 };
  weights.forEach((line, row) => line.forEach((now, column) => {
    const old = first[order[row]][order[column]], gap = Math.abs(now - old);
    if (gap > best.gap) best = { row, column, old, now, gap };
  }));
  return best;
}

/**
 * The sentence of result; Python writes the same one into the static picture. `worst`: the gap over all
 * orders; `at`: a cell of the matrix that the reader has picked.
 * @param {string[]} words @param {number[]} order @param {number[][]} weights @param {number[][]} first
 * @param {number} gap @param {number} worst @param {number[] | null} [at]
 */
export function describe(words, order, weights, first, gap, worst, at = null) {
  const said = order.map((i) => words[i]), count = order.reduce((product, _, i) => product * (i + 1), 1);
  const still = order.every((i, place) => i === place);
  const lead = still ? "Nothing has moved, so f(PX) and P f(X) are the same."
    : gap >= SAME ? `Order matters: f(PX) and P f(X) differ by up to ${small(gap)}.`
      : gap === 0 ? "Only the order changed: f(PX) = P f(X) exactly." : `Only the order changed: f(PX) = P f(X), to ${small(gap)}.`;
  if (at) {
    const [r, c] = at, old = first[order[r]][order[c]];
    return [`“${said[r]}” gives ${r === c ? "itself" : `“${said[c]}”`} ${percent(weights[r][c])} here, and ${percent(old)} in the first order.`, lead];
  }
  if (still) return [lead, "Move a word: will its output vector change, or only its place?"];
  const { row, column, old, now } = moved(order, weights, first), by = Math.abs(now - old);
  const change = by >= 0.005 ? `“${said[row]}” gave ${row === column ? "itself" : `“${said[column]}”`} ${percent(old)}; now it gives ${percent(now)}.`
    : by >= SAME ? "No weight changed by as much as half a per cent."
      : "No weight changed: the matrix holds the same numbers, its rows and columns permuted.";
  if (worst < SAME) return [lead, change, `It is so for every order: in all ${count} orders the difference stays below 10⁻¹².`];
  return [lead, change, ...(gap >= SAME ? [] : [`In another order the difference is ${small(worst)}.`])];
}

/** A path from each place of PX to where its word stood in X, in a box of 1000 x 100. @param {number[]} order */
export const threads = (order) => order.map((i, place) => {
  const pitch = 1000 / order.length, [a, b] = [i, place].map((x) => ((x + 0.5) * pitch).toFixed(1));
  return `M${a} 0C${a} 55 ${b} 45 ${b} 100`;
});

/** CSS colour of a number in [-1, 1]. @param {number} t */
const diverge = (t) => `color-mix(in oklab, var(--pa-${t < 0 ? "neg" : "pos"}) ${(100 * Math.min(Math.abs(t), 1)).toFixed(2)}%, var(--pa-zero))`;

/** Take the word at one place out and put it in at another. @param {number[]} order @param {number} from @param {number} to */
export function carry(order, from, to) {
  const rest = order.filter((_, i) => i !== from);
  return [...rest.slice(0, to), order[from], ...rest.slice(to)];
}

/** @param {string} text @param {string} [label] */
const button = (text, label) => h("button.pa-order-button", { type: "button", "aria-label": label }, text);

/**
 * The words in their first order, threads, and the words to move: by drag, by Shift + arrow, by button.
 * @param {string[]} words @param {{order: () => number[], move: (order: number[]) => void, redraw: () => void}} on
 */
function bench(words, on) {
  const paths = words.map(() => h("svg:path")), chips = words.map((_, i) => h("button.pa-chip.pa-loose", { type: "button", "data-place": i }));
  const row = h("div.pa-chips", { role: "group", "aria-label": "Your order; Shift and an arrow key move a word" }, ...chips);
  const [left, right, ...presets] = [button("◀", "Move left"), button("▶", "Move right"), button("Reverse"), button("Rotate"), button("Reset")];
  let picked = 0, /** @type {{x: number, dx: number, moved: boolean} | null} */ drag = null;
  const place = () => on.order().indexOf(picked);

  /** @param {number} to */
  function put(to) {
    const from = place();
    if (to >= 0 && to < words.length && to !== from) on.move(carry(on.order(), from, to));
  }
  row.addEventListener("keydown", (/** @type {KeyboardEvent} */ e) => {
    const by = { ArrowLeft: -1, ArrowRight: 1 }[e.key], at = chips.indexOf(e.target);
    if (!e.shiftKey || !by || at < 0) return;
    picked = on.order()[at];
    put(at + by); // and the grid's own arrows, which come after, take the focus along
  });
  rove(row, () => [chips]);
  row.addEventListener("pointerdown", (/** @type {PointerEvent} */ e) => {
    const at = chips.indexOf(e.target);
    if (at < 0 || e.button !== 0) return;
    picked = on.order()[at];
    drag = { x: e.clientX, dx: 0, moved: false };
    row.setPointerCapture(e.pointerId);
    on.redraw();
  });
  row.addEventListener("pointermove", (/** @type {PointerEvent} */ e) => {
    if (!drag) return;
    const pitch = row.clientWidth / words.length, from = place();
    drag.moved ||= Math.abs(e.clientX - drag.x) > 5;
    if (!drag.moved) return;
    const steps = Math.round((e.clientX - drag.x) / pitch), to = Math.min(Math.max(from + steps, 0), words.length - 1);
    drag.x += (to - from) * pitch;
    drag.dx = Math.min(Math.max(e.clientX - drag.x, -(to + 0.1) * pitch), (words.length - 0.9 - to) * pitch);
    put(to);
    on.redraw();
  });
  const drop = () => {
    if (!drag) return;
    drag = null;
    chips[place()].focus({ preventScroll: true });
    on.redraw();
  };
  row.addEventListener("pointerup", drop);
  row.addEventListener("pointercancel", drop);
  row.addEventListener("click", (/** @type {MouseEvent} */ e) => { // by key; the pointer has done so already
    const at = chips.indexOf(e.target);
    if (at >= 0) picked = on.order()[at];
    on.redraw();
  });
  left.addEventListener("click", () => put(place() - 1));
  right.addEventListener("click", () => put(place() + 1));
  presets[0].addEventListener("click", () => on.move([...on.order()].reverse()));
  presets[1].addEventListener("click", () => on.move(carry(on.order(), words.length - 1, 0)));
  presets[2].addEventListener("click", () => on.move(words.map((_, i) => i)));

  return {
    el: h("div.pa-orders", { style: { "--columns": words.length } },
      h("div.pa-chips", { "aria-hidden": "true" }, ...words.map((word) => h("span.pa-chip", {}, word))),
      h("svg:svg.pa-threads", { viewBox: "0 0 1000 100", preserveAspectRatio: "none", "aria-hidden": "true" }, ...paths), row,
      h("div.pa-order-buttons", { role: "group", "aria-label": "Reorder" }, left, right, ...presets)),
    draw() {
      const order = on.order(), shapes = threads(order);
      order.forEach((i, at) => {
        paths[at].setAttribute("d", shapes[at]);
        paths[at].setAttribute("class", i === picked ? "pa-thread-on" : "pa-thread");
        const chip = chips[at], held = drag !== null && i === picked;
        chip.textContent = words[i];
        chip.setAttribute("aria-label", `${words[i]}, place ${at + 1} of ${words.length}`);
        chip.setAttribute("aria-pressed", String(i === picked));
        chip.classList.toggle("pa-picked", i === picked);
        chip.classList.toggle("pa-held", held);
        chip.style.translate = held && drag ? `${drag.dx}px` : "";
      });
      left.setAttribute("aria-disabled", String(place() === 0));
      right.setAttribute("aria-disabled", String(place() === words.length - 1));
    },
  };
}

/** One line a word: f(PX), P f(X), their difference, and its largest entry. @param {number} count @param {number} size */
function strips(count, size) {
  const lines = Array.from({ length: count }, () => {
    const word = h("strong.pa-vector-word"), gap = h("span.pa-vector-gap");
    const bands = HEADS.map(() => h("div.pa-strip", { role: "img" }, ...Array.from({ length: size }, () => h("span"))));
    return { el: h("div.pa-vector", {}, word, ...bands, gap), word, bands, gap };
  });
  const head = h("div.pa-vector.pa-vector-head", { "aria-hidden": "true" }, ...["", ...HEADS, "largest"].map((text) => h("span", {}, text)));
  return {
    el: h("div.pa-vectors", {}, head, ...lines.map((line) => line.el)),
    /** @param {string[]} said @param {Compared} compared @param {number} limit */
    draw(said, { output, expected, gaps }, limit) {
      lines.forEach(({ word, bands, gap }, r) => {
        word.textContent = said[r];
        gap.textContent = small(gaps[r]);
        const rows = [output[r], expected[r], output[r].map((x, i) => x - expected[r][i])];
        bands.forEach((band, k) => {
          rows[k].forEach((x, i) => (band.children[i].style.background = diverge(x / limit)));
          band.setAttribute("aria-label", `${said[r]}, ${HEADS[k]}: ${rows[k].map((x) => fixed(x)).join(", ")}`);
        });
      });
    },
  };
}

export default {
  /** @param {{model: Model, el: HTMLElement}} view */
  render({ model, el }) {
    /** @type {string[]} */ const words = model.get("words");
    /** @type {number[][]} */ const orders = model.get("orders");
    const n = words.length, size = model.get("size"), limits = model.get("limits"), frames = /** @type {DataView} */ (model.get("frames"));

    /** @param {number} mode @param {number} order */
    function frame(mode, order) {
      const length = n * n + n * size + n, start = (mode * orders.length + order) * length;
      const take = (/** @type {number} */ from, /** @type {number} */ width) => words.map((_, r) =>
        Array.from({ length: width }, (_, c) => frames.getFloat64(8 * (start + from + r * width + c), true)));
      return { weights: take(0, n), output: take(n * n, size), gaps: take(n * n + n * size, 1).flat() };
    }

    /** What Python computed, for these controls or for every frame. @returns {Compared} */
    function compared() {
      const mode = model.get("mode"), index = model.get("order"), exact = model.get("exact");
      if (exact.mode === mode && exact.order === index) return exact;
      const before = frame(mode, 0).output;
      return { ...frame(mode, index), expected: orders[index].map((i) => before[i]) };
    }

    const current = () => orders[model.get("order")];
    const work = bench(words, {
      order: current,
      move(order) {
        model.set("order", orders.findIndex((each) => each.every((i, place) => i === order[place])));
        model.save_changes();
      },
      redraw: () => work.draw(),
    });
    const grid = matrix({ label: "Attention weights in your order", rows: words, columns: words });
    const vectors = strips(n, size), total = h("strong"), result = sentence();
    const ends = [h("i"), h("i")], scale = h("div.pa-diverging", { "aria-hidden": "true" }, ends[0], h("span"), ends[1]);
    const weights = section("matrix", "Attention weights in your order", grid.el);
    el.replaceChildren(
      section("flow", "X above, PX below: drag, or Shift + ←→", work.el), weights,
      section("detail", "Output vectors, two ways", vectors.el, h("div.pa-vector-foot", {}, h("p.pa-total", {}, "largest |f(PX) − P f(X)| = ", total), scale)), result.el);
    const picks = picker(weights, draw);

    function draw() {
      const mode = model.get("mode"), order = current(), said = order.map((i) => words[i]), now = compared(), gap = Math.max(...now.gaps);
      const worst = Math.max(...orders.flatMap((_, i) => frame(mode, i).gaps)), at = picks.pick?.split(",").map(Number) ?? null;
      work.draw();
      for (const kind of ["col", "row"]) grid.el.querySelectorAll(`.pa-${kind}head`).forEach((/** @type {Element} */ name, /** @type {number} */ i) => (name.textContent = said[i]));
      grid.draw(now.weights, { written: n, current: at ? at[0] : -1, locked: picks.locked });
      vectors.draw(said, now, limits[mode]);
      [-limits[mode], limits[mode]].forEach((x, i) => (ends[i].textContent = fixed(x, 1)));
      total.textContent = small(gap);
      result.say(describe(words, order, now.weights, frame(mode, 0).weights, gap, worst, at));
      Object.assign(el.dataset, {
        weights: JSON.stringify(now.weights), output: JSON.stringify(now.output), expected: JSON.stringify(now.expected), gap,
        permutation: JSON.stringify(order), mode,
      });
    }

    function turn() {
      picks.clear();
      draw();
    }

    draw();
    const stops = [watch(model, ["exact", "mode"], draw), watch(model, ["order"], turn)];
    return () => [...stops, picks.stop, result.stop].forEach((stop) => stop());
  },
};
