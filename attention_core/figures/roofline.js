// Roofline: operations and bytes of two schedules at every length, and what a GPU makes of them.

import { fixed, h, section, sentence, watch } from "./kit.js";

/** @typedef {import("./kit.js").Model} Model */
/** @typedef {{flops: number, bytes: number, sram: number}} Counts */
/** @typedef {{name: string, peak: number, bandwidth: number, sram: number, published: boolean}} GPU */
/** @typedef {[number, number]} Range */

const COLS = 64, NAMES = ["standard", "tiled", "inputs once"], KEYS = ["standard", "tiled", "once"];
const GROWTH = "Against n, both axes logarithmic: a straight line is a power of n, its slope the exponent";
const TIMES = "A bound, not a measurement: the longer of arithmetic at the peak rate and traffic at full bandwidth, if all traffic counted reaches slow memory. A cache may serve what is read again: the least that any schedule needs is that of inputs once.";
/** @type {Range[]} */
const [LENGTHS, FLOPS, BYTES, INTENSITY, RATE] = [[2 ** 7, 2 ** 20], [1e6, 1e16], [1e4, 1e14], [2 ** 2, 2 ** 19], [0.5e12, 4e15]];
const SIZES = Array.from({ length: 14 }, (_, i) => 2 ** (7 + i));

/** What a single tiled pass of one head counts; see flash/cost.py. @param {number} n @param {number} d @param {number} rows @param {boolean | number} causal @returns {Counts} */
function tiled(n, d, rows, causal) {
  const whole = Math.floor(n / rows), rest = n - whole * rows, tiles = whole + Number(rest > 0);
  const stops = rows * ((whole * (whole + 1)) / 2); // of the whole tiles: the keys that each may see under a causal mask
  const keys = causal ? stops + (rest && n) : tiles * n, pairs = causal ? rows * stops + rest * n : n * n;
  return { flops: 4 * pairs * d, bytes: 2 * (2 * n * d + 2 * keys * d) + 4 * n, sram: 2 * d * (rows + 2 * COLS) + 4 * rows * (COLS + d + 2) };
}

/** Standard, tiled, and tiled with inputs read once. @param {number} n @param {number} d @param {number} rows @param {boolean | number} causal @returns {Counts[]} */
export function counts(n, d, rows, causal) {
  const cut = tiled(n, d, rows, causal);
  return [{ flops: 4 * n * n * d, bytes: 2 * (4 * n * d + 4 * n * n), sram: 4 * n }, cut, { ...tiled(n, d, n, causal), flops: cut.flops }];
}

/** Three figures at most. @param {number} x */
const three = (x) => String(Number(x.toPrecision(3)));

/** 8388608 bytes are 8.39 MB. @param {number} x @param {string} unit @param {string[]} [prefixes] */
export function si(x, unit, prefixes = ["", "k", "M", "G", "T", "P"]) {
  let i = 0;
  for (; x >= 999.5 && i < prefixes.length - 1; i++) x /= 1000;
  return `${three(x)}\u00a0${prefixes[i]}${unit}`;
}

/** @param {number} x */
const seconds = (x) => si(1e9 * x, "s", ["n", "µ", "m", ""]);
/** @param {number} x */
const kib = (x) => `${x < 1024000 ? three(x / 1024) : Math.round(x / 1024)}\u00a0KiB`;
/** @param {Counts} c */
const intensity = (c) => c.flops / c.bytes;
/** @param {GPU} gpu */
const ridge = (gpu) => gpu.peak / gpu.bandwidth;
/** Seconds of arithmetic and of traffic, each at its peak. @param {GPU} gpu @param {Counts} c */
const spent = (gpu, c) => [c.flops / gpu.peak, c.bytes / gpu.bandwidth];

/** The sentence of result; Python writes the same one into the static picture.
 * @param {number} n @param {number} rows @param {GPU} gpu @param {Counts[]} at @param {Counts[]} twice at 2n */
export function describe(n, rows, gpu, at, twice) {
  const [standard, cut, once] = at, ratio = standard.bytes / cut.bytes, part = cut.flops / standard.flops;
  let much = "about as many bytes as";
  if (ratio >= 1.05) much = `${three(ratio)} times fewer bytes than`;
  else if (ratio <= 0.95) much = `${three(1 / ratio)} times more bytes than`;
  const waits = [standard, cut].map((c) => (intensity(c) < ridge(gpu) ? "memory" : "arithmetic")), [low, high] = [standard, cut].map((c) => three(intensity(c)));
  const who = waits[0] === waits[1] ? `both wait for ${waits[0]}: ${low} and ${high}.` : `the standard one, at ${low}, waits for ${waits[0]}, the tiled one, at ${high}, for ${waits[1]}.`;
  return [
    `At n = ${n} tiling moves ${much} the standard schedule: ${si(cut.bytes, "B")} against ${si(standard.bytes, "B")}.`,
    part === 1 ? "The arithmetic is the same." : `Under the causal mask it computes ${fixed(100 * part, 0)}\u00a0% of the pairs.`,
    `From n to 2n its traffic grows ${three(twice[1].bytes / cut.bytes)} times; only inputs read once would grow ${three(twice[2].bytes / once.bytes)} times.`,
    `${gpu.name} turns from memory to arithmetic at ${three(ridge(gpu))} operations a byte, so ${who}`,
    ...(cut.sram > gpu.sram ? [`A tile of ${rows} by ${COLS} needs ${kib(cut.sram)} of fast memory, more than a multiprocessor has.`] : []),
  ];
}

