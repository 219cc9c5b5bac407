// Alignment score: draw links, and count what the alignment error rate makes of them.

import { fixed, h, rove, section, sentence, watch } from "./kit.js";

/** @typedef {import("./kit.js").Model} Model */
/** @typedef {[number, number]} Link target, source */
/** @typedef {{name: string, source: string[], target: string[], sure: Link[], possible: Link[], starts: Link[][]}} Example */
/** @typedef {{found: number, sure: number, hit: number, right: number, aer: number, precision: number, recall: number}} Count */
/** @typedef {{example: number, start: number, cells: Link[]}} Toggled */

const within = (/** @type {Link[]} */ links, /** @type {Link} */ [t, s]) => links.some(([a, b]) => a === t && b === s);
const flip = (/** @type {Link[]} */ links, /** @type {Link} */ link) =>
  within(links, link) ? links.filter(([t, s]) => t !== link[0] || s !== link[1]) : [...links, link];

/** Och and Ney's counts and rates; Python's `alignment.score` is the same. @param {Link[]} links @param {Link[]} sure @param {Link[]} possible @returns {Count} */
export function measure(links, sure, possible) {
  const found = links.length, hit = links.filter((link) => within(sure, link)).length, right = links.filter((link) => within(possible, link)).length;
  return { found, sure: sure.length, hit, right, aer: 1 - (hit + right) / (found + sure.length), precision: found ? right / found : 1, recall: hit / sure.length };
}

/** The start, with the cells that the reader has turned since; they count for that start alone.
 * @param {Example} example @param {number} index @param {number} start @param {Toggled} toggled @returns {Link[]} */
export function linksOf(example, index, start, toggled) {
  const cells = toggled.example === index && toggled.start === start ? toggled.cells : [];
  return cells.reduce(flip, example.starts[start]);
}

/** What a person says of a cell. @param {Example} example @param {Link} link */
const goldOf = ({ sure, possible }, link) => (within(sure, link) ? "sure" : within(possible, link) ? "possible" : "none");

const MARKS = { sure: ["○", "✓"], possible: ["", "✓"], none: ["", "×"] };
const WORDS = {
  sure: ["a sure link, missed", "proposed, and a sure link"],
  possible: ["a possible link, not proposed", "proposed, and a possible link"],
  none: ["no link", "proposed, and wrong"],
};

/** @param {Example} example @param {Link[]} links */
const names = ({ source, target }, links) => links.map(([t, s]) => `${target[t]}–${source[s]}`).join(", ");

/** The sentence of result; Python writes the same one into the static picture.
 * @param {Example} example @param {Link[]} links @param {boolean} shown whether the gold links are @param {Link | null} [at] */
export function describe(example, links, shown, at = null) {
  const { sure, possible } = example, now = measure(links, sure, possible);
  if (!shown) return [`${links.length} ${links.length === 1 ? "link is" : "links are"} proposed.`, "Show the gold links to count them."];
  if (at) {
    const kind = goldOf(example, at), on = within(links, at), then = measure(flip(links, at), sure, possible);
    return [
      `“${example.target[at[0]]}” with “${example.source[at[1]]}”: ${WORDS[kind][Number(on)]}.`,
      `${on ? "Without" : "With"} it the error rate would be ${fixed(then.aer, 3)}; it is ${fixed(now.aer, 3)}.`,
    ];
  }
  const wrong = links.filter((link) => !within(possible, link)), missed = sure.filter((link) => !within(links, link));
  const said = [`Error rate ${fixed(now.aer, 3)}: ${now.right} of ${now.found} proposed links are possible, ${now.hit} of ${now.sure} sure links are found.`];
  if (!now.found) said.push("Where nothing is proposed, nothing is wrong, and nothing found.");
  if (wrong.length) said.push(wrong.length > 3 ? `${wrong.length} are wrong.` : `Wrong: ${names(example, wrong)}.`);
  if (now.found && missed.length) said.push(missed.length > 3 ? `${missed.length} are missed.` : `Missed: ${names(example, missed)}.`);
  if (now.aer === 0) said.push(now.found > now.sure ? "Links that are only possible cost nothing." : "Nothing is wrong, and nothing sure is missed.");
  return said;
}

/** What stands in the tiles and in the formula. @param {Count} count @param {boolean} shown @returns {Record<string, string>} */
export function facts({ found, sure, hit, right, aer, precision, recall }, shown) {
  const or = (/** @type {string | number} */ text) => (shown ? String(text) : "?");
  return {
    "precision, |A∩P| of |A|": `${or(right)} of ${found}: ${or(fixed(precision))}`,
    "recall, |A∩S| of |S|": `${or(hit)} of ${or(sure)}: ${or(fixed(recall))}`,
    "error rate": or(fixed(aer, 3)),
    "AER = 1 − (|A∩S| + |A∩P|) / (|A| + |S|)": `1 − (${or(hit)} + ${or(right)}) / (${found} + ${or(sure)}) = ${or(fixed(aer, 3))}`,
  };
}

