// Why 1/sqrt(d): scores of random vectors, one softmax, and what is left of its gradient, at every width.

import { fixed, h, paint, percent, section, sentence, tidy, watch } from "./kit.js";

/** @typedef {import("./kit.js").Model} Model */
/** @typedef {{width: number, choice: number, numbers: number[]}} Measured */

const DIVISORS = ["nothing", "√d", "d"], REACH = 24, BINS = 40, BREADTH = 5;
const VARIANCE = 0, LARGEST = 1, GRADIENT = 2, READ = 3, BEYOND = 4, UNIT = 5, NUMBERS = 6; // places in a frame
const LINES = [LARGEST, GRADIENT], NAMES = ["Largest weight", "Gradient that survives the softmax"];

/** @param {number} width @param {number} choice */
export const divisor = (width, choice) => [1, Math.sqrt(width), width][choice];

/** A rounded percentage that never claims all or nothing. @param {number} x */
const share = (x) => (x >= 0.995 ? `over ${percent(0.99)}` : x < 0.005 ? `under ${percent(0.01)}` : percent(x));

/** All frames, [width][divisor][number]. @param {Model} model @returns {number[][][]} */
function table(model) {
  const view = /** @type {DataView} */ (model.get("frames")), size = NUMBERS + model.get("count") + BINS;
  return model.get("widths").map((/** @type {number} */ _, /** @type {number} */ i) => DIVISORS.map((_, c) =>
    Array.from({ length: size }, (_, j) => view.getFloat32(4 * ((i * DIVISORS.length + c) * size + j), true))));
}

/**
 * What was measured at the controls' values: exact where Python has sent it, else the nearest frame.
 * @param {Model} model @param {number[][][]} frames @returns {Measured}
 */
function measured(model, frames) {
  const asked = model.get("width"), choice = model.get("choice"), exact = model.get("exact"), widths = model.get("widths");
  if (exact.asked === asked && exact.choice === choice) return exact;
  const i = Math.min(Math.max(Math.round(Math.log2(asked)) - 1, 0), widths.length - 1);
  return { width: widths[i], choice, numbers: frames[i][choice] };
}

/** The sentence of result; Python writes the same one into the static picture. `ranges`: widths, then variances.
 * @param {number} width @param {number} choice @param {number[]} numbers @param {number[]} ranges @param {number} keys */
export function describe(width, choice, numbers, ranges, keys) {
  const by = ["Undivided", `Divided by √${width}`, `Divided by ${width}`][choice], largest = numbers[LARGEST];
  const [low, high, least, most] = ranges, peaked = (largest - 1 / keys) / (1 - 1 / keys); // 0: all keys alike, 1: one key
  const shape = peaked > 0.7 ? "close to one-hot" : peaked < 0.04 ? "close to uniform, so it hardly chooses" : "still soft";
  return [
    `${by}, the scores of vectors ${width} wide have variance ${tidy(numbers[VARIANCE])}.`,
    `At the powers of two from ${low} to ${high}, it lies between ${tidy(least)} and ${tidy(most)}.`,
    `The softmax is ${shape}: its largest weight is ${fixed(largest)} on average, and ${share(numbers[GRADIENT])} of the gradient survives.`,
  ];
}

/** Histogram and normal curve in per cent, the higher of the two at 92. @param {number[]} numbers @param {number} width @param {number} choice */
export function heights(numbers, width, choice) {
  const deviation = Math.sqrt(width) / divisor(width, choice);
  const ratio = (Math.sqrt(2 * Math.PI) * deviation) / ((numbers[UNIT] * 2 * BREADTH) / BINS);
  const relative = numbers.slice(-BINS).map((share) => share * ratio), top = 92 / Math.max(1, ...relative);
  return { levels: relative.map((x) => top * x), top };
}

/** The histogram as one path: x in scores, y in per cent downwards. @param {number[]} numbers @param {number} width @param {number} choice */
export function outline(numbers, width, choice) {
  const { levels } = heights(numbers, width, choice), step = (numbers[UNIT] * 2 * BREADTH) / BINS;
  const bars = levels.map((y, i) => `V${(100 - y).toFixed(2)}H${(step * (i + 1 - BINS / 2)).toFixed(3)}`);
  return `M${((-step * BINS) / 2).toFixed(3)} 100${bars.join("")}V100Z`;
}

