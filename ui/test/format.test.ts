import assert from "node:assert/strict";
import { test } from "node:test";

import { barTime, compact, decimalsOf, direction, duration, percent, price, revisionText, signed, value } from "../src/base/format.ts";

test("prices carry as many decimals as the data has", () => {
  assert.equal(decimalsOf([187.25, 190, 3.5]), 2);
  assert.equal(decimalsOf([1.0843, 1.08, null]), 4);
  assert.equal(decimalsOf([97_412.5]), 2);
  assert.equal(decimalsOf([201.225213471, 199.123456789]), 2); // longer than any tick: by size
  assert.equal(decimalsOf([0.0712345678, 0.0723456789]), 4);
  assert.equal(decimalsOf([110.379997, 109.951234]), 2); // a file of 32 bit floats
  assert.equal(decimalsOf([null]), 2);
});

test("thousands are grouped, a missing price is a dash, a minus is a minus", () => {
  assert.equal(price(97412.5, 2), "97,412.50");
  assert.equal(price(1234567, 0), "1,234,567");
  assert.equal(price(null, 2), "–");
  assert.equal(signed(-0.5, 2), "−0.50");
  assert.equal(signed(0.5, 2), "+0.50");
});

test("what rounds to nothing has no sign and no direction", () => {
  assert.equal(percent(0.004), "0.00%");
  assert.equal(percent(-0.004), "0.00%");
  assert.equal(direction(-0.004), "flat");
  assert.equal(direction(0.006), "up");
  assert.equal(direction(-0.006), "down");
  assert.equal(direction(null), "flat");
});

test("large numbers are short", () => {
  assert.equal(compact(950), "950");
  assert.equal(compact(12_449), "12.4\u202fk");
  assert.equal(compact(999_999), "1.00\u202fM");
  assert.equal(compact(3_210_000_000), "3.21\u202fB");
  assert.equal(compact(7.6), "7.60");
});

test("durations use the unit that reads best", () => {
  assert.equal(duration(4.26), "4.3\u202fms");
  assert.equal(duration(42.4), "42\u202fms");
  assert.equal(duration(1_200), "1.20\u202fs");
  assert.equal(duration(120_000), "2\u202fmin");
  assert.equal(duration(null), "–");
});

test("small indicator values keep digits that tell them apart", () => {
  assert.equal(value(0.0001234, 2), "0.0001234");
  assert.equal(value(-0.0522349, 2), "−0.05223");
  assert.equal(value(146.864, 2), "146.86");
  assert.equal(value(0, 2), "0.00");
});

test("times are UTC, as fine as the timeframe", () => {
  const t = Date.UTC(2026, 10, 21, 15, 4, 5);
  assert.equal(barTime(t, "1d"), "21 Nov 2026");
  assert.equal(barTime(t, "1m"), "21 Nov 2026 15:04");
  assert.equal(barTime(t, "1s"), "21 Nov 2026 15:04:05");
  assert.equal(barTime(t, "100t"), "21 Nov 2026 15:04:05");
});

test("a bar that was revised says so, and how often", () => {
  assert.deepEqual([-1, 0, 1, 4].map(revisionText), ["forming", "", "revised", "revised ×4"]);
});
