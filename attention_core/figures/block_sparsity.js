// Block sparsity: a mask cut into tiles, the work that is left, and what the size of a tile changes.

import { h, percent, section, sentence, watch } from "./kit.js";

/** @typedef {import("./kit.js").Model} Model */
/** @typedef {{tile: number, size: number, empty: number, partial: number, full: number, allowed: number, asked: number, computed: number, tiles: number}} Tally */
/** @typedef {{n: number, tile: number, may: (row: number, column: number) => boolean, kinds: number[]}} Cut */

const KINDS = ["empty", "partial", "full"], WORDS = ["skipped", "computed whole, then masked", "computed whole, no mask asked"];

/** Positions along tile i, which may be the shorter one at the edge. @param {number} i @param {Cut} cut */
const side = (i, { n, tile }) => Math.min(tile, n - i * tile);

/** How many pairs of a tile, or of the whole mask, are allowed. @param {Cut} cut @param {number} [row] @param {number} [col] */
function open(cut, row, col) {
  const { n, tile, may } = cut;
  let pairs = 0;
  for (let i = 0; i < (row === undefined ? n : side(row, cut)); i++) for (let j = 0; j < (col === undefined ? n : side(col, cut)); j++) pairs += Number(may((row ?? 0) * tile + i, (col ?? 0) * tile + j));
  return pairs;
}

/** Counts of tiles, and of the pairs in them. @param {Cut} cut @returns {Tally} */
export function tally(cut) {
  const { n, tile, kinds } = cut, across = Math.ceil(n / tile), counts = [0, 0, 0], areas = [0, 0, 0];
  kinds.forEach((kind, i) => {
    counts[kind]++;
    areas[kind] += side(Math.floor(i / across), cut) * side(i % across, cut);
  });
  const [empty, partial, full] = counts;
  return { tile, size: n * n, empty, partial, full, allowed: open(cut), asked: areas[1], computed: areas[1] + areas[2], tiles: kinds.length };
}

/** A rounded percentage that never claims all or nothing. @param {number} part @param {number} whole */
function share(part, whole) {
  const x = part / whole;
  return x > 0 && x < 0.005 ? `under ${percent(0.01)}` : x >= 0.995 && x < 1 ? `over ${percent(0.99)}` : percent(x);
}

/** The sentence of result; Python writes the same one into the static picture.
 * @param {Tally[]} line this mask at every size @param {Tally} at @param {string} [picked] */
export function describe(line, at, picked = "") {
  const lead = `${share(at.allowed, at.size)} of the pairs are allowed; tiles of ${at.tile} compute ${share(at.computed, at.size)}.`;
  if (picked) return [picked, lead];
  const idle = at.computed - at.allowed, best = line.reduce((a, b) => (b.computed < a.computed ? b : a));
  const skipped = at.empty ? `${at.empty} of ${at.tiles} tiles ${at.empty === 1 ? "holds" : "hold"} no allowed pair and ${at.empty === 1 ? "is" : "are"} skipped.` : `None of the ${at.tiles} tiles is empty, so nothing is skipped.`;
  const wasted = idle ? `${idle} pairs are computed and thrown away, ${share(idle, at.computed)} of the work.` : "No pair is computed for nothing.";
  const fewest = line.reduce((a, b) => (b.computed === at.computed ? b : a));
  let other = `Tiles of ${best.tile} would compute ${share(best.computed, at.size)}, but their table has ${best.tiles} entries instead of ${at.tiles}.`;
  if (best.computed === at.computed) {
    other = fewest.tile === at.tile ? `No other size here computes less, or as little with fewer than ${at.tiles} entries in its table.` : `Tiles of ${fewest.tile} compute no more, and their table has ${fewest.tiles} entries, not ${at.tiles}.`;
  }
  return [lead, skipped, wasted, other];
}

/** One tile in words. @param {Cut} cut @param {number} row @param {number} col */
export function ofTile(cut, row, col) {
  const { n, tile, kinds } = cut, area = side(row, cut) * side(col, cut), kind = kinds[row * Math.ceil(n / tile) + col];
  const ends = (/** @type {number} */ i) => `${i * tile} to ${Math.min((i + 1) * tile, n) - 1}`;
  const what = ["empty and is skipped", `partial: ${open(cut, row, col)} of its ${area} pairs are allowed, and all ${area} are computed`, `full: all its ${area} pairs are allowed, so no mask is asked`][kind];
  return `The tile of queries ${ends(row)} and keys ${ends(col)} is ${what}.`;
}

