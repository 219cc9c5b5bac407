// Geometry: a query that can be dragged among its keys, and the output among their values.

import { argmax, fixed, h, matrix, percent, picker, ramp, section, sentence, watch } from "./kit.js";

/** @typedef {import("./kit.js").Model} Model */
/** @typedef {number[]} Point two numbers */
/** @typedef {{weights: number[], output: Point, sink: number}} State */

const MODES = ["softmax", "hard", "sink"], EDGE = 3, REACH = 3.3, STEPS = 48, SLACK = 1e-9;
const LEGEND = [["area", "hull of the values"], ["way", "way of the output as the query grows from 0"], ["drain", "pull of the sink"]];

/** Attention of one query: the score is a dot product over sqrt(2), as the keys have two numbers.
 * @param {Point[]} keys @param {Point[]} values @param {Point} query @param {number} temperature @param {number} mode @returns {State} */
export function respond(keys, values, query, temperature, mode) {
  const scores = keys.map((k) => (k[0] * query[0] + k[1] * query[1]) / Math.SQRT2), best = argmax(scores);
  const sunk = MODES[mode] === "sink", top = sunk ? Math.max(scores[best], 0) : scores[best];
  const powers = scores.map((s, i) => (MODES[mode] === "hard" ? Number(i === best) : Math.exp((s - top) / temperature)));
  const lost = sunk ? Math.exp(-top / temperature) : 0, sum = powers.reduce((a, b) => a + b, lost);
  const weights = powers.map((p) => p / sum);
  return { weights, output: [0, 1].map((axis) => values.reduce((total, v, i) => total + weights[i] * v[axis], 0)), sink: lost / sum };
}

/** Twice the area of the triangle; positive where it turns left. @param {Point} a @param {Point} b @param {Point} c */
const turn = (a, b, c) => (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);

/** Corners of the convex hull, counter-clockwise (Andrew, 1979): indices. @param {Point[]} points */
export function hull(points) {
  const order = points.map((_, i) => i).sort((i, j) => points[i][0] - points[j][0] || points[i][1] - points[j][1] || i - j);
  const [lower, upper] = [order, [...order].reverse()].map((way) => {
    /** @type {number[]} */
    const chain = [];
    for (const i of way) {
      while (chain.length > 1 && turn(points[chain[chain.length - 2]], points[chain[chain.length - 1]], points[i]) <= SLACK) chain.pop();
      chain.push(i);
    }
    return chain.slice(0, -1);
  });
  const corners = [...lower, ...upper], same = (/** @type {number} */ i, /** @type {number} */ j) => points[i][0] === points[j][0] && points[i][1] === points[j][1];
  return corners.filter((i, at) => corners.findIndex((j) => same(i, j)) === at);
}

/** Whether the hull of `points` contains `point`; its edge belongs to it. @param {Point[]} points @param {Point} point */
export function holds(points, point) {
  const corners = hull(points).map((i) => points[i]);
  const box = [0, 1].every((axis) => {
    const along = corners.map((c) => c[axis]);
    return point[axis] >= Math.min(...along) - SLACK && point[axis] <= Math.max(...along) + SLACK;
  });
  return box && corners.every((a, i) => turn(a, corners[(i + 1) % corners.length], point) >= -SLACK);
}

/** Where the output goes as the query grows from nothing.
 * @param {Point[]} keys @param {Point[]} values @param {Point} query @param {number} temperature @param {number} mode */
export function path(keys, values, query, temperature, mode) {
  const length = Math.hypot(...query);
  if (length === 0 || MODES[mode] === "hard") return [];
  return Array.from({ length: STEPS }, (_, i) => respond(keys, values, query.map((x) => ((x / length) * 3 * i) / (STEPS - i)), temperature, mode).output);
}

/** The sentence of result; Python writes the same one into the static picture.
 * @param {Point[]} keys @param {Point[]} values @param {Point} query @param {number} temperature @param {number} mode */
export function describe(keys, values, query, temperature, mode) {
  const { weights, output, sink } = respond(keys, values, query, temperature, mode), count = weights.length;
  const best = argmax(weights), value = `v${best + 1}`, tied = (/** @type {number[]} */ all) => all.filter((x) => Math.max(...all) - x < SLACK).length;
  const ties = tied(weights), inside = holds(values, output);
  if (MODES[mode] === "hard") {
    const level = tied(keys.map((k) => k[0] * query[0] + k[1] * query[1]));
    const why = level > 1 ? `${level} keys tie for the largest score, and one of them is taken.` : `k${best + 1} has the largest score. Neither the query’s length nor temperature changes that.`;
    return [`Hard attention copies ${value}, whatever the other values are.`, why];
  }
  if (MODES[mode] === "sink") {
    const where = inside ? "is still inside their hull" : "has left their hull", sum = weights.reduce((a, b) => a + b, 0);
    return [`The sink keeps ${percent(sink)} of the weight: the output is drawn towards 0 and ${where}.`, `The weights on the values sum to ${fixed(sum)}, no longer to 1.`];
  }
  if (ties === count) return [`All ${count} weights are equal, so the output is the mean of the values.`, query.some(Boolean) ? "Every key has the same score." : "A query of length 0 prefers no key."];
  if (weights[best] > 0.99) {
    const end = hull(values).includes(best) ? "a corner of the hull: further it cannot go" : "no corner of the hull";
    return [`${percent(weights[best])} of the weight is on ${value}, and the output all but sits on it.`, `${value} is ${end}.`];
  }
  const twice = respond(keys, values, query.map((x) => 2 * x), temperature, mode).weights[best];
  const lead = `The output is a mixture, ${percent(weights[best])} ${value}, and ${inside ? "lies inside" : "has left"} the hull of the values.`;
  if (ties > 1) return [lead, `${ties} keys tie for the largest weight.`];
  return [lead, twice > weights[best] ? `A query twice as long would be sharper: ${percent(twice)} ${value}.` : `A query twice as long would give ${value} ${percent(twice)}.`];
}