/** The grid: a row a target word; a click, Enter or Space turns a cell. @param {Example} example @param {(link: Link) => void} turn @param {(link: Link | null) => void} look */
function grid({ source, target }, turn, look) {
  const head = h("tr", { role: "row" }, h("td.pa-corner", { role: "presentation" }), ...source.map((word) => h("th.pa-colhead", { role: "columnheader", scope: "col" }, word)));
  const cells = target.map(() => source.map(() => h("td.pa-cell.pa-link", { role: "gridcell" })));
  const lines = target.map((word, t) => h("tr", { role: "row" }, h("th.pa-rowhead", { role: "rowheader", scope: "row" }, word), ...cells[t]));
  const table = h("table.pa-grid", { role: "grid", "aria-label": "Links: a row a word of the translation, a column a word of the source", "aria-multiselectable": "true", style: { "--columns": source.length } },
    h("thead", { role: "rowgroup" }, head), h("tbody", { role: "rowgroup" }, ...lines));
  rove(table, () => cells);
  /** @param {Event} e @returns {Link | null} */
  const of = (e) => {
    const t = cells.findIndex((line) => line.includes(/** @type {Element} */ (e.target)));
    return t < 0 ? null : [t, cells[t].indexOf(e.target)];
  };
  const act = (/** @type {Event} */ e) => {
    const link = of(e);
    if (link) turn(link);
  };
  table.addEventListener("click", act);
  table.addEventListener("keydown", (/** @type {KeyboardEvent} */ e) => {
    if (e.key !== "Enter" && e.key !== " ") return;
    e.preventDefault();
    act(e);
  });
  for (const kind of ["pointerover", "focusin"]) table.addEventListener(kind, (/** @type {Event} */ e) => look(of(e)));
  for (const kind of ["pointerleave", "focusout"]) table.addEventListener(kind, () => look(null));
  return { el: h("div.pa-scroll", {}, table), cells };
}

export default {
  /** @param {{model: Model, el: HTMLElement}} view */
  render({ model, el }) {
    const result = sentence();
    /** @type {Link | null} */ let at = null;
    /** @type {Example} */ let example;
    /** @type {any[][]} */ let cells;
    /** @type {any[]} */ let values;

    const links = () => linksOf(example, model.get("example"), model.get("start"), model.get("toggled"));

    /** @param {Link} link */
    function turn(link) {
      const [index, start, toggled] = ["example", "start", "toggled"].map((name) => model.get(name));
      const before = toggled.example === index && toggled.start === start ? toggled.cells : [];
      model.set("toggled", { example: index, start, cells: flip(before, link) });
      model.save_changes();
    }

    /** @param {Link | null} link */
    function look(link) {
      if (String(link) === String(at)) return;
      at = link;
      draw();
    }

    function rebuild() {
      example = model.get("examples")[model.get("example")];
      at = null;
      const made = grid(example, turn, look);
      cells = made.cells;
      const key = h("p.pa-key", {}, h("span", {}, h("i.pa-sure"), "sure"), h("span", {}, h("i.pa-possible"), "possible"), h("span", {}, h("i.pa-proposed"), "proposed"));
      const lines = Object.keys(facts(measure([], example.sure, []), true)).map((name) => [h("span", {}, name), h("strong")]);
      values = lines.map(([, value]) => value);
      const tiles = h("div.pa-tiles", {}, ...lines.slice(0, 3).map((line) => h("div.pa-tile", {}, ...line)));
      const flow = section("flow", "Your links: press a cell to draw or to remove one", made.el, key);
      if (example.source.length > 6) flow.className += " pa-wide";
      el.replaceChildren(flow, section("matrix", "The count", tiles, h("p.pa-count", {}, ...lines[3])), result.el);
      draw();
    }

    function draw() {
      const now = links(), shown = model.get("gold"), count = measure(now, example.sure, example.possible);
      cells.forEach((line, t) => line.forEach((cell, s) => {
        const on = within(now, [t, s]), kind = goldOf(example, [t, s]);
        cell.className = ["pa-cell", "pa-link", on && "pa-on", shown && `pa-${kind}`].filter(Boolean).join(" ");
        cell.textContent = shown ? MARKS[kind][Number(on)] : on ? "●" : "";
        cell.setAttribute("aria-selected", String(on));
        cell.setAttribute("aria-label", `${example.target[t]} with ${example.source[s]}: ${shown ? WORDS[kind][Number(on)] : on ? "proposed" : "not proposed"}`);
      }));
      Object.values(facts(count, shown)).forEach((text, i) => (values[i].textContent = text));
      result.say(describe(example, now, shown, at));
      const drawn = cells.map((line, t) => line.map((_, s) => Number(within(now, [t, s]))));
      Object.assign(el.dataset, { weights: JSON.stringify(drawn), example: example.name, start: model.get("start"), gold: shown, aer: count.aer, precision: count.precision, recall: count.recall });
    }

    rebuild();
    const stops = [watch(model, ["example", "examples"], rebuild), watch(model, ["start", "gold", "toggled"], draw)];
    return () => [...stops, result.stop].forEach((stop) => stop());
  },
};