/**
 * The tiles on a canvas, as sharp as the screen; hatching shows through where a tile is skipped. A canvas takes no
 * CSS variables, so the colours are read off elements of those classes, again when the theme changes.
 * @param {HTMLElement} box @param {HTMLCanvasElement} canvas @param {() => Cut} current
 */
function painter(box, canvas, current) {
  const probes = ["full", "idle", "some", "lines"].map((name) => h(`span.pa-tile-${name}`, { hidden: "" }));
  box.append(...probes);
  function paint() {
    const size = Math.round(box.clientWidth * devicePixelRatio), context = canvas.getContext("2d");
    if (!size || !context) return;
    const [full, idle, some, lines] = probes.map((probe) => getComputedStyle(probe).fill);
    const cut = current(), { n, tile, may, kinds } = cut, across = Math.ceil(n / tile), at = (/** @type {number} */ i) => Math.round((i * size) / n);
    const fill = (/** @type {number} */ x, /** @type {number} */ y, /** @type {number} */ w, /** @type {number} */ height) => context.fillRect(at(x), at(y), at(x + w) - at(x), at(y + height) - at(y));
    canvas.width = canvas.height = size; // empties it too
    kinds.forEach((kind, i) => {
      const row = Math.floor(i / across), col = i % across, y = row * tile, x = col * tile, height = side(row, cut), width = side(col, cut);
      if (!kind) return;
      context.fillStyle = kind === 2 ? full : idle;
      fill(x, y, width, height);
      context.fillStyle = some;
      if (kind === 1) for (let r = y; r < y + height; r++) for (let c = x; c < x + width; c++) if (may(r, c)) fill(c, r, 1, 1);
    });
    context.fillStyle = lines;
    for (let i = 1; i < across; i++) {
      context.fillRect(at(i * tile), 0, Math.ceil(devicePixelRatio), size);
      context.fillRect(0, at(i * tile), size, Math.ceil(devicePixelRatio));
    }
  }
  const sizes = new ResizeObserver(paint), themes = new MutationObserver(paint);
  sizes.observe(box);
  for (const root of [document.documentElement, document.body]) themes.observe(root, { attributeFilter: ["data-theme", "data-jp-theme-light"] });
  return { paint, stop: () => [sizes, themes].forEach((o) => o.disconnect()) };
}

/**
 * A tile that hover previews, a click or the arrow keys keep, and Escape lets go.
 * @param {HTMLElement} box @param {() => Cut} current @param {() => void} redraw
 */
function cursor(box, current, redraw) {
  /** @type {number[] | null} */ let kept = null;
  /** @type {number[] | null} */ let preview = null;
  const across = () => Math.ceil(current().n / current().tile), on = (/** @type {number} */ x) => Math.min(Math.max(x, 0), across() - 1);
  const under = (/** @type {MouseEvent} */ e) => {
    const r = box.getBoundingClientRect(), { n, tile } = current();
    return [e.clientY - r.top, e.clientX - r.left].map((x) => on(Math.floor((x * n) / r.width / tile)));
  };
  const look = (/** @type {number[] | null} */ at) => {
    if (String(at) === String(preview)) return;
    preview = at;
    redraw();
  };
  const keep = (/** @type {number[] | null} */ at) => {
    [kept, preview] = [at, null];
    redraw();
  };
  box.addEventListener("pointermove", (e) => look(under(e)));
  for (const end of ["pointerleave", "pointercancel"]) box.addEventListener(end, () => look(null));
  box.addEventListener("click", (e) => keep(String(under(e)) === String(kept) ? null : under(e)));
  box.addEventListener("keydown", (e) => {
    const [r, c] = preview ?? kept ?? [0, 0], end = across() - 1, fresh = !(preview ?? kept);
    /** @type {Record<string, number[]>} */
    const moves = { ArrowUp: [r - 1, c], ArrowDown: [r + 1, c], ArrowLeft: [r, c - 1], ArrowRight: [r, c + 1], Home: [r, 0], End: [r, end], PageUp: [0, c], PageDown: [end, c], Enter: [r, c], " ": [r, c] };
    if (!moves[e.key]) return;
    e.preventDefault();
    keep(fresh ? [0, 0] : moves[e.key].map(on));
  });
  const escape = (/** @type {KeyboardEvent} */ e) => { if (e.key === "Escape" && (kept ?? preview)) keep(null); };
  document.addEventListener("keydown", escape);
  return {
    get tile() { return preview ?? kept; },
    /** Tiles of another size are other tiles. */
    clear() { kept = preview = null; },
    stop: () => document.removeEventListener("keydown", escape),
  };
}