/** The normal curve that independent entries of variance 1 would give. @param {number[]} numbers @param {number} width @param {number} choice */
export function bell(numbers, width, choice) {
  const { top } = heights(numbers, width, choice), deviation = Math.sqrt(width) / divisor(width, choice);
  const steps = Array.from({ length: 65 }, (_, i) => (i - 32) / 8);
  return "M" + steps.map((z) => `${(z * deviation).toFixed(3)} ${(100 - top * Math.exp((-z * z) / 2)).toFixed(2)}`).join("L");
}

/** Places of labels for values in [0, 1], pushed up or down until no two touch. @param {number[]} values */
export function apart(values, least = 0.16) {
  const order = values.map((_, i) => i).sort((a, b) => values[a] - values[b]), places = order.map((i) => values[i]);
  for (let i = 1; i < places.length; i++) places[i] = Math.max(places[i], places[i - 1] + least);
  for (let i = places.length - 1, ceiling = 1; i >= 0; i--) {
    places[i] = Math.min(places[i], ceiling);
    ceiling = places[i] - least;
  }
  return values.map((_, i) => places[order.indexOf(i)]);
}

/** @param {number} width @param {number[]} widths */
const along = (width, widths) => (100 * (Math.log2(width) - 1)) / Math.max(widths.length - 1, 1);

/** One of the two plots over all widths. @param {number} column @param {number[][][]} frames @param {number[]} widths */
function plot(column, frames, widths) {
  const name = NAMES[LINES.indexOf(column)], dot = h("span.pa-trend-dot");
  const lines = DIVISORS.map((_, c) => h("svg:path", { d: "M" + widths.map((d, i) => `${along(d, widths).toFixed(2)} ${(100 - 100 * frames[i][c][column]).toFixed(2)}`).join("L") }));
  const svg = h("svg:svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" }, ...lines);
  const places = apart(frames[frames.length - 1].map((f) => f[column]));
  const names = DIVISORS.map((text, c) => h("span.pa-trend-name", { style: { top: `${100 - 100 * places[c]}%` } }, text));
  const ticks = widths.filter((_, i) => i % 2 === 0).map((d) => h("span.pa-trend-tick", { style: { left: `${along(d, widths)}%` } }, String(d)));
  const box = h("div.pa-trends", { role: "img" }, svg, dot, ...names, ...ticks, h("span.pa-trend-one", {}, "1"), h("span.pa-trend-zero", {}, "0"));
  return {
    el: h("div", {}, h("p.pa-trends-name", {}, name), box),
    /** @param {Measured} at */
    draw({ width, choice, numbers }) {
      lines.forEach((line, c) => line.setAttribute("class", c === choice ? "pa-trend-on" : "pa-trend"));
      svg.append(lines[choice]); // on top of the others
      names.forEach((span, c) => span.classList.toggle("pa-on", c === choice));
      dot.style.left = `${along(width, widths)}%`;
      dot.style.top = `${100 - 100 * numbers[column]}%`;
      box.setAttribute("aria-label", `${name} at every width; the dot is at ${fixed(numbers[column])}`);
    },
  };
}

/** Histogram, normal curve and standard deviation on an axis that does not move. */
function spread() {
  const ghost = h("svg:path.pa-spread-ghost"), mine = h("svg:path.pa-spread-bars"), normal = h("svg:path.pa-spread-bell");
  const outside = h("span.pa-spread-beyond"), sigma = h("div.pa-spread-sigma"), words = h("p.pa-spread-sd");
  const ticks = [-20, -10, 0, 10, 20].map((t) => h("span.pa-spread-tick", { style: { left: `${50 + (50 * t) / REACH}%` } }, fixed(t, 0)));
  const box = h("div.pa-spread", { role: "img" },
    h("svg:svg", { viewBox: `${-REACH} 0 ${2 * REACH} 100`, preserveAspectRatio: "none", "aria-hidden": "true" }, ghost, mine, normal), outside, ...ticks, sigma, words);
  const expected = h("span"), grey = h("span", {}, h("i.pa-spread-grey"), "undivided");
  const key = h("p.pa-spread-key", {}, h("span", {}, h("i.pa-spread-mine"), "measured"), h("span", {}, h("i.pa-spread-normal"), expected), grey);
  return {
    box, key,
    /** @param {Measured} at */
    draw({ width, choice, numbers }) {
      const deviation = Math.sqrt(numbers[VARIANCE]), half = 50 * Math.min(deviation / REACH, 1), beyond = numbers[BEYOND];
      ghost.setAttribute("d", outline(numbers.map((x, i) => (i === UNIT ? x * divisor(width, choice) : x)), width, 0));
      mine.setAttribute("d", outline(numbers, width, choice));
      normal.setAttribute("d", bell(numbers, width, choice));
      outside.textContent = beyond >= 0.005 ? `${percent(beyond)} lie beyond ±${REACH}` : "";
      sigma.style.left = `${50 - half}%`;
      sigma.style.width = `${2 * half}%`;
      words.textContent = `standard deviation ${tidy(deviation)}`;
      expected.textContent = `normal, variance ${tidy(width / divisor(width, choice) ** 2)}`;
      grey.style.visibility = choice === 0 ? "hidden" : "";
      box.setAttribute("aria-label", `Histogram of the scores: standard deviation ${tidy(deviation)}${outside.textContent ? `; ${outside.textContent}` : ""}`);
    },
  };
}

