// @ts-check
/**
 * Draws the widget state saved in a page without ipywidgets' own front end (8 MB of script).
 *
 * The page holds the standard `widget-state` and `widget-view` scripts. Each view is mounted into its
 * `<figure data-figure>`; the static picture in there stays until the live one is complete, and for good
 * if it cannot be drawn. Only the widgets in `BUILD` are drawn: the book uses no others.
 *
 * A classic async script, not a module: browsers refuse module scripts on file:// pages. In Node
 * (no document) it only exports its parts, for the tests.
 */
(function () {
  "use strict";

  /** @typedef {(...values: any[]) => void} Callback */
  /** @typedef {{event: string, callback: Callback, context: unknown}} Listener */
  /** @typedef {{model_name: string, state: Record<string, any>, buffers?: {path: (string | number)[], data: string, encoding: string}[]}} Saved */

  // What a saved state may leave out, because it is ipywidgets' default.
  const COMMON = { description: "", disabled: false, _dom_classes: [], tooltip: null };
  /** @type {Record<string, Record<string, any>>} */
  const DEFAULTS = {
    FloatSliderModel: { value: 0, min: 0, max: 100, step: 0.1, readout: true, readout_format: ".2f", continuous_update: true },
    FloatLogSliderModel: { value: 1, base: 10, min: 0, max: 4, step: 0.1, readout: true, readout_format: ".3g", continuous_update: true },
    IntSliderModel: { value: 0, min: 0, max: 100, step: 1, readout: true, readout_format: "d", continuous_update: true },
    PlayModel: { value: 0, min: 0, max: 100, step: 1, interval: 100, playing: false, repeat: false },
    ToggleButtonsModel: { _options_labels: [], index: null },
    DropdownModel: { _options_labels: [], index: null },
    CheckboxModel: { value: false },
    HBoxModel: { children: [] },
    VBoxModel: { children: [] },
    BoxModel: { children: [] },
    AnyModel: {},
  };

  /**
   * A widget's model with Backbone's event rules: `set` fires `change:name` for each value that differs,
   * then one `change`; `off` removes by event, by callback or by context, and a missing one matches all.
   */
  class Model {
    /** @param {string} id @param {string} name @param {Record<string, any>} state */
    constructor(id, name, state) {
      this.id = id;
      this.name = name;
      /** @type {Record<string, any>} */
      this.state = { ...COMMON, ...DEFAULTS[name], ...state };
      /** @type {Listener[]} */
      this.listeners = [];
    }
    /** @param {string} key */
    get(key) {
      return this.state[key];
    }
    /** @param {string | Record<string, any>} key @param {any} [value] */
    set(key, value) {
      const wanted = typeof key === "string" ? { [key]: value } : key;
      const changed = Object.keys(wanted).filter((k) => !same(this.state[k], wanted[k]));
      for (const k of changed) this.state[k] = wanted[k];
      for (const k of changed) this.trigger(`change:${k}`, this, this.state[k]);
      if (changed.length) this.trigger("change", this);
    }
    save_changes() {} // there is no kernel to tell
    send() {}
    /** @param {string} events space-separated, as in Backbone @param {Callback} callback @param {unknown} [context] */
    on(events, callback, context) {
      for (const event of events.split(/\s+/)) this.listeners.push({ event, callback, context });
    }
    /** @param {string | null} [events] @param {Callback | null} [callback] @param {unknown} [context] */
    off(events, callback, context) {
      const names = events ? events.split(/\s+/) : null;
      this.listeners = this.listeners.filter(
        (l) => (names && !names.includes(l.event)) || (callback && callback !== l.callback) || (context && context !== l.context),
      );
    }
    /** @param {string} event @param {...any} values */
    trigger(event, ...values) {
      for (const l of this.listeners.filter((l) => l.event === event)) l.callback.apply(l.context, values);
    }
    /** What one view may see: its `off()` must not silence the links or another view. */
    facade() {
      const model = this, context = {};
      return {
        get: model.get.bind(model),
        set: model.set.bind(model),
        save_changes: model.save_changes,
        send: model.send,
        on: (/** @type {string} */ e, /** @type {Callback} */ f) => model.on(e, f, context),
        off: (/** @type {string | null} */ e, /** @type {Callback | null} */ f) => model.off(e, f, context),
        widget_manager: { get_model: () => Promise.reject(new Error("a static page has no widget manager")) },
      };
    }
  }

  /** Equal as JSON values are; binary data only if it is the same object. @param {any} a @param {any} b @returns {boolean} */
  function same(a, b) {
    if (Object.is(a, b)) return true;
    if (typeof a !== "object" || typeof b !== "object" || !a || !b || a instanceof DataView || b instanceof DataView) return false;
    const keys = Object.keys(a);
    return keys.length === Object.keys(b).length && Array.isArray(a) === Array.isArray(b) && keys.every((k) => same(a[k], b[k]));
  }

  /** Base64 to a view of the bytes, as anywidget gives them. @param {string} text */
  const decode = (text) => new DataView(Uint8Array.from(atob(text), (c) => c.charCodeAt(0)).buffer);

  /** Put each saved buffer back at its path, which may lead into lists and dicts. @param {Saved} saved */
  function restore({ state, buffers = [] }) {
    const whole = structuredClone(state);
    for (const { path, data, encoding } of buffers) {
      if (encoding !== "base64") throw new Error(`a buffer is encoded as ${encoding}, not base64`);
      /** @type {any} */
      let at = whole;
      for (const [i, step] of path.slice(0, -1).entries()) at = at[step] ??= typeof path[i + 1] === "number" ? [] : {};
      at[path[path.length - 1]] = decode(data);
    }
    return whole;
  }

  /** @param {string} reference */
  const idOf = (reference) => reference.replace("IPY_MODEL_", "");

  /** All models of a saved state, linked. @param {Record<string, Saved>} saved */
  function revive(saved) {
    /** @type {Map<string, Model>} */
    const models = new Map();
    for (const [id, s] of Object.entries(saved)) models.set(id, new Model(id, s.model_name, restore(s)));
    for (const link of models.values()) {
      if (link.name !== "LinkModel" && link.name !== "DirectionalLinkModel") continue;
      const [source, target] = [link.get("source"), link.get("target")].map(([r, key]) => ({ model: models.get(idOf(r)), key }));
      if (!source.model || !target.model) continue; // one end was not saved: nothing to move
      join(source.model, source.key, target.model, target.key);
      if (link.name === "LinkModel") target.model.on(`change:${target.key}`, () => source.model?.set(source.key, target.model?.get(target.key)));
    }
    return models;
  }

  /** The source wins at the start, as in ipywidgets. @param {Model} a @param {string} from @param {Model} b @param {string} to */
  function join(a, from, b, to) {
    const copy = () => b.set(to, a.get(from));
    a.on(`change:${from}`, copy);
    copy();
  }

  /** A number as its slider shows it: d3's `d`, `.2f` and `.3g`, with a true minus. @param {number} x @param {string} format */
  function readout(x, format) {
    const [, digits, kind] = /^\.?(\d*)([fgd])?/.exec(format) ?? [];
    const text = kind === "f" ? x.toFixed(Number(digits)) : kind === "g" ? String(Number(x.toPrecision(Number(digits) || 3))) : String(x);
    return text.replace("-", "−");
  }

  /** What a slider shows beside its number: "3 of 5", or the words its Python side gave for below, at and above 1. @param {Model} m */
  function reading(m) {
    const value = m.get("value"), words = m.get("words"), text = readout(value, m.get("readout_format"));
    if (words) return `${text} · ${words[value < 1 ? 0 : value > 1 ? 2 : 1]}`;
    return m.name === "IntSliderModel" && m.get("min") === 1 ? `${text} of ${m.get("max")}` : text;
  }

  /** The same for the ear. @param {Model} m */
  const spoken = (m) => reading(m).replace("−", "minus ").replace(" · ", ", ");

  const parts = { Model, DEFAULTS, same, decode, restore, revive, readout, reading, spoken };
  if (typeof document === "undefined") {
    Object.assign(globalThis, { PayingAttention: parts });
    return;
  }

  // From here on: the page.

  const self = /** @type {HTMLScriptElement} */ (document.currentScript);
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  let ids = 0;

  /** @param {string} tag @param {Record<string, any>} [attributes] @param {...(Node | string)} children @returns {any} */
  function h(tag, attributes = {}, ...children) {
    const [name, ...classes] = tag.split("."), made = document.createElement(name);
    if (classes.length) made.className = classes.join(" ");
    for (const [key, value] of Object.entries(attributes)) if (value !== null) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  /** Run now and whenever the model changes. @param {Model} m @param {() => void} draw */
  function bind(m, draw) {
    m.on("change", draw);
    draw();
  }

  /** A label over a control. @param {Model} m @param {string} kind @param {HTMLElement} input @param {...Node} more */
  function labelled(m, kind, input, ...more) {
    const id = (input.id = `pa-input-${++ids}`);
    input.classList.add("pa-input");
    return h(`div.pa-control.${kind}`, { title: m.get("tooltip") }, h("label.pa-label", { for: id }, m.get("description")), ...more, input);
  }

  /** @param {Model} m */
  function slider(m) {
    const log = m.name === "FloatLogSliderModel", input = h("input.pa-range", { type: "range" });
    const text = h("span.pa-readout", { "aria-hidden": "true" });
    bind(m, () => {
      const [low, high, value] = [m.get("min"), m.get("max"), m.get("value")];
      const at = log ? Math.log(value) / Math.log(m.get("base")) : value;
      Object.assign(input, { min: low, max: high, step: m.get("step"), disabled: m.get("disabled") });
      input.value = at;
      input.style.setProperty("--fill", `${high > low ? (100 * (at - low)) / (high - low) : 0}%`);
      input.setAttribute("aria-valuetext", spoken(m));
      text.textContent = m.get("readout") ? reading(m) : "";
    });
    input.addEventListener(m.get("continuous_update") ? "input" : "change", () => {
      m.set("value", log ? m.get("base") ** Number(input.value) : Number(input.value));
    });
    return labelled(m, "pa-slider", input, text);
  }

  /** @param {Model} m */
  function toggles(m) {
    const name = `pa-group-${++ids}`, box = h("div.pa-segments.pa-input", { role: "radiogroup", "aria-labelledby": name });
    m.get("_options_labels").forEach((/** @type {string} */ option, /** @type {number} */ i) => {
      const radio = h("input", { type: "radio", name: `${name}-value`, value: i });
      radio.addEventListener("change", () => m.set("index", i));
      box.append(h("label.pa-segment", {}, radio, option));
    });
    bind(m, () => box.querySelectorAll("input").forEach((/** @type {HTMLInputElement} */ r, /** @type {number} */ i) => Object.assign(r, { checked: i === m.get("index"), disabled: m.get("disabled") })));
    return h("div.pa-control.pa-toggles", { title: m.get("tooltip") }, h("span.pa-label", { id: name }, m.get("description")), box);
  }

  /** @param {Model} m */
  function dropdown(m) {
    const select = h("select", {}, ...m.get("_options_labels").map((/** @type {string} */ o) => h("option", {}, o)));
    select.addEventListener("change", () => m.set("index", select.selectedIndex));
    bind(m, () => Object.assign(select, { selectedIndex: m.get("index") ?? -1, disabled: m.get("disabled") }));
    return labelled(m, "pa-dropdown", select);
  }

  /** @param {Model} m */
  function checkbox(m) {
    const input = h("input", { type: "checkbox" });
    input.addEventListener("change", () => m.set("value", input.checked));
    bind(m, () => Object.assign(input, { checked: m.get("value"), disabled: m.get("disabled") }));
    return h("label.pa-check", { title: m.get("tooltip") }, input, m.get("description"));
  }

  /** @param {string} path */
  function icon(path) {
    const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg"), line = document.createElementNS(svg.namespaceURI, "path");
    svg.setAttribute("viewBox", "0 0 12 12");
    svg.setAttribute("aria-hidden", "true");
    line.setAttribute("d", path);
    svg.append(line);
    return svg;
  }

  /** Back, play and on. Those who asked for less motion get no Play. @param {Model} m */
  function player(m) {
    /** @type {ReturnType<typeof setTimeout> | undefined} */
    let timer;
    const clamp = (/** @type {number} */ x) => Math.min(Math.max(x, m.get("min")), m.get("max"));
    const to = (/** @type {number} */ by) => () => m.set({ playing: false, value: clamp(m.get("value") + by * m.get("step")) });
    const back = h("button", { type: "button", "aria-label": "Previous" }, icon("M9 1v10L2 6z"));
    const on = h("button", { type: "button", "aria-label": "Next" }, icon("M3 1v10l7-5z"));
    const play = h("button.pa-play", { type: "button" });
    const tick = () => {
      clearTimeout(timer);
      if (!m.get("playing")) return;
      timer = setTimeout(() => {
        if (m.get("value") < m.get("max")) m.set("value", clamp(m.get("value") + m.get("step")));
        else if (m.get("repeat")) m.set("value", m.get("min"));
        if (m.get("value") >= m.get("max") && !m.get("repeat")) m.set("playing", false);
        tick();
      }, m.get("interval"));
    };
    back.addEventListener("click", to(-1));
    on.addEventListener("click", to(1));
    play.addEventListener("click", () => {
      if (!m.get("playing") && m.get("value") >= m.get("max")) m.set("value", m.get("min"));
      m.set("playing", !m.get("playing"));
    });
    m.on("change:playing", tick);
    bind(m, () => {
      // aria-disabled, not disabled: a button that loses the focus at the end strands whoever pressed it
      back.setAttribute("aria-disabled", String(m.get("value") <= m.get("min")));
      on.setAttribute("aria-disabled", String(m.get("value") >= m.get("max")));
      play.textContent = m.get("playing") ? "Pause" : "Play";
    });
    return h("div.pa-buttons", { role: "group", "aria-label": m.get("description") || "Playback" }, back, ...(still.matches ? [] : [play]), on);
  }

  /** @type {Record<string, string>} model id -> address of its module beside this script */
  let modules = {};
  /** @type {ReturnType<typeof revive> | undefined} undefined until the saved state has arrived */
  let models;

  /** @type {Map<string, Promise<any>>} */
  const loaded = new Map();

  /** From the site's own files where it serves them (a strict policy allows no blob:), else from the state. @param {Model} m */
  async function moduleOf(m) {
    const fromState = () => {
      const url = URL.createObjectURL(new Blob([m.get("_esm")], { type: "text/javascript" }));
      return import(url).finally(() => URL.revokeObjectURL(url));
    };
    if (!modules[m.id] || location.protocol === "file:") return fromState();
    return import(new URL(modules[m.id], self.src).href).catch(fromState);
  }

  /** One module a text, and its style once, unless the page links them all. @param {Model} m */
  function load(m) {
    const css = m.get("_css") ?? "", esm = m.get("_esm");
    if (css && !loaded.has(css) && !document.querySelector("link[data-figures-css]")) {
      loaded.set(css, Promise.resolve());
      document.head.append(h("style", {}, css));
    }
    if (!loaded.has(esm)) {
      loaded.set(esm, moduleOf(m).then(async (module) => (typeof module.default === "function" ? module.default() : module.default)));
    }
    return /** @type {Promise<any>} */ (loaded.get(esm));
  }

  /** @param {Model} m @param {Promise<void>[]} pending */
  function view(m, pending) {
    const el = h("div");
    pending.push(load(m).then(async (widget) => {
      await widget.initialize?.({ model: m.facade() });
      await widget.render({ model: m.facade(), el });
    }));
    return el;
  }

  /** @param {Model} m @param {Promise<void>[]} pending */
  const box = (m, pending) => h("div.pa-box", {}, ...m.get("children").map((/** @type {string} */ c) => build(idOf(c), pending)));

  /** @type {Record<string, (m: Model, pending: Promise<void>[]) => HTMLElement>} */
  const BUILD = {
    FloatSliderModel: slider, FloatLogSliderModel: slider, IntSliderModel: slider, ToggleButtonsModel: toggles, DropdownModel: dropdown,
    CheckboxModel: checkbox, PlayModel: player, HBoxModel: box, VBoxModel: box, BoxModel: box, AnyModel: view,
  };

  /** @param {string} id @param {Promise<void>[]} pending @returns {HTMLElement} */
  function build(id, pending) {
    const m = models?.get(id);
    if (!m) throw new Error(`widget ${id} is not in the page's saved state`);
    if (!BUILD[m.name]) throw new Error(`${m.name} is not among the widgets this page can draw (${Object.keys(BUILD).join(", ")})`);
    const el = BUILD[m.name](m, pending);
    el.classList.add(...m.get("_dom_classes"));
    return el;
  }

  /** @param {Element} script */
  async function mount(script) {
    const figure = script.closest("figure[data-figure]");
    try {
      /** @type {Promise<void>[]} */
      const pending = [];
      const live = h("div.pa-live", {}, build(JSON.parse(script.textContent ?? "{}").model_id, pending));
      await Promise.all(pending);
      // complete, so it can take the static picture's place in one step: nothing on the page moves
      if (figure) figure.prepend(live);
      else script.after(live);
      figure?.setAttribute("data-live", "");
    } catch (error) {
      console.error(`Figure "${figure?.getAttribute("data-figure") ?? "without a name"}" stays static: ${error instanceof Error ? error.message : error}`);
    }
  }

  /** Whether the page has been read past this element. @param {Node} element */
  function arrived(element) {
    /** @type {Node | null} */
    let node = element;
    while (node && !node.nextSibling) node = node.parentNode;
    return Boolean(node) || document.readyState !== "loading";
  }

  /** @param {string} kind @returns {Element[]} */
  const scripts = (kind) => [...document.querySelectorAll(`script[type="application/vnd.jupyter.widget-${kind}+json"]`)].filter(arrived);

  /** @type {Set<Element>} */
  const begun = new Set();

  /** Mount what has arrived so far: the first figure does not wait for the end of a long page. */
  function mountArrived() {
    const loading = document.readyState === "loading", states = scripts("state");
    if (!models && (states.length || !loading)) {
      modules = Object.assign({}, ...states.map((s) => JSON.parse(s.getAttribute("data-modules") ?? "{}")));
      models = revive(Object.assign({}, ...states.map((s) => JSON.parse(s.textContent ?? "{}").state)));
    }
    for (const script of models ? scripts("view") : []) {
      if (!begun.has(script)) mount(script);
      begun.add(script);
    }
    if (loading) setTimeout(mountArrived, 20);
  }
  mountArrived();
  document.addEventListener("DOMContentLoaded", mountArrived);
})();
