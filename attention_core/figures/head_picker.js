// Head picker: what each head of an encoder-decoder transformer reads, in one sentence and its translation.

import { argmax, fixed, h, matrix, picker, ramp, rove, section, sentence, watch } from "./kit.js";
import { ribbons } from "./ribbons.js";
import { thumbnails } from "./thumbnails.js";

/** @typedef {import("./kit.js").Model} Model */
/** @typedef {"encoder" | "decoder" | "cross"} Part */
/** @typedef {{source: string[], target: string[], links: [number, number][] | null, homes: [number, number], offset: number}} Read */
/** @typedef {{name: string, on: string, share: number, even: number}} Fact */

/** @type {Part[]} */
const PARTS = ["encoder", "decoder", "cross"];
const FLOW = {
  encoder: "What each word (below) reads (above); a ribbon’s width is its weight",
  decoder: "What it has written (above) and reads as it writes (below); width = weight",
  cross: "What it reads in the source (above) as it writes (below); width = weight",
};

/** Words down and across. Before it writes a word, the decoder has the words before it and `<s>`: no column is of the last.
 * @param {Read} read @param {Part} part @returns {[string[], string[]]} */
export function sides({ source, target }, part) {
  if (part === "encoder") return [source, source];
  return [target, part === "cross" ? source : ["<s>", ...target.slice(0, -1)]];
}

/** Where a head's weight is over all rows, and where it would be, spread evenly over what may be read.
 * @param {number[][]} weights of a decoder each row as long as what it may read @param {Part} part @param {[number, number][] | null} links @returns {Fact[]} */
export function measure(weights, part, links) {
  const last = weights[0].length - 1, n = weights.length, all = weights.map((_, r) => r), most = weights.map((row) => Math.max(...row));
  /** @param {string} name @param {string} on @param {(r: number, c: number) => boolean} has @param {number[]} [rows] @returns {Fact} */
  const fact = (name, on, has, rows = all) => {
    const sum = (/** @type {(w: number, r: number) => number} */ of) => rows.reduce((total, r) => total + weights[r].reduce((s, w, c) => s + (has(r, c) ? of(w, r) : 0), 0), 0) / rows.length;
    return { name, on, share: sum((w) => w), even: sum((_, r) => 1 / weights[r].length) };
  };
  const strongest = { name: "strongest", on: "", share: most.reduce((a, b) => a + b, 0) / n, even: weights.reduce((s, row) => s + 1 / row.length, 0) / n };
  const end = fact("</s>", "“</s>”", (_, c) => c === last);
  if (part === "encoder") return [fact("itself", "the word itself", (r, c) => c === r), fact("word before", "the word before", (r, c) => c === r - 1), fact("word after", "the word after", (r, c) => c === r + 1), end, strongest];
  if (part === "decoder") return [fact("just written", "the word just written", (r, c) => r > 0 && c === r), fact("the one before", "the word before that", (r, c) => c > 0 && c === r - 1), fact("<s>", "“<s>”", (_, c) => c === 0), strongest];
  const linked = links && fact("gold links", "words that gold links join to it", (r, c) => links.some(([t, s]) => t === r && s === c), all.filter((r) => links.some(([t]) => t === r)));
  return [...(linked ? [linked] : []), fact("same place", "the word in the same place", (r, c) => c === r), end, strongest];
}

/** @param {number} layer @param {number} head */
export const placed = (layer, head) => `Layer ${layer + 1}, head ${head + 1}`;

/** The sentence of result; Python writes the same one into the static picture. A row or column of -1: none is meant.
 * @param {{rows: string[], columns: string[], part: Part, layer: number, head: number, row: number, column: number}} at @param {number[][]} weights @param {Fact[]} facts @param {boolean} locked */