/** Place on a logarithmic axis, in per cent. @param {number} x @param {Range} ends */
const share = (x, [low, high]) => (100 * Math.log2(x / low)) / Math.log2(high / low);

/** @param {number[][]} points @param {Range} across @param {Range} up */
const path = (points, across, up) => "M" + points.map(([x, y]) => `${share(x, across)} ${100 - share(y, up)}`).join("L");

/**
 * A box with logarithmic axes. @param {string} name @param {string} kind @param {Range} across @param {Range} up
 * @param {Record<string, number>} x @param {Record<string, number>} y @param {Node[]} paths @param {...Node} more
 */
function plot(name, kind, across, up, x, y, paths, ...more) {
  const box = h(`div.pa-roof.pa-${kind}`, { role: "img" },
    ...Object.entries(y).map(([text, at]) => h("span.pa-roof-y", { style: { top: `${100 - share(at, up)}%` } }, h("span", {}, text))),
    ...Object.entries(x).map(([text, at]) => h("span.pa-roof-x", { style: { left: `${share(at, across)}%` } }, text)),
    h("svg:svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" }, ...paths), ...more);
  return {
    parts: [h("p.pa-roof-name", {}, name), box],
    /** @param {HTMLElement} dot @param {number} at @param {number} value */
    put: (dot, at, value) => Object.assign(dot.style, { left: `${share(at, across)}%`, top: `${100 - share(value, up)}%` }),
    label: (/** @type {string} */ said) => box.setAttribute("aria-label", `${name}: ${said}`),
  };
}

/** One quantity against n. @param {string} name @param {"flops" | "bytes"} what @param {number} schedules @param {Range} up @param {Record<string, number>} ticks @param {string} unit */
function growth(name, what, schedules, up, ticks, unit) {
  const keys = KEYS.slice(0, schedules), lines = keys.map((key) => h(`svg:path.pa-line-${key}`)), dots = keys.map((key) => h(`span.pa-roof-dot.pa-dot-${key}`));
  const at = h("span.pa-roof-at"), slopes = keys.map(() => h("span"));
  const { parts, put, label } = plot(name, "growth", LENGTHS, up, { 128: 2 ** 7, "1k": 2 ** 10, "8k": 2 ** 13, "64k": 2 ** 16, "1M": 2 ** 20 }, ticks, lines, at, ...dots);
  return {
    el: h("div", {}, ...parts, h("p.pa-roof-key", {}, ...slopes)),
    /** @param {number} n @param {Counts[][]} grown @param {Counts[]} here @param {Counts[]} twice */
    draw(n, grown, here, twice) {
      at.style.left = `${share(n, LENGTHS)}%`;
      const exponents = keys.map((_, s) => Math.log2(twice[s][what] / here[s][what]));
      keys.forEach((key, s) => {
        lines[s].setAttribute("d", path(grown.map((c, i) => [SIZES[i], c[s][what]]), LENGTHS, up));
        put(dots[s], n, here[s][what]);
        slopes[s].replaceChildren(h(`i.pa-key-${key}`), `${NAMES[s]}: slope ${fixed(exponents[s])}`);
      });
      label(keys.map((_, s) => `${NAMES[s]} ${si(here[s][what], unit)} with slope ${fixed(exponents[s])}`).join(", ") + ` at n = ${n}`);
      return exponents;
    },
  };
}

/** The roof of a GPU with each schedule on it. */
function roof() {
  const under = h("svg:path.pa-roof-under"), edge = h("svg:path.pa-roof-edge"), words = h("span"), corner = h("span.pa-ridge", {}, words);
  const dots = KEYS.map((key) => h(`span.pa-roof-dot.pa-dot-${key}`, {}, h("span", {}, key[0].toUpperCase())));
  const { parts, put, label } = plot("TFLOP/s at most, against FLOP a byte", "rooftop", INTENSITY, RATE,
    { 4: 4, 32: 32, 256: 256, "2k": 2 ** 11, "16k": 2 ** 14, "128k": 2 ** 17 }, { 1: 1e12, 10: 1e13, 100: 1e14, 1000: 1e15 }, [under, edge], corner, ...dots);
  return {
    el: h("div", {}, ...parts),
    /** @param {GPU} gpu @param {Counts[]} at */
    draw(gpu, at) {
      const reach = (/** @type {number} */ x) => Math.min(gpu.peak, gpu.bandwidth * x), [low, high] = INTENSITY, turn = Math.min(Math.max(ridge(gpu), low), high);
      const line = path([low, turn, high].map((x) => [x, reach(x)]), INTENSITY, RATE);
      edge.setAttribute("d", line);
      under.setAttribute("d", `${line}L100 100L0 100Z`);
      corner.style.left = `${share(turn, INTENSITY)}%`;
      words.textContent = `ridge ${three(ridge(gpu))}`;
      at.forEach((c, s) => put(dots[s], intensity(c), reach(intensity(c))));
      label(at.map((c, s) => `${NAMES[s]} ${three(reach(intensity(c)) / 1e12)} at ${three(intensity(c))}`).join(", ") + `; ridge at ${three(ridge(gpu))}`);
    },
  };
}