/** One bar a key. @param {number} count */
function shares(count) {
  const columns = Array.from({ length: count }, (_, i) => {
    const fill = h("span.pa-share-fill"), value = h("span.pa-share-value");
    return { el: h("div.pa-share", {}, h("div.pa-share-box", {}, fill, value), h("span.pa-share-name", {}, `k${i + 1}`)), fill, value };
  });
  const el = h("div.pa-shares", { role: "img", style: { "--keys": count } }, ...columns.map((c) => c.el), h("div.pa-share-level", { style: { "--at": 1 / count } }));
  return {
    el,
    /** @param {number[]} weights */
    draw(weights) {
      columns.forEach(({ fill, value }, i) => {
        fill.style.height = `${100 * weights[i]}%`;
        paint(fill, weights[i]);
        value.style.bottom = `${100 * weights[i]}%`;
        value.textContent = fixed(weights[i]);
      });
      el.setAttribute("aria-label", "Weights: " + weights.map((w, i) => `k${i + 1} ${fixed(w)}`).join(", "));
    },
  };
}

/** @param {string} name */
function fact(name) {
  const value = h("strong");
  return { el: h("div.pa-tile", {}, h("span", {}, name), value), value };
}

export default {
  /** @param {{model: Model, el: HTMLElement}} view */
  render({ model, el }) {
    /** @type {number[]} */
    const widths = model.get("widths"), keys = model.get("count"), rows = model.get("rows"), frames = table(model);
    const scores = spread(), row = shares(keys), lines = LINES.map((column) => plot(column, frames, widths)), result = sentence();
    const facts = ["variance of the scores", "keys effectively read", "largest weight", "gradient that survives"].map(fact);
    el.replaceChildren(
      section("flow", `Scores of ${rows * keys} pairs, drawn to one height`, scores.box, scores.key),
      section("matrix", "One query’s softmax (dashed: all keys alike)", row.el),
      section("detail", `Means over ${rows} queries. Gradient: Σ w(1 − w), as a share of the most it can be`, h("div.pa-tiles", {}, ...facts.map((f) => f.el)), h("div.pa-trends-pair", {}, ...lines.map((l) => l.el))), result.el);

    function draw() {
      const at = measured(model, frames), { width, choice, numbers } = at;
      const weights = numbers.slice(NUMBERS, -BINS), variances = frames.map((f) => f[choice][VARIANCE]);
      const ranges = [widths[0], widths[widths.length - 1], Math.min(...variances), Math.max(...variances)];
      scores.draw(at);
      row.draw(weights);
      lines.forEach((l) => l.draw(at));
      const texts = [tidy(numbers[VARIANCE]), `${fixed(numbers[READ], 1)} of ${keys}`, fixed(numbers[LARGEST]), share(numbers[GRADIENT])];
      facts.forEach((f, i) => (f.value.textContent = texts[i]));
      result.say(describe(width, choice, numbers, ranges, keys));
      Object.assign(el.dataset, {
        weights: JSON.stringify(weights), width, divide: DIVISORS[choice], variance: numbers[VARIANCE], largest: numbers[LARGEST],
        gradient: numbers[GRADIENT], read: numbers[READ], histogram: JSON.stringify(numbers.slice(-BINS)),
      });
    }

    draw();
    const stop = watch(model, ["width", "choice", "exact"], draw);
    return () => [stop, result.stop].forEach((f) => f());
  },
};
