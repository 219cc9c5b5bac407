// The variants at a glance: hides and orders the rows of a table that stands in the page by itself.

import { h, sentence, watch } from "./kit.js";

/** @typedef {import("./kit.js").Model} Model */
/** @typedef {{name: string, title: string, year: number, family: string, citation: string, exempt: string[], relations: number}} Facts */
/** @typedef {{family: string, law: string, year: number, order: string, search: string}} Asked */

const ORDERS = ["year", "name", "family"];

/** @param {string} law */
const words = (law) => law.replaceAll("_", " ");

/** @param {number} number @param {string} noun */
const counted = (number, noun) => `${number} ${noun}${number === 1 ? "" : "s"}`;

/** Places of the records that match, in the order asked for; Python selects the same ones.
 * @param {Facts[]} records @param {Asked} asked */
export function select(records, asked) {
  const families = [...new Set(records.map((r) => r.family))];
  const sought = asked.search.toLowerCase().split(/\s+/).filter(Boolean);
  const matches = (/** @type {Facts} */ r) => {
    const text = [r.name, r.title, r.year, r.family, r.citation].join(" ").toLowerCase();
    return ["", r.family].includes(asked.family) && r.year <= asked.year && !r.exempt.includes(asked.law) && sought.every((word) => text.includes(word));
  };
  const compare = (/** @type {number} */ i, /** @type {number} */ j) => {
    const [a, b] = [records[i], records[j]], [s, t] = [a.title.toLowerCase(), b.title.toLowerCase()];
    if (asked.order === "name") return s < t ? -1 : s > t ? 1 : i - j;
    const family = asked.order === "family" ? families.indexOf(a.family) - families.indexOf(b.family) : 0;
    return family || a.year - b.year || i - j;
  };
  return records.map((_, i) => i).filter((i) => matches(records[i])).sort(compare);
}

/** The sentence of result; Python writes the same one into the static picture.
 * @param {Facts[]} records @param {Asked} asked @param {number[]} shown */
export function describe(records, asked, shown) {
  if (!shown.length) return ["No mechanism matches.", "Clear the search, or widen family, years and law."];
  const years = shown.map((i) => records[i].year), low = Math.min(...years), high = Math.max(...years);
  const span = low < high ? `from ${low} to ${high}` : `from ${low}`;
  if (shown.length === records.length) {
    const free = records.filter((r) => !r.exempt.length).length, relations = records.reduce((sum, r) => sum + r.relations, 0);
    return [`${counted(records.length, "mechanism")}, ${span}.`, `${counted(relations, "relation")} among them; ${free} of ${records.length} ${free === 1 ? "holds" : "hold"} every law.`];
  }
  const lead = `${shown.length} of ${counted(records.length, "mechanism")}, ${span}.`;
  if (asked.law) {
    const exempt = records.filter((r) => r.exempt.includes(asked.law)).length;
    const law = `the law “${words(asked.law)}”`;
    if (!exempt) return [lead, `Not one of all ${records.length} breaks ${law}.`];
    return [lead, `Of all ${records.length}, ${exempt} ${exempt === 1 ? "does" : "do"} not hold ${law}; a row says why.`];
  }
  if (shown.length <= 3) return [lead, shown.map((i) => records[i].title).join(", ") + "."];
  return [lead, "Open a row for its relations and laws."];
}

export default {
  /** @param {{model: Model, el: HTMLElement}} view */
  render({ model, el }) {
    /** @type {Facts[]} */
    const records = model.get("records");
    const name = `${model.get("table")}-search`, result = sentence();
    const box = h("input.pa-input", { type: "search", id: name, autocomplete: "off", spellcheck: "false", value: model.get("search") });
    el.replaceChildren(h("div.pa-search.pa-control", {}, h("label.pa-label", { for: name }, "Search"), box), result.el);
    let waited = 0, stopped = false;

    const table = () => /** @type {HTMLElement | null} */ (document.querySelector(`[data-variants="${model.get("table")}"]`));

    /** @returns {Asked} */
    const asked = () => ({
      family: ["", ...model.get("families")][model.get("family")], law: ["", ...model.get("laws")][model.get("law")],
      year: model.get("year"), order: ORDERS[model.get("order")], search: model.get("search"),
    });

    /** The table is an output of its own and may come after this one. @param {number[]} shown */
    function arrange(shown) {
      const list = table()?.querySelector("ul");
      if (!list) {
        if (waited++ < 300 && !stopped) requestAnimationFrame(draw);
        return;
      }
      /** @type {Map<string | undefined, HTMLElement>} */
      const rows = new Map([...list.children].map((row) => [/** @type {HTMLElement} */ (row).dataset.name, /** @type {HTMLElement} */ (row)]));
      for (const row of rows.values()) row.hidden = true;
      let before = /** @type {Element | null} */ (null);
      for (const i of shown) {
        const row = rows.get(records[i].name);
        if (!row) continue;
        row.hidden = false;
        const there = before ? before.nextElementSibling : list.firstElementChild;
        if (there !== row) list.insertBefore(row, there); // rows in their place stay: a moved row loses the focus
        before = row;
      }
    }

    function draw() {
      const wanted = asked(), shown = select(records, wanted);
      if (document.activeElement !== box) box.value = wanted.search;
      arrange(shown);
      result.say(describe(records, wanted, shown));
      Object.assign(el.dataset, { ...wanted, shown: JSON.stringify(shown.map((i) => records[i].name)) });
    }

    /** A link to a row opens it, and clears the controls where they hide it. @param {MouseEvent} event */
    function follow(event) {
      const link = /** @type {Element} */ (event.target).closest('a[href^="#variant-"]'), within = table();
      const row = link && within?.querySelector(`li[data-name="${link.getAttribute("href")?.slice(9)}"]`);
      if (!row) return;
      if (/** @type {HTMLElement} */ (row).hidden) {
        for (const [key, value] of Object.entries({ family: 0, law: 0, year: Math.max(...records.map((r) => r.year)), search: "" })) model.set(key, value);
        box.value = "";
        model.save_changes();
      }
      row.querySelector("details")?.setAttribute("open", "");
    }

    box.addEventListener("input", () => {
      model.set("search", box.value);
      model.save_changes();
    });
    document.addEventListener("click", follow);
    draw();
    const unwatch = watch(model, ["family", "law", "year", "order", "search"], draw);
    return () => {
      stopped = true;
      document.removeEventListener("click", follow);
      [unwatch, result.stop].forEach((f) => f());
    };
  },
};
