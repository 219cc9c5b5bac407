// The light static host's own rules, without a page: models, links, buffers, readouts.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import vm from "node:vm";

const path = new URL("../../book/static/widget-host.js", import.meta.url);
vm.runInThisContext(readFileSync(path, "utf8"), { filename: path.pathname });
const { DEFAULTS, Model, decode, readout, reading, restore, revive, same, spoken } = globalThis.PayingAttention;

const slider = (state) => ({ model_name: "FloatSliderModel", state });
const link = (kind, a, b) => ({
  model_name: kind,
  state: { source: [`IPY_MODEL_${a}`, "value"], target: [`IPY_MODEL_${b}`, "value"] },
});

test("set fires change:name for what differs, and then change once", () => {
  const m = new Model("id", "FloatSliderModel", { value: 1, min: 0 });
  const seen = [];
  m.on("change:value", (model, value) => seen.push(["value", model === m, value]));
  m.on("change:min", () => seen.push(["min"]));
  m.on("change", () => seen.push(["change"]));
  m.set({ value: 2, min: 0 });
  assert.deepEqual(seen, [["value", true, 2], ["change"]]);
  m.set("value", 2);
  assert.equal(seen.length, 2);
});

test("all values are in place before the first listener runs", () => {
  const m = new Model("id", "FloatSliderModel", { value: 1, max: 1 });
  let max;
  m.on("change:value", () => (max = m.get("max")));
  m.set({ value: 5, max: 9 });
  assert.equal(max, 9);
});

test("off removes by event and callback, by event, or everything", () => {
  const m = new Model("id", "AnyModel", { a: 0, b: 0 });
  const calls = [];
  const first = () => calls.push("first"), second = () => calls.push("second");
  m.on("change:a change:b", first);
  m.on("change:a", second);
  m.off("change:a", first);
  m.set({ a: 1, b: 1 });
  assert.deepEqual(calls.splice(0), ["second", "first"]);
  m.off("change:a");
  m.set({ a: 2, b: 2 });
  assert.deepEqual(calls.splice(0), ["first"]);
  m.off();
  m.set({ a: 3, b: 3 });
  assert.deepEqual(calls, []);
});

test("a view that takes off all its listeners leaves the links alone", () => {
  const models = revive({ a: slider({ value: 1 }), b: slider({ value: 1 }), l: link("LinkModel", "a", "b") });
  const view = models.get("a").facade();
  let drawn = 0;
  view.on("change:value", () => drawn++);
  view.set("value", 2);
  view.off(null, null);
  view.set("value", 3);
  assert.equal(drawn, 1);
  assert.equal(models.get("b").get("value"), 3);
});

test("jslink moves both ways, and the source wins at the start", () => {
  const models = revive({ a: slider({ value: 1 }), b: slider({ value: 9 }), l: link("LinkModel", "a", "b") });
  const [a, b] = [models.get("a"), models.get("b")];
  assert.equal(b.get("value"), 1);
  a.set("value", 3);
  assert.equal(b.get("value"), 3);
  b.set("value", 4);
  assert.equal(a.get("value"), 4);
});

test("jsdlink moves one way", () => {
  const models = revive({ a: slider({ value: 1 }), b: slider({ value: 9 }), l: link("DirectionalLinkModel", "a", "b") });
  models.get("b").set("value", 5);
  assert.equal(models.get("a").get("value"), 1);
  models.get("a").set("value", 2);
  assert.equal(models.get("b").get("value"), 2);
});

test("a ring of links comes to rest", () => {
  const models = revive({
    a: slider({ value: 1 }), b: slider({ value: 1 }), c: slider({ value: 1 }),
    l1: link("LinkModel", "a", "b"), l2: link("LinkModel", "b", "c"), l3: link("LinkModel", "c", "a"),
  });
  models.get("b").set("value", 7);
  assert.deepEqual(["a", "b", "c"].map((id) => models.get(id).get("value")), [7, 7, 7]);
});

test("a link whose other end was not saved is left out", () => {
  assert.equal(revive({ a: slider({ value: 1 }), l: link("LinkModel", "a", "gone") }).get("a").get("value"), 1);
});

test("values that ipywidgets leaves out of the state have its defaults", () => {
  const m = revive({ a: { model_name: "IntSliderModel", state: { value: 3 } } }).get("a");
  assert.deepEqual(["value", "min", "max", "step", "_dom_classes"].map((k) => m.get(k)), [3, 0, 100, 1, []]);
});

test("buffers return to their paths, nested ones too, as a DataView", () => {
  const data = Buffer.from(new Float32Array([0.5, -2]).buffer).toString("base64");
  const state = restore({
    model_name: "AnyModel",
    state: { frames: null, deep: { list: [{ name: "kept" }] } },
    buffers: [
      { path: ["frames"], data, encoding: "base64" },
      { path: ["deep", "list", 0, "bytes"], data, encoding: "base64" },
      { path: ["new", 0, "bytes"], data, encoding: "base64" },
    ],
  });
  for (const view of [state.frames, state.deep.list[0].bytes, state.new[0].bytes]) {
    assert.ok(view instanceof DataView);
    assert.deepEqual([view.getFloat32(0, true), view.getFloat32(4, true)], [0.5, -2]);
  }
  assert.equal(state.deep.list[0].name, "kept");
  assert.throws(() => restore({ state: {}, buffers: [{ path: ["x"], data, encoding: "hex" }] }), /encoded as hex/);
});

test("equality is that of JSON values, and of binary data only by identity", () => {
  assert.ok(same({ a: [1, { b: null }] }, { a: [1, { b: null }] }));
  assert.ok(!same([1], { 0: 1 }) && !same({ a: 1 }, { a: 1, b: 2 }) && !same(null, {}));
  const view = decode("AAAA");
  assert.ok(same(view, view) && !same(view, decode("AAAA")));
  assert.ok(same(NaN, NaN)); // or a linked NaN would go round for ever
});

test("readouts follow the slider's format, with a true minus", () => {
  assert.equal(readout(-2.04, ".1f"), "−2.0");
  assert.equal(readout(0.0625, ".3g"), "0.0625");
  assert.equal(readout(1.0905077, ".3g"), "1.09");
  assert.equal(readout(7, "d"), "7");
});

test("a slider's value is said in words", () => {
  const step = new Model("s", "IntSliderModel", { value: 2, min: 1, max: 3 });
  assert.equal(reading(step), "2 of 3");
  const temperature = new Model("t", "FloatLogSliderModel", { value: 0.5, words: ["sharper", "as is", "flatter"] });
  assert.equal(reading(temperature), "0.5 · sharper");
  assert.equal(spoken(temperature), "0.5, sharper");
  temperature.set("value", 1);
  assert.equal(spoken(temperature), "1, as is");
  assert.equal(spoken(new Model("x", "FloatSliderModel", { value: -2.5, readout_format: ".1f" })), "minus 2.5");
});

test("the closed set is the one that the build knows", () => {
  const controls = ["FloatSlider", "FloatLogSlider", "IntSlider", "Play", "ToggleButtons", "Dropdown", "Checkbox", "HBox", "VBox", "Box", "Any"];
  assert.deepEqual(Object.keys(DEFAULTS), controls.map((name) => `${name}Model`));
});
