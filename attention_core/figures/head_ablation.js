// Head ablation: the loss of a translator without any subset of the heads of one part.

import { fixed, h, rove, section, sentence, watch } from "./kit.js";

/** @typedef {import("./kit.js").Model} Model */
/** @typedef {{layers: number, heads: number}} Size */
/** @typedef {"encoder" | "decoder" | "cross"} Part */

/** @type {Part[]} */
const PARTS = ["encoder", "decoder", "cross"];
const WHERE = { encoder: "the encoder", decoder: "the decoder", cross: "the cross-attention" };
const ABOVE = "Loss (nats a word, log scale) of every subset; in each column from best to worst";
const BELOW = "heads that are on: press a number for the best subset of that size";

/** How many heads are off in the subset of this number. @param {number} off */
const popcount = (off) => off.toString(2).replaceAll("0", "").length;

/** @param {number} x */
const loss = (x) => fixed(x, 3);

/** @param {number} x */
const signed = (x) => (x < 0 ? "" : "+") + fixed(x, 3);

/** @param {(string | number)[]} words */
const listed = (words) => [words.slice(0, -1).join(", "), words[words.length - 1]].filter((w) => w !== "").join(" and ");

/** The heads that are off, in words. @param {number} off @param {Size} size */
export function named(off, { layers, heads }) {
  const groups = [];
  for (let l = 0; l < layers; l++) {
    const those = Array.from({ length: heads }, (_, k) => k + 1).filter((k) => (off >> (l * heads + k - 1)) & 1);
    if (those.length) groups.push(`head${those.length > 1 ? "s" : ""} ${listed(those)} of layer ${l + 1}`);
  }
  return listed(groups);
}

/** The subsets by how many heads are on, each from the least loss to the largest. @param {number[]} losses */
export function ordered(losses) {
  const count = Math.log2(losses.length), bySize = Array.from({ length: count + 1 }, () => /** @type {number[]} */ ([]));
  losses.forEach((_, off) => bySize[count - popcount(off)].push(off));
  return bySize.map((those) => those.sort((a, b) => losses[a] - losses[b] || a - b));
}

/** Place of each subset in per cent: columns by heads on, in each a step to the right for each better one; a log scale upwards.
 * @param {number[]} losses @param {[number, number]} range @returns {[number, number][]} */
export function places(losses, [low, high]) {
  const bySize = ordered(losses), pitch = 100 / bySize.length, found = losses.map(() => /** @type {[number, number]} */ ([0, 0]));
  bySize.forEach((those, on) => those.forEach((off, rank) => {
    found[off] = [pitch * (on + 0.5 + 0.8 * ((rank + 0.5) / those.length - 0.5)), (100 * Math.log(losses[off] / low)) / Math.log(high / low)];
  }));
  return found;
}

/** What the tiles say. @param {number[]} losses @param {number} off */
export function facts(losses, off) {
  const count = Math.log2(losses.length), gone = popcount(off);
  return [`${count - gone} of ${count}`, loss(losses[off]), signed(losses[off] - losses[0]), gone ? signed(apart(losses, off)) : "none is off"];
}

/** What the heads that are off cost one at a time, in all. @param {number[]} losses @param {number} off */
function apart(losses, off) {
  let sum = 0;
  for (let bit = 1; bit <= off; bit *= 2) if (off & bit) sum += losses[bit] - losses[0];
  return sum;
}

/** The sentence of result; Python writes the same one into the static picture.
 * @param {Part} part @param {number[]} losses @param {number} off @param {Size} size */
export function describe(part, losses, off, size) {
  const count = size.layers * size.heads, gone = popcount(off), on = count - gone, all = losses.length - 1, bySize = ordered(losses), rest = [];
  const before = loss(losses[0]), after = loss(losses[off]), change = losses[off] - losses[0];
  const moved = before === after ? `stays at ${after}` : `${change < 0 ? "falls" : "rises"} from ${before} to ${after}`;
  const who = off === all ? `any head of ${WHERE[part]}` : named(off, size);
  if (gone > 1) rest.push(`One at a time these heads cost ${signed(apart(losses, off))} in all, together ${signed(change)}.`);
  if (off === all) {
    const [one] = bySize[1];
    return [`Without ${who} the loss ${moved} nats a word.`, ...rest, `With one of them alone, ${named(all - one, size)}, it is ${loss(losses[one])}.`];
  }
  const left = Array.from({ length: count }, (_, i) => 2 ** i).filter((bit) => !(off & bit)).sort((a, b) => losses[off + a] - losses[off + b] || a - b);
  const missed = (/** @type {number} */ bit) => `${named(bit, size)} would be missed`, costs = (/** @type {number} */ bit) => `(${signed(losses[off + bit] - losses[off])})`;
  const least = left[0], most = left[left.length - 1];
  if (!off) return [`With all ${count} heads of ${WHERE[part]} the loss is ${after} nats a word.`, `Without any of them it is ${loss(losses[all])}.`, `Of single heads, ${missed(least)} least ${costs(least)}, ${named(most, size)} most ${costs(most)}.`];
  const ways = bySize[on], rank = ways.indexOf(off);
  rest.push(`Of ${ways.length} ways to leave out ${gone} it is ${rank ? `number ${rank + 1}; the best leaves out ${named(ways[0], size)}: ${loss(losses[ways[0]])}` : "the best"}.`);
  if (on > 1) rest.push(`Next, ${missed(least)} least ${costs(least)}.`);
  return [`Without ${who} the loss ${moved} nats a word.`, ...rest];
}

/** A dot at each place, as one path: lines of no length with round ends. @param {[number, number][]} at */
export const dots = (at) => at.map(([x, y]) => `M${x.toFixed(2)} ${(100 - y).toFixed(2)}h0`).join("");

