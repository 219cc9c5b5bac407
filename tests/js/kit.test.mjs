// The parts of the figures' kit that need no page.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

const text = readFileSync(new URL("../../attention_core/figures/kit.js", import.meta.url), "utf8");
const kit = await import(`data:text/javascript,${encodeURIComponent(text)}`);

test("numbers have a true minus, and none at zero", () => {
  assert.equal(kit.fixed(-0.004), "0.00");
  assert.equal(kit.fixed(-1.5, 1), "−1.5");
  assert.equal(kit.tidy(-0.0625), "−0.0625");
  assert.equal(kit.percent(0.875), "88\u00a0%");
});

test("the ramp meets its stops and is clamped to them", () => {
  assert.equal(kit.ramp(0), "color-mix(in oklab, var(--pa-s1) 0%, var(--pa-s0))");
  assert.equal(kit.ramp(0.55), "color-mix(in oklab, var(--pa-s6) 50%, var(--pa-s5))");
  assert.equal(kit.ramp(1), "color-mix(in oklab, var(--pa-s10) 100%, var(--pa-s9))");
  assert.equal(kit.ramp(7), kit.ramp(1));
});

test("ink flips where the design says", () => {
  assert.deepEqual([0.43, 0.44, 0.63, 0.64].map(kit.ink), ["low", "mid", "mid", "high"].map((x) => `var(--pa-ink-${x})`));
});

test("ticks are the powers inside the range, ends included", () => {
  assert.deepEqual(kit.logTicks(0.05, 10), [0.1, 1, 10]);
  assert.deepEqual(kit.logTicks(1 / 16, 16, 2).length, 9);
});

test("the first of equal maxima is the argmax", () => assert.equal(kit.argmax([1, 3, 3]), 1));
