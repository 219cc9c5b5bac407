// Rollout: what reaches CLS through several layers, beside what the last of them shows by itself.

import { h, percent, section, sentence, tidy, watch } from "./kit.js";
import { mapLegend, patchMap } from "./maps.js";
import { thumbnails } from "./thumbnails.js";

/** @typedef {import("./kit.js").Model} Model */
/** @typedef {{layers: number, rows: number, columns: number, prefix: number, tokens: number, scale: number, shares: number}} Shape */
/** @typedef {{named: string, inside: number[]} | null} Objects */
/** @typedef {{rolled: number[][], raw: number[][], residual: number}} Frame */
/** @typedef {{own: number, half: number, held: number | null}} Facts */

/** Rows of CLS at every depth (0: no layer), and of every layer alone; a layer before the first shows CLS itself.
 * @param {Model} model @returns {Frame} */
function frameOf(model) {
  /** @type {Shape} */
  const { layers, tokens, scale, shares } = model.get("shape"), image = model.get("image"), wanted = model.get("residual"), exact = model.get("exact");
  /** @type {DataView} */
  const frames = model.get("frames"), k = Math.min(Math.max(Math.round(wanted * (shares - 1)), 0), shares - 1);
  const known = exact.state[0] === image && exact.state[1] === wanted;
  const row = (/** @type {number} */ at) => Array.from({ length: tokens }, (_, i) => (known ? exact.rows.getFloat32(4 * (at * tokens + i), true) : frames.getUint16(2 * (at * tokens + i), true) / scale));
  // exact: rollout at each depth, then the layers; frames: of each image the layers, then rollout share by share
  const first = image * (layers + shares * (layers + 1)), itself = Array.from({ length: tokens }, (_, i) => Number(i === 0));
  const at = (/** @type {number} */ depth) => (known ? depth : first + layers + k * (layers + 1) + depth);
  return {
    rolled: Array.from({ length: layers + 1 }, (_, depth) => row(at(depth))),
    raw: [itself, ...Array.from({ length: layers }, (_, l) => row(known ? layers + 1 + l : first + l))],
    residual: known ? wanted : k / (shares - 1),
  };
}

/** @param {number[]} weights @param {number} prefix @param {Objects} objects @returns {Facts} */
export function measure(weights, prefix, objects) {
  const patches = weights.slice(prefix), sum = patches.reduce((a, b) => a + b, 0);
  let half = 0, taken = 0;
  for (const w of [...patches].sort((a, b) => b - a)) {
    taken += w;
    half += 1;
    if (taken >= sum / 2 - 1e-9) break;
  }
  return {
    own: weights.slice(0, prefix).reduce((a, b) => a + b, 0), half,
    held: objects && sum > 0 ? patches.reduce((total, w, i) => total + (objects.inside[i] ? w : 0), 0) / sum : null,
  };
}

/** @param {number} depth */
export const through = (depth) => (depth === 0 ? "no layer" : depth === 1 ? "layer 1" : `layers 1 to ${depth}`);

/** The sentence of result; Python writes the same one into the static picture.
 * @param {Facts} rolled @param {Facts} raw @param {number} depth @param {number} residual @param {number} patches @param {number} prefix @param {Objects} objects */
export function describe(rolled, raw, depth, residual, patches, prefix, objects) {
  if (depth === 0) return ["Through no layer at all CLS is still itself: the identity.", "No weight has reached a patch, and the map is empty."];
  if (residual === 1) return [`Through ${through(depth)} CLS keeps 100\u00a0%: with a residual share of 1 rollout is the identity.`, "All that goes past attention stays where it was, and the map is empty."];
  const own = prefix > 1 ? `the ${prefix} tokens that are no patches keep` : "CLS keeps", half = `Half of what patches get is on ${rolled.half} of ${patches}`;
  const change = rolled.half > raw.half ? "more than" : rolled.half < raw.half ? "fewer than" : "as many as";
  const lead = objects && rolled.held !== null
    ? `Through ${through(depth)}, ${percent(rolled.held)} of what patches get is on ${objects.named}; ${raw.held === null ? `layer ${depth} alone gives patches nothing` : `in layer ${depth} alone it is ${percent(raw.held)}`}.`
    : `Through ${through(depth)} ${own} ${percent(rolled.own)}, in layer ${depth} alone ${percent(raw.own)}.`;
  const rest = [`${half}, ${change} in layer ${depth} alone (${raw.half}).`];
  if (objects && rolled.held !== null) rest.push(`With a residual share of ${tidy(residual)}, ${own} ${percent(rolled.own)}.`);
  return [lead, ...rest];
}

export default {
  /** @param {{model: Model, el: HTMLElement}} view */
  render({ model, el }) {
    /** @type {Shape} */
    const shape = model.get("shape"), { rows, columns, prefix, layers } = shape, legend = mapLegend(), result = sentence();
    const composed = patchMap({ rows, columns, label: "Rollout" }), alone = patchMap({ rows, columns, label: "Raw attention" });
    const captions = [h("p.pa-caption"), h("p.pa-caption")];
    const grid = thumbnails({
      rows, columns, label: "All depths: rollout above, raw attention below", down: ["rollout", "raw"], across: Array.from({ length: layers }, (_, l) => String(l + 1)),
      name: (i, j) => (i ? `Layer ${j + 1} alone` : `Rollout through ${through(j + 1)}`),
      pick: (_, j) => {
        model.set("depth", j + 1);
        model.save_changes();
      },
    });
    el.replaceChildren(h("div.pa-flow", {}, captions[0], composed.el, legend.el), h("div.pa-matrix", {}, captions[1], alone.el, h("p.pa-caption.pa-ronote", {}, "One scale for both, at any residual share.")),
      section("detail", "Layer by layer, each to its own scale", grid.el), result.el);

    function show() {
      const [height, width] = model.get("size");
      for (const map of [composed, alone]) map.show(model.get("pictures"), model.get("image") * height * width * 3, height, width);
      draw();
    }

    function draw() {
      const depth = Math.min(model.get("depth"), layers), { rolled, raw, residual } = frameOf(model);
      /** @type {Objects} */
      const objects = model.get("objects")[model.get("image")], of = (/** @type {number[][]} */ all) => all[depth].slice(prefix);
      const facts = [rolled, raw].map((all) => measure(all[depth], prefix, objects)), top = model.get("tops")[model.get("image")][depth];
      const look = { top, outline: objects?.inside };
      composed.draw(of(rolled), { ...look, says: `Rollout through ${through(depth)}` });
      alone.draw(of(raw), { ...look, says: depth ? `Layer ${depth} alone` : "No layer" });
      captions[0].textContent = `Rollout through ${through(depth)}`;
      captions[1].textContent = depth ? `Raw attention of layer ${depth}` : "No layer, no attention";
      legend.say(top);
      grid.draw((i, j) => (i ? raw : rolled)[j + 1].slice(prefix), (_, j) => j + 1 === depth);
      result.say(describe(facts[0], facts[1], depth, residual, rows * columns, prefix, objects));
      Object.assign(el.dataset, { weights: JSON.stringify(rolled[depth]), raw: JSON.stringify(raw[depth]), image: model.get("image"), depth, residual });
    }

    show();
    const stops = [watch(model, ["image"], show), watch(model, ["depth", "residual", "exact"], draw)];
    return () => [...stops, result.stop].forEach((stop) => stop());
  },
};