/** @param {[number, number][]} at */
export const course = (at) => "M" + at.map(([x, y]) => `${x.toFixed(2)} ${(100 - y).toFixed(2)}`).join("L");

export default {
  /** @param {{model: Model, el: HTMLElement}} view */
  render({ model, el }) {
    /** @type {Size & {range: [number, number], ticks: [number, string][]}} */
    const size = model.get("size"), count = size.layers * size.heads, result = sentence();
    const climb = (/** @type {number} */ y) => (100 * Math.log(y / size.range[0])) / Math.log(size.range[1] / size.range[0]);
    /** @type {number | null} */ let preview = null;
    /** @type {number[]} */ let losses;
    /** @type {[number, number][]} */ let at;
    /** @type {number[][]} */ let bySize;
    const cloud = h("svg:path.pa-ha-dots"), line = h("svg:path.pa-ha-best"), bests = h("svg:path.pa-ha-bests"), base = h("span.pa-ha-base", {}, h("span", {}, "all heads")), dot = h("span.pa-ha-dot");
    const ticks = size.ticks.map(([y, text]) => h("span.pa-ha-y", { style: { bottom: `${climb(y)}%` } }, h("span", {}, text)));
    const box = h("div.pa-ha-box", { role: "img" }, ...ticks, base, h("svg:svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" }, cloud, line, bests), dot);
    const keys = Array.from({ length: count + 1 }, (_, on) => h("button", { type: "button", "data-on": on }, String(on)));
    const axis = h("div.pa-ha-axis", { role: "group", "aria-label": "The best subset of each size" }, ...keys), values = ["heads on", "loss", "change", "one at a time, in all"].map((name) => [name, h("strong")]);
    rove(axis, () => [keys]);
    el.replaceChildren(section("flow", ABOVE, box, axis, h("p.pa-caption.pa-ha-below", {}, BELOW), legend()),
      section("detail", model.get("told"), h("div.pa-tiles", {}, ...values.map(([name, value]) => h("div.pa-tile", {}, h("span", {}, name), value)))), result.el);

    /** The subset that the checkboxes say. */
    const asked = () => Array.from({ length: count }, (_, i) => (model.get(`head${i}`) ? 0 : 2 ** i)).reduce((a, b) => a + b, 0);

    function turn() {
      losses = model.get("losses")[PARTS[model.get("part")]];
      bySize = ordered(losses);
      at = places(losses, size.range);
      preview = null;
      const best = bySize.map(([off]) => at[off]);
      cloud.setAttribute("d", dots(at));
      bests.setAttribute("d", dots(best));
      line.setAttribute("d", course(best));
      base.style.bottom = `${at[0][1]}%`;
      box.setAttribute("aria-label", `Loss of the best subset by heads that are on: ${bySize.map(([off], on) => `${on}: ${loss(losses[off])}`).join(", ")}`);
      keys.forEach((key, on) => key.setAttribute("aria-label", `${on} heads on, the best: ${loss(losses[bySize[on][0]])}`));
      draw();
    }

    function draw() {
      const part = PARTS[model.get("part")], off = preview ?? asked(), on = count - popcount(off), told = facts(losses, off);
      Object.assign(dot.style, { left: `${at[off][0]}%`, bottom: `${at[off][1]}%` });
      keys.forEach((key, i) => key.setAttribute("aria-pressed", String(off === bySize[i][0])));
      values.forEach(([, value], i) => (value.textContent = told[i]));
      result.say(describe(part, losses, off, size));
      Object.assign(el.dataset, { weights: JSON.stringify(losses.map((x) => x - losses[0])), part, off, on, loss: losses[off], change: losses[off] - losses[0] });
    }

    /** @param {number | null} off @param {boolean} [keep] */
    function choose(off, keep = false) {
      preview = keep ? null : off;
      if (keep && off !== null) {
        for (let i = 0; i < count; i++) model.set(`head${i}`, !((off >> i) & 1));
        model.save_changes();
      }
      draw();
    }

    /** The subset nearest to the pointer. @param {PointerEvent | MouseEvent} e */
    function nearest(e) {
      const { left, bottom, width, height } = box.getBoundingClientRect(), far = at.map(([x, y]) => Math.hypot(left + (x / 100) * width - e.clientX, bottom - (y / 100) * height - e.clientY));
      const off = far.indexOf(Math.min(...far));
      return far[off] < 24 ? off : null;
    }

    const keyed = (/** @type {Event} */ e) => {
      const on = /** @type {Element} */ (e.target).closest("button")?.getAttribute("data-on");
      return on == null ? null : bySize[Number(on)][0];
    };
    box.addEventListener("pointermove", (/** @type {PointerEvent} */ e) => { if (nearest(e) !== preview) choose(nearest(e)); });
    box.addEventListener("pointerleave", () => choose(null));
    box.addEventListener("click", (/** @type {MouseEvent} */ e) => choose(nearest(e), true));
    for (const event of ["pointerover", "focusin"]) axis.addEventListener(event, (/** @type {Event} */ e) => choose(keyed(e)));
    for (const event of ["pointerleave", "focusout"]) axis.addEventListener(event, () => choose(null));
    axis.addEventListener("click", (/** @type {Event} */ e) => choose(keyed(e), true));
    turn();
    const stops = [watch(model, ["part", "losses"], turn), watch(model, Array.from({ length: count }, (_, i) => `head${i}`), draw)];
    return () => [...stops, result.stop].forEach((stop) => stop());
  },
};

const legend = () => h("p.pa-ha-key", {}, ...["one subset", "the best of its size", "the one that is set"].map((text, i) => h("span", {}, h(`i.pa-ha-key-${i}`), text)));
