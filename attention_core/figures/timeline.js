// Timeline: a map of cards with lines between them, a list to choose from, and the card that is open.

import { h, rove, section, sentence, watch } from "./kit.js";

/** @typedef {import("./kit.js").Model} Model */
/** @typedef {{name: string, title: string, year: number, who: string, link: string, citation: string, thread: number, era: number, gave: string, lacked: string, recurs: number[], variant: string}} Card */

const LANE = 20, RISE = 15; // per cent of the map: height of a lane, and how far a line rises above its ends
const MOST = 6; // cards to jump to in one row

/** Places of the cards of an era and a thread; 0 stands for all of either.
 * @param {Card[]} cards @param {number} era @param {number} thread */
export const select = (cards, era, thread) => cards.map((_, i) => i).filter((i) => [0, cards[i].era + 1].includes(era) && [0, cards[i].thread + 1].includes(thread));

/** The first card that can be reached by going back along lines. @param {Card[]} cards @param {number} at @returns {number} */
export const oldest = (cards, at) => Math.min(...cards[at].recurs.map((old) => oldest(cards, old)), at);

/** From the oldest card that can be reached, along lines, to this one. @param {Card[]} cards @param {number} at */
export function lineage(cards, at) {
  const line = [at];
  while (cards[line[0]].recurs.length) line.unshift(cards[line[0]].recurs.reduce((best, old) => (oldest(cards, old) < oldest(cards, best) ? old : best)));
  return line;
}

/** All cards that this one takes up, directly or not, with itself. @param {Card[]} cards @param {number} at */
export function forebears(cards, at) {
  const found = new Set([at]);
  for (let i = at; i >= 0; i--) if (found.has(i)) cards[i].recurs.forEach((old) => found.add(old));
  return [...found].sort((a, b) => a - b);
}

/** @param {Card[]} cards @param {number} at */
export const heirs = (cards, at) => cards.map((_, i) => i).filter((i) => cards[i].recurs.includes(at));

/** @param {Card} card */
const name = (card) => `${card.title} (${card.year})`;

/** The sentence of result; Python writes the same one into the static picture.
 * @param {Card[]} cards @param {number} at */
export function describe(cards, at) {
  const line = lineage(cards, at), later = heirs(cards, at).length, { title, year } = cards[at], first = cards[line[0]].year;
  const again = later ? `${later} later card${later === 1 ? " takes" : "s take"} it up again.` : "No later card here takes it up yet.";
  if (line.length === 1) return [`With “${title}” something begins: no earlier card has it.`, again];
  return [`“${title}” goes back ${year - first} years, to ${first}.`, line.map((i) => name(cards[i])).join(" → ") + ".", again];
}

/** Left and top of a dot, in per cent. @param {Card[]} cards @param {number} i */
export const place = (cards, i) => [(100 * (i + 0.5)) / cards.length, LANE * (cards[i].thread + 0.62)];

/** @param {Card[]} cards @param {number} old @param {number} now */
export function line(cards, old, now) {
  const [x0, y0] = place(cards, old), [x1, y1] = place(cards, now), f = (/** @type {number} */ x) => x.toFixed(2);
  return `M${f(x0)} ${f(y0)}C${f(x0)} ${f(y0 - RISE)} ${f(x1)} ${f(y1 - RISE)} ${f(x1)} ${f(y1)}`;
}

/** Whether the next era begins so soon that on a phone there is no room for this one's year.
 * @param {Card[]} cards @param {number[]} starts @param {number} k */
const crowded = (cards, starts, k) => k + 1 < starts.length && (starts[k + 1] - starts[k]) / cards.length < 0.08;

/** @param {Card[]} cards @param {string[]} threads @param {number} eras @param {(i: number) => void} open */
function atlas(cards, threads, eras, open) {
  const pairs = cards.flatMap((card, now) => card.recurs.map((old) => [old, now]));
  const paths = pairs.map(([old, now]) => h("svg:path", { d: line(cards, old, now) }));
  const dots = cards.map((card, i) => h("span.pa-card-dot", { title: name(card), style: { left: `${place(cards, i)[0]}%`, top: `${place(cards, i)[1]}%` } }));
  const lanes = threads.map((thread, i) => h("span.pa-idea-lane", { style: { top: `${LANE * i}%` } }, thread));
  const starts = Array.from({ length: eras }, (_, era) => cards.findIndex((card) => card.era === era)).filter((i) => i >= 0);
  const ticks = starts.map((i, k) => h(`span.pa-era-tick${crowded(cards, starts, k) ? ".pa-crowded" : ""}`, { style: { left: `${(100 * i) / cards.length}%` } }, h("span", {}, String(cards[i].year))));
  const plot = h("div.pa-map-plot", {}, ...lanes, ...ticks, h("svg:svg", { viewBox: "0 0 100 100", preserveAspectRatio: "none", "aria-hidden": "true" }, ...paths), ...dots);
  const el = h("div.pa-map", { role: "img" }, plot);
  // The nearest dot, not the one hit: on a phone they are a few pixels wide. The list does the same by key.
  plot.addEventListener("click", (/** @type {MouseEvent} */ e) => {
    const box = plot.getBoundingClientRect();
    const far = cards.map((_, i) => Math.hypot(...place(cards, i).map((p, k) => (p / 100) * [box.width, box.height][k] - [e.clientX - box.left, e.clientY - box.top][k])));
    const nearest = far.indexOf(Math.min(...far));
    if (far[nearest] < 24) open(nearest);
  });
  return {
    el,
    /** @param {number[]} shown @param {number} at */
    draw(shown, at) {
      const kin = forebears(cards, at);
      pairs.forEach(([old, now], k) => paths[k].setAttribute("class", kin.includes(old) && kin.includes(now) ? "pa-kinline" : old === at ? "pa-heirline" : ""));
      dots.forEach((dot, i) => {
        dot.classList.toggle("pa-shown", shown.includes(i));
        dot.classList.toggle("pa-kin-dot", kin.includes(i));
        dot.classList.toggle("pa-here", i === at);
      });
      el.setAttribute("aria-label", `Map of ${cards.length} cards; the lines of “${cards[at].title}” are marked`);
    },
  };
}

