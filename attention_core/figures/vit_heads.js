// ViT heads: a patch, or CLS, asks; where it attends in one head, and in all heads of all layers at once.

import { fixed, h, percent, section, sentence, watch } from "./kit.js";
import { mapLegend, patchMap } from "./maps.js";
import { thumbnails } from "./thumbnails.js";

/** @typedef {import("./kit.js").Model} Model */
/** @typedef {{layers: number, heads: number, rows: number, columns: number, prefix: number, tokens: number, scale: number, whole: boolean}} Shape */
/** @typedef {{named: string, inside: number[]} | null} Objects */
/** @typedef {{held: number | null, even: number | null, own: number, half: number, tokens: number, distance: number | null, far: number | null}} Facts */

/** Mean of rows of weights. @param {number[][]} rows */
export const mean = (rows) => rows[0].map((_, i) => rows.reduce((sum, row) => sum + row[i], 0) / rows.length);

/** Weights of one query over all tokens in every layer and head, the mean of the heads last.
 * @param {Model} model @param {number} query -1: CLS @returns {number[][][]} */
function weightsOf(model, query) {
  /** @type {Shape} */
  const shape = model.get("shape"), { heads, tokens, prefix, scale, whole } = shape, image = model.get("image"), exact = model.get("exact");
  const known = exact.state[0] === image && exact.state[1] === query, token = query < 0 ? 0 : prefix + query, asked = whole ? tokens : 1;
  /** @type {DataView} */
  const frames = model.get("frames");
  return Array.from({ length: shape.layers }, (_, l) => {
    const rows = Array.from({ length: heads }, (_, k) => {
      const head = l * heads + k, at = ((image * shape.layers * heads + head) * asked + (whole ? token : 0)) * tokens;
      return Array.from({ length: tokens }, (_, i) => (known ? exact.rows.getFloat32(4 * (head * tokens + i), true) : (frames.getUint8(at + i) + 256 * frames.getUint8(frames.byteLength / 2 + at + i)) / scale));
    });
    return [...rows, mean(rows)];
  });
}

/** @param {number[]} weights @param {Shape} shape @param {number} query @param {Objects} objects @returns {Facts} */
export function measure(weights, { columns, prefix }, query, objects) {
  const patches = weights.slice(prefix), sum = patches.reduce((a, b) => a + b, 0);
  const to = patches.map((_, i) => Math.hypot(Math.floor(i / columns) - Math.floor(query / columns), (i % columns) - (query % columns)));
  let half = 0, taken = 0;
  for (const w of [...weights].sort((a, b) => b - a)) {
    taken += w;
    half += 1;
    if (taken >= 0.5 - 1e-9) break;
  }
  return {
    held: objects && patches.reduce((total, w, i) => total + (objects.inside[i] ? w : 0), 0),
    even: objects && objects.inside.reduce((a, b) => a + b, 0) / weights.length,
    own: weights.slice(0, prefix).reduce((a, b) => a + b, 0), half, tokens: weights.length,
    distance: query < 0 ? null : sum > 0 ? patches.reduce((total, w, i) => total + w * to[i], 0) / sum : 0,
    far: query < 0 ? null : to.reduce((a, b) => a + b, 0) / to.length,
  };
}

/** @param {boolean} whole */
export const pick = (whole) => `The picture: choose a patch that asks${whole ? "" : " (with a kernel)"}`;

/** @param {number} layer @param {number} head @param {number} heads */
export const placed = (layer, head, heads) => `Layer ${layer + 1}, ${head === heads ? "mean of the heads" : `head ${head + 1}`}`;

/** @param {number} query @param {number} columns */
export const asking = (query, columns) => (query < 0 ? "CLS" : `row ${Math.floor(query / columns) + 1}, column ${(query % columns) + 1}`);

/** The sentence of result; Python writes the same one into the static picture.
 * @param {Facts} facts @param {Shape} shape @param {number} layer @param {number} head @param {number} query @param {Objects} objects */
export function describe({ held, even, own, half, tokens, distance, far }, { heads, columns, prefix }, layer, head, query, objects) {
  const lead = `${placed(layer, head, heads)}: ${asking(query, columns)} puts`, on = half === 1 ? "a single token" : `${half} of ${tokens} tokens`;
  const first = prefix > 1 ? `the ${prefix} tokens that are no patches` : query < 0 ? "CLS itself" : "CLS";
  const rest = [`Of all weight, ${percent(own)} goes to ${first}.`];
  if (distance !== null && far !== null) rest.push(`On average it looks ${fixed(distance, 1)} patches far; spread evenly it would be ${fixed(far, 1)}.`);
  if (own > 0.5) rest.push("The map shows the rest: what goes to no patch has no place in the picture.");
  if (held === null || even === null) return [`${lead} half of its weight on ${on}.`, ...rest];
  return [`${lead} ${percent(held)} of its weight on patches of ${objects?.named}.`, `Spread evenly it would be ${percent(even)}; half of the weight is on ${on}.`, ...rest];
}