export function describe({ rows, columns, part, layer, head, row, column }, weights, facts, locked) {
  const who = `Head ${head + 1} of layer ${layer + 1}`, rest = [];
  const r = row < 0 ? argmax(weights.map((line) => line[column] ?? -1)) : row, line = weights[r], best = argmax(line), c = column < 0 ? best : column;
  const when = part === "encoder" ? `from “${rows[r]}”` : `when it writes “${rows[r]}”`, with_ = `with weight ${fixed(line[c])}`;
  const lead = row < 0 ? `${who} reads “${columns[c]}” most ${when}, ${with_}.` : `${who} reads “${columns[c]}” ${with_} ${when}.`;
  const ties = line.filter((w) => line[best] - w < 5e-4).length;
  if (line.length === 1) rest.push("There is nothing else to read yet.");
  else if (ties > 1) rest.push(`${ties} words share the largest weight.`);
  else if (c !== best) rest.push(`Most, ${fixed(line[best])}, goes to “${columns[best]}”.`);
  const { on, share, even } = facts.slice(0, -1).reduce((a, b) => (b.share - b.even > a.share - a.even ? b : a));
  rest.push(`Over the sentence ${fixed(share)} of its weight is on ${on}; spread evenly it would be ${fixed(even)}.`);
  if ([...rows, ...columns].includes("<unk>")) rest.push("<unk> is a word that the model does not know.");
  if (locked) rest.push("Locked: press Escape to release.");
  return [lead, ...rest];
}

/** Weights of all layers and heads: exact ones where Python has sent them, else as they travelled; no cell where nothing may be read.
 * @param {Model} model @returns {number[][][][]} */
function weightsOf(model) {
  const { layers, heads, scale } = model.get("shape"), example = model.get("example"), part = model.get("part"), exact = model.get("exact");
  /** @type {Read} */
  const read = model.get("sentences")[example], m = read.source.length, n = read.target.length, across = [m, n, m][part], down = [m, n, n][part];
  const start = read.offset + layers * heads * [0, m * m, m * m + n * n][part], known = exact.state[0] === example && exact.state[1] === part;
  /** @type {DataView} */ const frames = model.get("frames");
  return Array.from({ length: layers }, (_, l) => Array.from({ length: heads }, (_, k) => Array.from({ length: down }, (_, r) => Array.from({ length: part === 1 ? r + 1 : across }, (_, c) => {
    const at = ((l * heads + k) * down + r) * across + c;
    return known ? exact.rows.getFloat32(4 * at, true) : (frames.getUint8(start + at) + 256 * frames.getUint8(frames.byteLength / 2 + start + at)) / scale;
  }))));
}

/** Everything that depends on the sentence and the part alone. @param {Read} read @param {Part} part */
function build(read, part) {
  const [rows, columns] = sides(read, part), causal = part === "decoder";
  const chips = (/** @type {string[]} */ words, /** @type {(i: number) => string} */ pick) => words.map((word, i) => h("button.pa-chip", { type: "button", "data-pick": pick(i), "aria-pressed": "false" }, word));
  const keys = chips(columns, (c) => `,${c}`), queries = chips(rows, (r) => `${r},`), paths = rows.map(() => columns.map(() => h("svg:path")));
  const flow = h("div.pa-flowbox", { role: "group", "aria-label": "Words: what is read above, what reads below", style: { "--columns": Math.max(rows.length, columns.length) } },
    h("div.pa-chips", {}, ...keys), h("svg:svg.pa-ribbons", { viewBox: "0 0 1000 100", preserveAspectRatio: "none", "aria-hidden": "true" }, ...paths.flat()), h("div.pa-chips", {}, ...queries));
  rove(flow, () => [keys, queries]);
  return { rows, columns, keys, queries, paths, flow, grid: matrix({ label: "Attention weights, one row a word that reads", rows, columns, causal }), future: rows.flatMap((_, r) => columns.map((_, c) => causal && c > r)) };
}