/** @param {string} term @param {string} text */
const fact = (term, text) => h("p.pa-fact", {}, h("b", {}, term), ` ${text}`);

/** @param {Card[]} cards @param {string} term @param {number[]} places @param {(i: number) => void} open */
function jumps(cards, term, places, open) {
  const more = places.length - MOST;
  const buttons = places.slice(0, MOST).map((i) => {
    const button = h("button.pa-jump", { type: "button" }, h("b", {}, String(cards[i].year)), ` ${cards[i].title}`);
    button.addEventListener("click", () => open(i));
    return button;
  });
  return h("div.pa-jumps", { role: "group", "aria-label": term }, h("span.pa-jumps-term", {}, term), ...buttons,
    ...(!places.length ? [h("span.pa-none", {}, "nothing here")] : more > 0 ? [h("span.pa-none", {}, `and ${more} more`)] : []));
}

/** @param {Card[]} cards @param {string[]} threads @param {number} at @param {(i: number) => void} open */
function opened(cards, threads, at, open) {
  const card = cards[at], who = card.link ? h("a", { href: card.link }, card.who) : h("span", {}, card.who);
  return [
    h("p.pa-opened-when", {}, `${card.year} · ${threads[card.thread]}`), h("p.pa-opened-title", {}, card.title), h("p.pa-opened-who", {}, who),
    fact("Gave", card.gave), fact("Lacked", card.lacked), jumps(cards, "Takes up", card.recurs, open), jumps(cards, "Comes back in", heirs(cards, at), open),
  ];
}

export default {
  /** @param {{model: Model, el: HTMLElement}} view */
  render({ model, el }) {
    /** @type {Card[]} */
    const cards = model.get("cards"), threads = model.get("threads"), eras = model.get("eras");
    const entries = cards.map((card, i) => {
      const button = h("button.pa-entry", { type: "button" }, h("b", {}, String(card.year)), h("span", {}, card.title));
      for (const event of ["focus", "click"]) button.addEventListener(event, () => choose(i));
      return button;
    });
    const list = h("div.pa-entries", { role: "group", "aria-label": "Cards" }, ...entries);
    const panel = h("div.pa-opened"), result = sentence(), map = atlas(cards, threads, eras.length, open);
    const detail = section("detail", "", h("div.pa-shelf", {}, list, panel)), caption = detail.firstChild;
    rove(list, () => entries.filter((entry) => !entry.hidden).map((entry) => [entry]));
    el.replaceChildren(section("flow", "A dot is a card, a line leads from an idea to where it comes back: likeness, not influence", map.el), detail, result.el);
    let drawn = -1;

    const shown = () => select(cards, model.get("era"), model.get("thread"));

    /** The card that is open: the last one chosen, or the first of those shown. */
    function current() {
      const listed = shown(), card = model.get("card");
      return listed.includes(card) || !listed.length ? card : listed[0];
    }

    /** @param {number} i */
    function choose(i) {
      if (model.get("card") === i) return;
      model.set("card", i);
      model.save_changes();
    }

    /** Go to a card, and let era and idea show it. @param {number} i */
    function open(i) {
      if (model.get("era")) model.set("era", cards[i].era + 1);
      if (model.get("thread") && model.get("thread") !== cards[i].thread + 1) model.set("thread", 0);
      model.set("card", i);
      model.save_changes();
      entries[i].focus({ preventScroll: true });
    }

    /** Into view inside the list, which is its offset parent; the page stays where it is. @param {HTMLElement} entry */
    function reveal(entry) {
      const top = entry.offsetTop, bottom = top + entry.offsetHeight;
      if (top < list.scrollTop) list.scrollTop = top;
      else if (bottom > list.scrollTop + list.clientHeight) list.scrollTop = bottom - list.clientHeight;
    }

    function draw() {
      const listed = shown(), at = current();
      entries.forEach((entry, i) => {
        entry.hidden = !listed.includes(i);
        entry.tabIndex = i === at ? 0 : -1;
        entry.setAttribute("aria-pressed", String(i === at));
        entry.classList.toggle("pa-open", i === at);
      });
      if (caption) caption.textContent = listed.length ? `${listed.length} of ${cards.length} cards` : "No card of this idea in these years: choose another, or all";
      map.draw(listed, at);
      if (at !== drawn) panel.replaceChildren(...opened(cards, threads, at, open));
      drawn = at;
      reveal(entries[at]);
      result.say(describe(cards, at));
      Object.assign(el.dataset, { era: model.get("era"), thread: model.get("thread"), open: cards[at].name, shown: JSON.stringify(listed.map((i) => cards[i].name)) });
    }

    draw();
    const sized = new ResizeObserver(() => reveal(entries[current()])); // a list without a size cannot scroll
    sized.observe(list);
    const unwatch = watch(model, ["era", "thread", "card"], draw);
    return () => [unwatch, result.stop, () => sized.disconnect()].forEach((stop) => stop());
  },
};