export default {
  /** @param {{model: Model, el: HTMLElement}} view */
  render({ model, el }) {
    /** @type {Shape} */
    const shape = model.get("shape"), { rows, columns, prefix, heads } = shape, home = model.get("query");
    /** @type {number | null} */ let preview = null;
    const picture = patchMap({ rows, columns, label: "Patches of the picture: the arrow keys move, Enter keeps, Escape goes back", pick: choose });
    const overlay = patchMap({ rows, columns, label: "Where it attends" }), legend = mapLegend(), result = sentence();
    const cls = h("button.pa-vhcls", { type: "button" }, "CLS asks");
    const caption = h("p.pa-caption");
    const grid = thumbnails({
      rows, columns, label: "All layers and heads", down: Array.from({ length: shape.layers }, (_, l) => String(l + 1)),
      across: [...Array.from({ length: heads }, (_, k) => String(k + 1)), "mean"], name: (l, k) => placed(l, k, heads), pick: turn,
    });
    picture.el.classList.add("pa-pmplain");
    const board = h("div.pa-matrix", {}, caption, overlay.el, legend.el);
    el.replaceChildren(section("flow", pick(shape.whole), picture.el, cls), board,
      section("detail", "All heads: layers down, heads across", grid.el), result.el);

    function show() {
      const [height, width] = model.get("size");
      for (const map of [picture, overlay]) map.show(model.get("pictures"), model.get("image") * height * width * 3, height, width);
      draw();
    }

    function draw() {
      const wanted = preview ?? model.get("query"), query = reaches(wanted) ? wanted : -1, layer = model.get("layer") - 1, head = model.get("head"), all = weightsOf(model, query);
      /** @type {Objects} */
      const objects = model.get("objects")[model.get("image")], weights = all[layer][head], patches = weights.slice(prefix);
      const facts = measure(weights, shape, query, objects), marks = query < 0 ? [] : [query], where = placed(layer, head, heads);
      picture.draw([], { marks, name: (at) => asking(at, columns) });
      overlay.draw(patches, { marks, outline: objects?.inside, says: `${where}, ${asking(query, columns)} asks` });
      caption.textContent = `Attention in layer ${layer + 1}, ${head === heads ? "mean" : `head ${head + 1}`}`;
      legend.say(Math.max(...patches));
      cls.setAttribute("aria-pressed", String(query < 0));
      grid.draw((l, k) => all[l][k].slice(prefix), (l, k) => l === layer && k === head);
      result.say(describe(facts, shape, layer, head, query, objects));
      Object.assign(el.dataset, { weights: JSON.stringify(weights), image: model.get("image"), layer, head, query, ...facts });
    }

    /** @param {number | null} query @param {"look" | "keep"} how */
    function choose(query, how) {
      const wanted = how === "keep" ? null : query;
      if (how === "look" && wanted === preview) return;
      if (how === "look" && wanted !== null && !reaches(wanted)) return;
      preview = wanted;
      if (how === "keep") {
        model.set("query", query);
        model.save_changes();
      }
      draw();
    }

    /** Whether its weights travelled: of large models only those of CLS do, and a kernel has the others. @param {number} query */
    const reaches = (query) => shape.whole || query < 0 || String(model.get("exact").state) === String([model.get("image"), query]);

    cls.addEventListener("click", () => choose(-1, "keep"));
    /** @param {number} layer @param {number} head */
    function turn(layer, head) {
      model.set("layer", layer + 1);
      model.set("head", head);
      model.save_changes();
    }

    const escape = (/** @type {KeyboardEvent} */ e) => { if (e.key === "Escape" && (preview !== null || model.get("query") !== home)) choose(home, "keep"); };
    document.addEventListener("keydown", escape);
    show();
    const stops = [watch(model, ["image"], show), watch(model, ["layer", "head", "query", "exact"], draw)];
    return () => [...stops, result.stop, () => document.removeEventListener("keydown", escape)].forEach((stop) => stop());
  },
};
