// Soft to hard: six logits, one temperature, and how many keys the softmax really reads.

import { argmax, fixed, h, logTicks, paint, percent, section, sentence, tidy, watch } from "./kit.js";

/** @typedef {import("./kit.js").Model} Model */

const KEYS = 6, LOW = -1.3, HIGH = 1; // exponents of ten on the temperature axis
const LOGITS = Array.from({ length: KEYS }, (_, i) => `logit_${i + 1}`);
const MOST = Math.log2(KEYS);

/** softmax(logits / temperature); the largest logit is taken away first, so that nothing overflows.
 * @param {number[]} logits @param {number} temperature */
export function softmax(logits, temperature) {
  const top = Math.max(...logits), powers = logits.map((x) => Math.exp((x - top) / temperature));
  const sum = powers.reduce((a, b) => a + b, 0);
  return powers.map((p) => p / sum);
}

/** In bits; a weight of zero adds nothing. @param {number[]} weights */
export const entropy = (weights) => weights.reduce((sum, w) => (w > 0 ? sum - w * Math.log2(w) : sum), 0);

/** The limit T -> 0: the largest logits share everything. @param {number[]} logits */
export function hard(logits) {
  const top = Math.max(...logits), winners = logits.filter((x) => x === top).length;
  return logits.map((x) => (x === top ? 1 / winners : 0));
}

/** Points of the entropy curve, in per cent of the plot. @param {number[]} logits */
export function curve(logits) {
  return Array.from({ length: 61 }, (_, i) => {
    const bits = entropy(softmax(logits, 10 ** (LOW + ((HIGH - LOW) * i) / 60)));
    return `${((100 * i) / 60).toFixed(2)} ${(100 - (100 * bits) / MOST).toFixed(2)}`;
  });
}

/** The sentence of result; Python writes the same one into the static picture.
 * @param {string[]} labels @param {number[]} logits @param {number} temperature @param {number[]} weights */
export function describe(labels, logits, temperature, weights) {
  const effective = 2 ** entropy(weights), best = argmax(logits), winners = hard(logits).filter(Boolean).length;
  const lead = `At temperature ${tidy(temperature, 2)} the softmax reads about ${fixed(effective, 1)} of ${KEYS} keys.`;
  if (winners === KEYS) return [lead, "All logits are equal, so no temperature can tell the keys apart."];
  const share = `${percent(weights[best])} is on “${labels[best]}”${winners > 1 ? `, one of ${winners} that tie` : ""}.`;
  if (effective < winners + 0.05) return [lead, share, "Close to the hard limit: colder changes nothing you can see."];
  if (effective > KEYS - 0.05) return [lead, share, "Close to the uniform limit: the logits hardly matter."];
  return [lead, share, `Colder, ${winners > 1 ? "only the tied keys are" : "it alone is"} left; hotter, every key tends to ${percent(1 / KEYS)}.`];
}

/** @param {string} name */
function tile(name) {
  const value = h("strong");
  return { el: h("div.pa-tile", {}, h("span", {}, name), value), value };
}

export default {
  /** @param {{model: Model, el: HTMLElement}} view */
  render({ model, el }) {
    /** @type {string[]} */
    const labels = model.get("labels");
    const columns = labels.map((label) => {
      const fill = h("span.pa-fill"), value = h("span.pa-barvalue"), ghost = h("span.pa-ghost"), name = h("span.pa-barname", {}, label);
      return { el: h("div.pa-bar", {}, h("div.pa-barbox", {}, ghost, fill, value), name), fill, value, ghost, name };
    });
    const bars = h("div.pa-bars", { role: "img" }, ...columns.map((c) => c.el), h("div.pa-uniform", { style: { "--at": 1 / KEYS } }));
    const line = h("svg:path.pa-curve"), dot = h("span.pa-dot");
    const ticks = logTicks(10 ** LOW, 10 ** HIGH).map((t) => h("span.pa-tick", { style: { left: `${(100 * (Math.log10(t) - LOW)) / (HIGH - LOW)}%` } }, tidy(t)));
    const plot = h("div.pa-plot", { role: "img" },
      h("svg:svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" }, line), dot,
      h("span.pa-ceiling", {}, `${fixed(MOST)} bits: all ${KEYS} keys alike`), h("span.pa-floor", {}, "0 bits: one key"), ...ticks);
    const tiles = ["entropy", "effective keys", "largest weight"].map(tile), result = sentence();
    el.replaceChildren(
      section("flow", "Weights, softmax(logits ÷ temperature)", bars, h("p.pa-key", {}, h("span", {}, h("span.pa-hardkey"), "hard limit (temperature → 0)"), h("span", {}, h("span.pa-uniformkey"), "uniform limit (→ ∞)"))),
      section("detail", "Entropy at every temperature (log scale)", plot, h("div.pa-tiles", {}, ...tiles.map((t) => t.el))), result.el);

    function draw() {
      const logits = LOGITS.map((name) => Number(model.get(name))), temperature = model.get("temperature"), exact = model.get("exact");
      const same = exact.temperature === temperature && logits.every((x, i) => x === exact.logits[i]);
      const weights = same ? /** @type {number[]} */ (exact.weights) : softmax(logits, temperature);
      const limit = hard(logits), bits = entropy(weights), best = argmax(weights);
      columns.forEach(({ fill, value, ghost, name }, i) => {
        fill.style.height = `${100 * weights[i]}%`;
        paint(fill, weights[i]);
        value.style.bottom = `${100 * weights[i]}%`;
        value.textContent = fixed(weights[i]);
        ghost.style.height = `${100 * limit[i]}%`;
        ghost.hidden = limit[i] === 0;
        name.classList.toggle("pa-best", limit[i] > 0);
      });
      bars.setAttribute("aria-label", "Weights: " + labels.map((label, i) => `${label} ${fixed(weights[i])}`).join(", "));
      line.setAttribute("d", `M${curve(logits).join("L")}`);
      dot.style.left = `${(100 * (Math.log10(temperature) - LOW)) / (HIGH - LOW)}%`;
      dot.style.top = `${100 - (100 * bits) / MOST}%`;
      plot.setAttribute("aria-label", `Entropy curve; the dot is at ${fixed(bits)} bits`);
      tiles[0].value.textContent = `${fixed(bits)} bits`;
      tiles[1].value.textContent = `${fixed(2 ** bits, 1)} of ${KEYS}`;
      tiles[2].value.textContent = fixed(weights[best]);
      result.say(describe(labels, logits, temperature, weights));
      Object.assign(el.dataset, { weights: JSON.stringify(weights), temperature, logits: JSON.stringify(logits), entropy: bits, argmax: best });
    }

    draw();
    const stop = watch(model, ["temperature", "exact", ...LOGITS], draw);
    return () => [stop, result.stop].forEach((f) => f());
  },
};
