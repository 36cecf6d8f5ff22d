import assert from "node:assert/strict";
import { test } from "node:test";

import { NO_CHANGES, together } from "../src/live/store.ts";
import { readAddress } from "../src/shell/address.ts";
import { writeLink } from "../src/symbol/link.ts";

test("an address names a view and what it is to show", () => {
  assert.deepEqual(readAddress("#/alerts"), { view: "alerts", rest: "" });
  assert.deepEqual(readAddress("#/ask/losers?day=2026-01-02"), { view: "ask", rest: "losers?day=2026-01-02" });
  assert.deepEqual(readAddress("#/market?sort=change"), { view: "market", rest: "sort=change" });
  assert.deepEqual(readAddress("#/nowhere"), { view: "symbol", rest: "" });
  assert.deepEqual(readAddress(""), { view: "symbol", rest: "" });
});

test("a chart's link is never taken for a view", () => {
  for (const symbol of ["AAPL", "/alerts", "A/B"]) {
    const link = writeLink({ symbol, timeframe: "1m" });
    assert.deepEqual(readAddress(link), { view: "symbol", rest: link.slice(1) });
  }
});

test("what several frames changed is drawn at once", () => {
  const first = { ...NO_CHANGES, quotes: new Set(["A"]), chart: "whole" as const, parts: { alerts: 1, market: 1 } };
  const then = { ...NO_CHANGES, quotes: new Set(["B"]), chart: "rows" as const, rows: [[1]], parts: { alerts: 2 } };
  assert.equal(together(NO_CHANGES, first), first);
  assert.deepEqual(together(first, then), {
    ...NO_CHANGES, quotes: new Set(["A", "B"]), chart: "whole", rows: [[1]], parts: { alerts: 2, market: 1 },
  });
});

test("of a part that tells changes as a list none is lost", () => {
  const first = { ...NO_CHANGES, symbols: true, parts: { alerts: [1, 2], market: { a: 1 } } };
  const then = { ...NO_CHANGES, parts: { alerts: [3], market: { a: 2 } } };
  assert.deepEqual(together(first, then).parts, { alerts: [1, 2, 3], market: { a: 2 } });
});