/** Names and values that change. @param {string} line @param {string[]} names */
function facts(line, names) {
  const values = names.map(() => h("strong"));
  return { lines: names.map((name, i) => h(line, {}, h("span", {}, name), values[i])), say: (/** @type {(string | number)[]} */ said) => said.forEach((text, i) => (values[i].textContent = text)) };
}

/** One line over all sizes of a tile. @param {string} name @param {number} least @param {number} most @param {...Node} more */
function chart(name, least, most, ...more) {
  const along = (/** @type {number} */ tile) => `${(100 * (tile - least)) / (most - least)}%`;
  const path = h("svg:path"), dot = h("span.pa-step-dot"), top = h("span.pa-step-top");
  const ticks = Array.from({ length: Math.floor(most / 4) - Math.ceil(least / 4) + 1 }, (_, i) => 4 * (Math.ceil(least / 4) + i));
  const box = h("div.pa-step", { role: "img" }, h("svg:svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" }, path), ...more, dot, top, h("span.pa-step-zero", {}, "0"),
    ...ticks.map((tile) => h("span.pa-step-tick", { style: { left: along(tile) } }, String(tile))));
  return {
    el: h("div", {}, h("p.pa-step-name", {}, name), box),
    /** @param {number[]} heights from 0 to 1, one a size @param {number} tile @param {string} highest @param {string} said */
    draw(heights, tile, highest, said) {
      path.setAttribute("d", "M" + heights.map((y, i) => `${(100 * i) / (heights.length - 1)} ${100 - 100 * y}`).join("L"));
      Object.assign(dot.style, { left: along(tile), top: `${100 - 100 * heights[tile - least]}%` });
      top.textContent = highest;
      box.setAttribute("aria-label", `${name}: ${said}`);
    },
  };
}