/** On screen the second axis runs down. @param {Point} at */
const xy = ([x, y]) => `${x.toFixed(3)} ${(-y).toFixed(3)}`;

/** @param {Point[]} points */
const line = (points) => (points.length ? `M${points.map(xy).join("L")}` : "");

/** Put a name at a place. @param {HTMLElement} mark @param {Point} at */
function put(mark, [x, y]) {
  mark.style.left = `${(100 * (REACH + x)) / (2 * REACH)}%`;
  mark.style.top = `${(100 * (REACH - y)) / (2 * REACH)}%`;
}

/** @param {string} caption @param {Node[]} shapes @param {Node[]} marks */
function plane(caption, shapes, marks) {
  const axes = h("svg:path.pa-axes", { d: `M${-REACH} 0H${REACH}M0 ${-REACH}V${REACH}` });
  const svg = h("svg:svg", { viewBox: `${-REACH} ${-REACH} ${2 * REACH} ${2 * REACH}`, "aria-hidden": "true" }, axes, ...shapes);
  const box = h("div.pa-plane", {}, svg, ...marks);
  return { el: h("div.pa-half", {}, h("p.pa-caption", {}, caption), box), box };
}

/** Dots whose area grows with the weight, and their names on the side away from the middle.
 * @param {string} kind @param {Point[]} at */
function dots(kind, at) {
  const middle = [0, 1].map((axis) => at.reduce((sum, p) => sum + p[axis], 0) / at.length);
  const circles = at.map((p, i) => h(`svg:circle.pa-node.pa-${kind}`, { cx: p[0], cy: -p[1], "data-pick": `0,${i}` }));
  const names = at.map((_, i) => h(`span.pa-spot.pa-of-${kind}`, { "aria-hidden": "true" }, `${kind}${i + 1}`));
  /** @param {number[]} weights @param {number} picked */
  const draw = (weights, picked) => circles.forEach((circle, i) => {
    const r = Math.sqrt(0.012 + 0.13 * weights[i]);
    circle.setAttribute("r", r.toFixed(3));
    circle.style.fill = ramp(weights[i]);
    circle.classList.toggle("pa-lit", i === picked);
    const away = at[i].map((x, axis) => x - middle[axis]), far = Math.hypot(...away);
    const unit = far > SLACK ? away.map((x) => x / far) : [0, 1];
    put(names[i], at[i].map((x, axis) => Math.min(Math.max(x + unit[axis] * (r + 0.26), -3.1), 3.1))); // the whole name stays on the plane
  });
  return { circles, names, draw };
}

/**
 * Drag the handle (or, with a mouse, anywhere on the plane), tap a place, or use the arrow keys.
 * @param {HTMLElement} box @param {HTMLElement} handle @param {() => Point} where @param {(to: Point) => void} move
 */
function draggable(box, handle, where, move) {
  /** @type {number | null} */ let pointer = null;
  /** @type {number | null} */ let finger = null; // on the plane beside q: it may tap, or begin to scroll the page
  const to = (/** @type {MouseEvent} */ e) => {
    const r = box.getBoundingClientRect(), scale = (2 * REACH) / r.width;
    move([(e.clientX - r.left) * scale - REACH, REACH - (e.clientY - r.top) * scale]);
  };
  box.addEventListener("pointerdown", (e) => {
    const held = handle.contains(/** @type {Node} */ (e.target));
    if (e.button) return;
    if (e.pointerType === "touch" && !held) { finger = e.pointerId; return; }
    pointer = e.pointerId;
    box.setPointerCapture(pointer);
    e.preventDefault();
    handle.focus({ preventScroll: true });
    if (!held) to(e);
  });
  box.addEventListener("pointermove", (e) => { if (e.pointerId === pointer) to(e); });
  // A scroll cancels its finger. Waiting for a click would lose taps: after a flick the browser makes none.
  box.addEventListener("pointerup", (e) => { if (e.pointerId === finger) to(e); });
  for (const end of ["pointerup", "pointercancel"]) box.addEventListener(end, () => (pointer = finger = null));
  handle.addEventListener("keydown", (e) => {
    const by = e.shiftKey ? 0.5 : 0.1, [x, y] = where();
    /** @type {Record<string, Point>} */
    const moves = { ArrowLeft: [x - by, y], ArrowRight: [x + by, y], ArrowUp: [x, y + by], ArrowDown: [x, y - by], Home: [0, 0] };
    if (!moves[e.key]) return;
    e.preventDefault();
    move(moves[e.key]);
  });
}