/** Two bars a schedule; the longer one is its bound. */
function times() {
  const rows = KEYS.map((key) => {
    const head = h("span"), bars = ["arithmetic", "traffic"].map((kind) => {
      const bar = h("i"), value = h("strong");
      return { el: h("p.pa-time", {}, h("span", {}, kind), h("i", {}, bar), value), bar, value };
    });
    return { el: h(`div.pa-times-${key}`, {}, h("p.pa-time-name", {}, h("b", {}, key[0].toUpperCase()), head), ...bars.map((b) => b.el)), head, bars };
  });
  return {
    el: h("div.pa-times", {}, ...rows.map((r) => r.el)),
    /** @param {GPU} gpu @param {Counts[]} at */
    draw(gpu, at) {
      const all = at.map((c) => spent(gpu, c)), most = Math.max(...all.flat());
      rows.forEach(({ head, bars }, s) => {
        head.textContent = `${NAMES[s]}: ${three(intensity(at[s]))} FLOP a byte`;
        bars.forEach(({ el, bar, value }, i) => {
          el.classList.toggle("pa-time-bound", all[s][i] === Math.max(...all[s]));
          bar.style.width = `${(100 * all[s][i]) / most}%`;
          value.textContent = seconds(all[s][i]);
        });
      });
      return all.map((pair) => Math.max(...pair));
    },
  };
}

/** @param {GPU} gpu */
const source = (gpu) => `${gpu.name}, ${gpu.published ? "published by NVIDIA" : "as given"}: ${three(gpu.peak / 1e12)} TFLOP/s of dense bfloat16, ${si(gpu.bandwidth, "B/s")}, ${kib(gpu.sram)} of shared memory and registers in a multiprocessor. Counts are for one head, forward.`;

export default {
  /** @param {{model: Model, el: HTMLElement}} view */
  render({ model, el }) {
    const flops = growth("Operations (FLOP)", "flops", 2, FLOPS, { "1 M": 1e6, "1 G": 1e9, "1 T": 1e12, "1 P": 1e15 }, "FLOP");
    const bytes = growth("Bytes to and from slow memory", "bytes", 3, BYTES, { "1 MB": 1e6, "1 GB": 1e9, "1 TB": 1e12 }, "B");
    const top = roof(), bars = times(), result = sentence(), published = h("p.pa-caption.pa-roofnote");
    const names = ["S tends to, FLOP a byte", "T tends to, FLOP a byte", "ridge, FLOP a byte", "fast memory of a tile"], values = names.map(() => h("strong"));
    const under = section("detail", "", h("div.pa-roofs", {}, top.el, bars.el), h("p.pa-caption.pa-roofnote", {}, TIMES),
      h("div.pa-tiles", {}, ...values.map((value, i) => h("div.pa-tile", {}, h("span", {}, names[i]), value))), published);
    el.replaceChildren(section("flow", GROWTH, h("div.pa-growths", {}, flops.el, bytes.el)), under, result.el);

    function draw() {
      const [n, d, rows] = ["n", "d", "rows"].map((name, i) => Math.min(Math.max(Math.round(model.get(name)), [2 ** 7, 2 ** 4, 2 ** 4][i]), [2 ** 20, 2 ** 8, 2 ** 10][i]));
      const causal = model.get("causal"), gpu = /** @type {GPU} */ (model.get("gpus")[model.get("gpu")]);
      const grown = SIZES.map((m) => counts(m, d, rows, causal)), here = counts(n, d, rows, causal), twice = counts(2 * n, d, rows, causal);
      const slopes = [flops, bytes].map((chart) => chart.draw(n, grown, here, twice));
      top.draw(gpu, here);
      const bounds = bars.draw(gpu, here);
      under.firstChild.textContent = `${gpu.name}: how fast it can compute at so many operations a byte`;
      const said = [`d/2 = ${three(d / 2)}`, `r = ${rows}`, three(ridge(gpu)), `${kib(here[1].sram)} of ${kib(gpu.sram)}`];
      said.forEach((value, i) => (values[i].textContent = value));
      published.textContent = source(gpu);
      result.say(describe(n, rows, gpu, here, twice));
      Object.assign(el.dataset, { weights: JSON.stringify(here.map((c, s) => [c.flops, c.bytes, bounds[s]])), slopes: JSON.stringify(slopes), n, d, rows, causal, gpu: gpu.name });
    }

    draw();
    const stop = watch(model, ["n", "d", "rows", "causal", "gpu"], draw);
    return () => [stop, result.stop].forEach((f) => f());
  },
};