export default {
  /** @param {{model: Model, el: HTMLElement}} view */
  render({ model, el }) {
    const n = model.get("n"), least = model.get("least"), most = model.get("most");
    /** @type {DataView} */ const bits = model.get("pairs"), bytes = /** @type {DataView} */ (model.get("kinds"));
    const sizes = Array.from({ length: most - least + 1 }, (_, i) => least + i), tiles = sizes.map((tile) => Math.ceil(n / tile) ** 2);
    const all = tiles.reduce((a, b) => a + b), before = tiles.map((_, i) => tiles.slice(0, i).reduce((a, b) => a + b, 0));
    /** What Python sent of a mask at one size. @param {number} mask @param {number} tile @returns {Cut} */
    const read = (mask, tile) => ({
      n, tile,
      may(i, j) {
        const bit = i * n + j;
        return ((bits.getUint8(mask * Math.ceil((n * n) / 8) + (bit >> 3)) >> (7 - (bit & 7))) & 1) === 1;
      },
      kinds: Array.from({ length: tiles[tile - least] }, (_, i) => bytes.getUint8(mask * all + before[tile - least] + i)),
    });
    /** @type {Cut} */ let cut;
    /** @type {Tally[]} */ let line = [];
    let drawn = -1;
    const canvas = h("canvas", { role: "img" }), mark = h("span.pa-blockmark"), result = sentence(), pre = h("pre.pa-blockcode");
    const ends = () => [h("span", {}, "0"), h("span", {}, String(n - 1))];
    const box = h("div.pa-blockcells", { tabindex: 0, role: "group", "aria-label": "Tiles: the arrow keys move to another, Escape lets go" }, canvas, mark);
    const counts = KINDS.map(() => h("strong"));
    const legend = [2, 1, 0].map((kind) => h("p.pa-kind", {}, h(`i.pa-kind-${KINDS[kind]}`), counts[kind], h("span", {}, `${KINDS[kind]}: ${WORDS[kind]}`)));
    const numbers = facts("div.pa-tile", ["tiles skipped", "pairs allowed", "pairs computed", "computed for nothing", "pairs asked of mask_mod", "entries in the table"]);
    const level = h("span.pa-step-level", {}, h("span", {}, "allowed")), work = chart("Pairs computed, at every tile size", least, most, level), table = chart("Entries in the table of tiles", least, most);
    const left = h("div.pa-blocks", {}, h("div.pa-blocktop", { "aria-hidden": "true" }, ...ends()), h("div.pa-blockside", { "aria-hidden": "true" }, ...ends()), box);
    const right = h("div.pa-blockfacts", {}, h("div.pa-kinds", {}, ...legend), h("div.pa-steps", {}, work.el, table.el));
    el.replaceChildren(
      section("flow", "Queries down, keys across, cut into tiles", h("div.pa-blockboard", {}, left, right)),
      section("detail", "Counts for this mask and this tile", h("div.pa-tiles", {}, ...numbers.lines), h("p.pa-caption.pa-spelled", {}, "As code: FlexAttention’s create_block_mask says BLOCK_SIZE where this library says block"), pre), result.el);
    const picked = cursor(box, () => cut, point), shown = painter(box, canvas, () => cut);

    /** What depends on the tile that is picked. */
    function point() {
      const at = line[cut.tile - least], pick = picked.tile, edge = (/** @type {number} */ i) => `${(100 * i) / n}%`;
      mark.hidden = !pick;
      if (pick) Object.assign(mark.style, { top: edge(pick[0] * cut.tile), left: edge(pick[1] * cut.tile), height: edge(side(pick[0], cut)), width: edge(side(pick[1], cut)) });
      result.say(describe(line, at, pick ? ofTile(cut, pick[0], pick[1]) : ""));
      el.dataset.picked = pick ? pick.join() : "";
    }

    function draw() {
      const mask = model.get("mask"), tile = model.get("tile");
      if (cut?.tile !== tile) picked.clear();
      cut = read(mask, tile);
      if (drawn !== mask) line = sizes.map((size) => tally(read(mask, size)));
      drawn = mask;
      const at = line[tile - least], longest = Math.max(...tiles);
      [at.empty, at.partial, at.full].forEach((count, kind) => (counts[kind].textContent = String(count)));
      numbers.say([share(at.empty, at.tiles), share(at.allowed, at.size), share(at.computed, at.size), at.computed - at.allowed, at.asked, at.tiles]);
      level.style.top = `${100 - (100 * at.allowed) / at.size}%`;
      level.classList.toggle("pa-low", at.allowed / at.size < 0.2);
      work.draw(line.map((t) => t.computed / t.size), tile, "100 %", `${share(at.computed, at.size)} with tiles of ${tile}; ${share(at.allowed, at.size)} are allowed`);
      table.draw(line.map((t) => t.tiles / longest), tile, String(longest), `${at.tiles} with tiles of ${tile}`);
      const code = `${model.get("codes")[mask]}\nblock_mask = create_block_mask(mask_mod, None, None, ${n}, ${n}, block=${tile})`;
      pre.replaceChildren(...code.split("\n").map((text) => h(text.endsWith(":") ? "span.pa-blockline.pa-dim" : "span.pa-blockline", {}, text)));
      canvas.setAttribute("aria-label", `Matrix of ${n} queries by ${n} keys in ${at.tiles} tiles: ${at.full} full, ${at.partial} partial, ${at.empty} empty.`);
      Object.assign(el.dataset, { weights: JSON.stringify(cut.kinds), tally: JSON.stringify(at), code });
      shown.paint();
      point();
    }

    draw();
    const stop = watch(model, ["mask", "tile"], draw);
    return () => [stop, picked.stop, shown.stop, result.stop].forEach((f) => f());
  },
};