export default {
  /** @param {{model: Model, el: HTMLElement}} view */
  render({ model, el }) {
    /** @type {Point[]} */ const keys = model.get("keys_at");
    /** @type {Point[]} */ const values = model.get("values_at");
    const picks = picker(el, draw), result = sentence();
    const k = dots("k", keys), v = dots("v", values);
    const ray = h("svg:path.pa-ray"), shadow = h("svg:path.pa-shadow"), arrow = h("svg:path.pa-arrow");
    const handle = h("button.pa-spot.pa-handle", { type: "button" }, "q");
    const outline = h("svg:path.pa-hull", { d: `${line(hull(values).map((i) => values[i]))}Z` }), way = h("svg:path.pa-way"), start = h("svg:circle.pa-start", { r: 0.07 }), drain = h("svg:path.pa-drain");
    const spokes = values.map((_, i) => h("svg:path.pa-spoke", { "data-pick": `0,${i}` })), output = h("span.pa-spot.pa-output", { "aria-hidden": "true" }, "o");
    const left = plane("Query and keys, with their shadows on q", [ray, shadow, ...k.circles, arrow], [...k.names, handle]);
    const right = plane("Values, and the output among them", [outline, way, start, ...spokes, drain, ...v.circles], [...v.names, output]);
    const grid = matrix({ label: "Attention weights of the query, one column a key", rows: ["q"], columns: keys.map((_, i) => `k${i + 1}`) });
    const formula = h("p.pa-mixture");
    el.replaceChildren(h("div.pa-flow", {}, h("div.pa-planes", {}, left.el, right.el), h("p.pa-key", {}, ...LEGEND.map(([kind, text]) => h("span", {}, h(`span.pa-${kind}key`), text)))), section("detail", "Weights, the recipe of the output", grid.el, formula), result.el);
    const where = () => [model.get("q_x"), model.get("q_y")];
    draggable(left.box, handle, where, (to) => {
      to.forEach((x, axis) => model.set(axis ? "q_y" : "q_x", Math.round(20 * Math.min(Math.max(x, -EDGE), EDGE)) / 20));
      model.save_changes();
    });

    function draw() {
      const query = where(), temperature = model.get("temperature"), mode = model.get("mode"), exact = model.get("exact");
      const same = exact.mode === mode && exact.temperature === temperature && query.every((x, i) => x === exact.query[i]);
      const { weights, output: o, sink } = same ? /** @type {State} */ (exact) : respond(keys, values, query, temperature, mode);
      const length = Math.hypot(...query), along = query.map((x) => (length ? x / length : 0));
      const picked = picks.pick === null ? -1 : Number(picks.pick.split(",")[1]);
      k.draw(weights, picked);
      v.draw(weights, picked);
      ray.setAttribute("d", length ? line([along.map((x) => -9 * x), along.map((x) => 9 * x)]) : "");
      shadow.setAttribute("d", length ? keys.map((p) => line([p, along.map((x) => x * (p[0] * along[0] + p[1] * along[1]))])).join("") : "");
      arrow.setAttribute("d", line([[0, 0], query]));
      put(handle, query);
      handle.setAttribute("aria-label", `Query at ${query.map((x) => fixed(x)).join(", ")}: drag it, or use the arrow keys`);
      const steps = path(keys, values, query, temperature, mode);
      way.setAttribute("d", line(steps));
      start.style.display = steps.length ? "" : "none";
      if (steps.length) Object.entries({ cx: steps[0][0], cy: -steps[0][1] }).forEach(([name, at]) => start.setAttribute(name, at));
      drain.setAttribute("d", sink ? line([o, [0, 0]]) : "");
      spokes.forEach((spoke, i) => {
        spoke.setAttribute("d", line([o, values[i]]));
        Object.assign(spoke.style, { stroke: ramp(weights[i]), strokeWidth: `${1 + 9 * weights[i]}px`, opacity: i === picked ? 1 : Math.min(1, 5 * weights[i]) });
      });
      put(output, o);
      grid.draw([weights], { written: 1, current: 0, locked: picks.locked });
      formula.replaceChildren(h("i", {}, "o"), ` = ${weights.map((w, i) => `${fixed(w)}\u00a0v${i + 1}`).join(" + ")}${sink ? ` + ${fixed(sink)}\u00a0·\u00a00` : ""} = (${o.map((x) => fixed(x)).join(", ")})`);
      result.say(describe(keys, values, query, temperature, mode));
      Object.assign(el.dataset, { weights: JSON.stringify(weights), output: JSON.stringify(o), query: JSON.stringify(query), temperature, mode: MODES[mode], sink, inside: holds(values, o) });
    }

    draw();
    const stop = watch(model, ["q_x", "q_y", "temperature", "mode", "exact"], draw);
    return () => [stop, picks.stop, result.stop].forEach((f) => f());
  },
};