export default {
  /** @param {{model: Model, el: HTMLElement}} view */
  render({ model, el }) {
    const words = h("div.pa-hp-words"), picks = picker(words, draw), result = sentence(), bars = h("div.pa-hp-facts");
    const { layers, heads } = model.get("shape"), count = (/** @type {number} */ of) => Array.from({ length: of }, (_, i) => String(i + 1));
    /** @type {ReturnType<typeof build>} */ let made;
    /** @type {ReturnType<typeof thumbnails>} */ let small;
    /** @type {string | null} */ let preview = null;
    const caption = h("p.pa-caption");

    function rebuild() {
      const part = PARTS[model.get("part")];
      picks.clear();
      preview = null;
      made = build(model.get("sentences")[model.get("example")], part);
      const { rows, columns, future } = made, wide = columns.length > 6 ? ".pa-wide" : "", all = weightsOf(model);
      small = thumbnails({ rows: rows.length, columns: columns.length, label: "All heads", down: count(layers), across: count(heads), name: placed, pick: choose });
      for (const event of ["pointerover", "focusin", "pointerleave", "focusout"]) small.el.addEventListener(event, look);
      words.replaceChildren(h(`div.pa-matrix${wide}`, {}, caption, made.grid.el), section(`flow${wide}`, FLOW[part], h("div.pa-scroll", {}, made.flow)));
      el.replaceChildren(section("hp-heads", "All heads: layers down, heads across", small.el), h("div.pa-detail", {}, bars), words, result.el);
      small.draw((l, k) => rows.flatMap((_, r) => columns.map((_, c) => all[l][k][r][c] ?? 0)), chosen, { top: 1, dropped: future });
      draw();
    }

    /** @param {number} l @param {number} k */
    const chosen = (l, k) => l === model.get("layer") && k === model.get("head");

    function draw() {
      const example = model.get("example"), part = PARTS[model.get("part")], [layer, head] = (preview ?? `${model.get("layer")},${model.get("head")}`).split(",").map(Number);
      /** @type {Read} */
      const read = model.get("sentences")[example], { rows, columns, keys, queries, paths } = made, weights = weightsOf(model)[layer][head];
      const home = read.homes[part === "encoder" ? 0 : 1], [row, column] = (picks.pick ?? `${home},`).split(",").map((x) => (x === "" ? -1 : Number(x)));
      const shapes = ribbons(weights.map((line) => columns.map((_, c) => line[c] ?? 0))), facts = measure(weights, part, read.links);
      paths.forEach((line, r) => line.forEach((path, c) => {
        const w = weights[r][c] ?? 0;
        path.setAttribute("d", shapes[r][c]);
        path.setAttribute("class", w < 0.0005 ? "pa-none" : (row < 0 || r === row) && (column < 0 || c === column) ? "pa-on" : "pa-off");
        path.style.fill = ramp(w);
      }));
      queries.forEach((chip, r) => mark(chip, r === row, `${r},`));
      keys.forEach((chip, c) => {
        mark(chip, c === column, `,${c}`);
        const later = part === "decoder" && row >= 0 && c > row;
        chip.classList.toggle("pa-unwritten", later);
        if (later) chip.setAttribute("aria-label", `${columns[c]}, not yet written`);
        else chip.removeAttribute("aria-label");
      });
      made.grid.draw(weights, { written: rows.length, current: row, locked: picks.locked });
      caption.textContent = `${placed(layer, head)}: each row sums to 1${part === "decoder" ? "; later words are not there to be read" : ""}`;
      bars.replaceChildren(h("p.pa-caption", {}, `${placed(layer, head)}: where its weight is`), ...facts.map(bar));
      small.cells.forEach((line, l) => line.forEach((cell, k) => cell.setAttribute("aria-pressed", String(chosen(l, k)))));
      result.say(describe({ rows, columns, part, layer, head, row, column }, weights, facts, picks.locked !== null));
      Object.assign(el.dataset, { weights: JSON.stringify(weights), example, part, layer, head, row, column, facts: JSON.stringify(facts) });
    }

    /** @param {HTMLElement} chip @param {boolean} on @param {string} pick */
    function mark(chip, on, pick) {
      chip.classList.toggle("pa-current", on);
      chip.setAttribute("aria-pressed", String(picks.locked === pick));
    }

    /** The head under the pointer or in focus is shown, and the chosen one again after it. @param {Event} e */
    function look(e) {
      const at = /^pointerover|focusin$/.test(e.type) ? /** @type {Element} */ (e.target).closest("button")?.getAttribute("data-at") ?? null : null;
      if (at === preview) return;
      preview = at;
      draw();
    }

    /** @param {number} layer @param {number} head */
    function choose(layer, head) {
      model.set("layer", layer);
      model.set("head", head);
      model.save_changes();
    }

    rebuild();
    const stops = [watch(model, ["layer", "head", "exact"], draw), watch(model, ["example", "part", "sentences"], rebuild)];
    return () => [...stops, picks.stop, result.stop].forEach((stop) => stop());
  },
};

/** @param {Fact} fact */
function bar({ name, share, even }) {
  const track = h("span.pa-hp-track", { "aria-hidden": "true" }, h("b", { style: { width: `${100 * share}%`, background: ramp(share) } }), h("i", { style: { left: `${100 * even}%` } }));
  return h("p.pa-hp-fact", {}, h("span", {}, name), h("span", {}, h("strong", {}, fixed(share)), ` · evenly ${fixed(even)}`), track);
}
