// Bottleneck: what one recurrent state keeps of each token, and the direct links beside it.

import { fixed, h, ramp, section, sentence, watch } from "./kit.js";

/** @typedef {import("./kit.js").Model} Model */

const LENGTHS = [2, 60], SPELLED = 8; // tokens up to which every bar carries its number
const ABOVE = "Through one state: what is left of each token, beside the newest";
const BELOW = "Direct links: one step from every token, nothing fades on the way";

/** What is left of each token, oldest first, the newest being 1. @param {number} n @param {number} gate */
export const retained = (n, gate) => Array.from({ length: n }, (_, j) => gate ** (n - 1 - j));

/** Tokens after which half is left; 0 where nothing is kept, Infinity where all is. @param {number} gate */
export const halfLife = (gate) => (gate === 0 ? 0 : gate === 1 ? Infinity : Math.log(0.5) / Math.log(gate));

/** A share in per cent that never claims all or nothing where it is not. @param {number} x */
export function share(x) {
  if (x === 0 || x === 1) return `${100 * x}\u00a0%`;
  if (x < 1e-4) return "under 0.01\u00a0%";
  if (x > 0.999) return "over 99.9\u00a0%";
  return `${fixed(100 * x, x < 0.01 ? 2 : x < 0.1 || x > 0.99 ? 1 : 0)}\u00a0%`;
}

/** How many tokens keep a hundredth or more. @param {number[]} kept */
const alive = (kept) => kept.filter((x) => x >= 0.01).length;

/** @param {number} half */
const tokens = (half) => (half === Infinity ? "never" : half === 0 ? "at once" : `${fixed(half, 1)} tokens`);

/** The sentence of result; Python writes the same one into the static picture. @param {number} n @param {number} gate */
export function describe(n, gate) {
  const kept = retained(n, gate), link = "A direct link is one step long for every token, the oldest like the newest.";
  if (gate === 0) return ["At gate 0 the state is the newest token and nothing else.", "Each new token writes over all that was there.", link];
  if (gate === 1) return ["At gate 1 the state keeps everything and writes nothing.", "No token can fade, because none ever gets in.", link];
  return [
    `At gate ${fixed(gate)} one state keeps ${share(kept[0])} of the token ${n - 1} back.`,
    `Half is gone after ${tokens(halfLife(gate))}; 1\u00a0% or more is left of ${alive(kept)} of ${n}.`,
    link,
  ];
}

/** Facts under the picture. @param {number} n @param {number} gate */
export function facts(n, gate) {
  const kept = retained(n, gate);
  return [tokens(halfLife(gate)), share(kept[0]), `${alive(kept)} of ${n}`, share(1 - gate)];
}

/** Middle of token j, in per cent. @param {number} j @param {number} n */
const middle = (j, n) => (100 * (j + 0.5)) / n;

/** The curve from token j down to the reader. @param {number} j @param {number} n */
const link = (j, n) => `M${middle(j, n).toFixed(2)} 0C${middle(j, n).toFixed(2)} 60 50 40 50 100`;

export default {
  /** @param {{model: Model, el: HTMLElement}} view */
  render({ model, el }) {
    const bars = h("div.pa-neck-bars"), mark = h("div.pa-neck-half", {}, h("span")), result = sentence();
    const grid = [1, 0.5].map((y) => h("div.pa-neck-line", { style: { bottom: `${100 * y}%` } }, h("span", {}, y === 1 ? "1" : "½")));
    const oldest = h("span"), ends = h("p.pa-neck-ends", {}, oldest, h("span", {}, "newest"));
    const fan = h("svg:svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" });
    const box = h("div.pa-neck-box", { role: "img" }, ...grid, bars, mark), links = h("div.pa-neck-links", { role: "img" }, fan, h("span.pa-neck-reader", {}, "reader"));
    const names = ["half is left after", "left of the oldest", "tokens with 1\u00a0% or more", "written of each token"], values = names.map(() => h("strong"));
    el.replaceChildren(
      section("flow", ABOVE, h("div.pa-neck", {}, box, ends, links), h("p.pa-caption.pa-neck-below", {}, BELOW)),
      section("detail", "", h("div.pa-tiles", {}, ...values.map((value, i) => h("div.pa-tile", {}, h("span", {}, names[i]), value)))), result.el);

    function draw() {
      const n = Math.min(Math.max(Math.round(model.get("length")), LENGTHS[0]), LENGTHS[1]), gate = Math.min(Math.max(model.get("gate"), 0), 1);
      const kept = retained(n, gate), half = halfLife(gate), at = middle(n - 1 - half, n);
      bars.style.setProperty("--tokens", n);
      bars.replaceChildren(...kept.map((x) => h("div.pa-neck-bar", {},
        h("i", { style: { height: `${100 * x}%`, background: ramp(x) } }), ...(n > SPELLED ? [] : [h("span", { style: { bottom: `${100 * x}%` } }, fixed(x))]))));
      fan.replaceChildren(...kept.map((_, j) => h("svg:path", { d: link(j, n) })));
      mark.hidden = !(half > 0 && at >= 0);
      mark.style.left = `${at}%`;
      mark.classList.toggle("pa-neck-early", at < 50);
      mark.firstChild.textContent = `half left, ${fixed(half, 1)} back`;
      oldest.textContent = `oldest, ${n - 1} back`;
      box.setAttribute("aria-label", `Through the state: ${share(kept[0])} of the oldest of ${n} tokens is left, all of the newest`);
      links.setAttribute("aria-label", `${n} direct links to the reader, all alike`);
      facts(n, gate).forEach((text, i) => (values[i].textContent = text));
      result.say(describe(n, gate));
      Object.assign(el.dataset, { weights: JSON.stringify([kept, kept.map(() => 1)]), length: n, gate });
    }

    draw();
    const stop = watch(model, ["length", "gate"], draw);
    return () => [stop, result.stop].forEach((f) => f());
  },
};
