import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import { patience } from "../src/live/connection.ts";
import { possibleTimeframe, readLink, usualTimeframe, writeLink } from "../src/symbol/link.ts";
import { linePath } from "../src/base/path.ts";
import { statusOf } from "../src/shell/status.ts";

test("a link survives the way there and back", () => {
  for (const symbol of ["AAPL", "BTC-USD.COINBASE", "A/B #1", "Ü%"]) {
    assert.deepEqual(readLink(writeLink({ symbol, timeframe: "5m" })), { symbol, timeframe: "5m" });
  }
  assert.deepEqual(readLink("#AAPL"), { symbol: "AAPL" });
  assert.deepEqual(readLink("#AAPL/nonsense"), { symbol: "AAPL" });
  assert.deepEqual(readLink("#%E0%A4/1m"), {});
  assert.deepEqual(readLink(""), {});
});

test("a minute is shown when nothing was asked for, else what is nearest", () => {
  assert.equal(usualTimeframe(["1s", "1m", "1d"]), "1m");
  assert.equal(usualTimeframe(["1s", "1d"]), "1s");
  assert.equal(usualTimeframe(["100t"]), "100t");
});

test("patience doubles up to ten seconds, spread so that pages do not come back all at once", () => {
  assert.deepEqual([0, 1, 2, 3].map((tries) => patience(tries, 0.5)), [500, 1000, 2000, 4000]);
  assert.equal(patience(30, 0.5), 10_000);
  assert.equal(patience(0, 0), 375);
  assert.ok(patience(0, 0.999) < 625);
});

test("a symbol without the wanted timeframe is shown in what it has", () => {
  assert.equal(possibleTimeframe("1m", ["1s", "1m"]), "1m");
  assert.equal(possibleTimeframe("1m", ["1d"]), "1d");
  assert.equal(possibleTimeframe("1m", []), "1m");
});

test("a line fills its box, the highest value at the top, a gap where a value is missing", () => {
  assert.equal(linePath([1, 3, 2], 20, 10), "M0.0 10.0L10.0 0.0L20.0 5.0");
  assert.equal(linePath([1, null, 3, 2], 30, 10), "M0.0 10.0M20.0 0.0L30.0 5.0");
  assert.equal(linePath([5, 5], 10, 10), "M0.0 5.0L10.0 5.0");
  assert.equal(linePath([1], 10, 10), "");
});

const figures = {
  events_per_s: 1, bars_per_s: 1, latency_p50_ms: 1, latency_p99_ms: 1, lag_records: 0, dead_letters: 0,
  broker_reachable: true, newest_row_ms: 1_000_000, now_ms: 1_001_000, symbols: 1, status: "ok" as const, reasons: [],
};

test("the status says what is wrong, and since when", () => {
  assert.equal(statusOf({ state: "open" }, figures, 0).state, "live");
  assert.equal(statusOf({ state: "open" }, { ...figures, now_ms: 1_200_000 }, 0).word, "Quiet for 3\u202fmin");
  assert.equal(statusOf({ state: "open" }, { ...figures, newest_row_ms: null }, 0).word, "Waiting for data");
  const behind = statusOf({ state: "open" }, { ...figures, now_ms: 1_200_000, lag_records: 34_100 }, 0);
  assert.match(behind.sentence, /34.1\u202fk records/);
  const unwell = (severity: "down" | "degraded") => statusOf({ state: "open" }, { ...figures, status: severity, reasons: [{ severity, what: "A.", do: "B." }] }, 0);
  assert.deepEqual([unwell("degraded"), unwell("down").state, unwell("down").sentence], [{ state: "degraded", word: "Degraded", sentence: "A. B." }, "away", "A. B. What you see is as of 00:16:40 UTC."]);
  const away = statusOf({ state: "open" }, { ...figures, broker_reachable: false }, 0);
  assert.equal(away.state, "away");
  assert.match(away.sentence, /as of 00:16:40 UTC/);
  const lost = statusOf({ state: "waiting", untilMs: 5_000 }, figures, 2_100);
  assert.equal(lost.state, "lost");
  assert.match(lost.sentence, /in 3 s/);
});

// WCAG 2.2: 4.5 to 1 for text. https://www.w3.org/TR/WCAG22/#dfn-contrast-ratio
function luminance(hex: string): number {
  const [r, g, b] = [1, 3, 5].map((at) => {
    const c = parseInt(hex.slice(at, at + 2), 16) / 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}

test("every colour of text stands out from what it is written on", () => {
  const css = readFileSync("src/style/tokens.css", "utf8");
  for (const theme of ["dark", "light"]) {
    const block = css.slice(css.indexOf(`[data-theme="${theme}"]`));
    const colors = new Map([...block.slice(0, block.indexOf("}")).matchAll(/--([a-z0-9-]+): (#[0-9a-f]{6});/g)].map((m) => [m[1]!, m[2]!]));
    const ratio = (a: string, b: string): number => {
      const [x, y] = [luminance(colors.get(a)!), luminance(colors.get(b)!)];
      return (Math.max(x, y) + 0.05) / (Math.min(x, y) + 0.05);
    };
    const texts = ["text", "text-soft", "text-faint", "up", "down", "warn", "good", ...[1, 2, 3, 4, 5, 6].map((n) => `series-${n}`)];
    for (const text of texts) {
      assert.ok(ratio(text, "panel") >= 4.5, `${theme}: ${text} on panel is ${ratio(text, "panel").toFixed(2)}`);
    }
    for (const text of ["text", "text-soft", "text-faint", "up", "down"]) {
      assert.ok(ratio(text, "chosen") >= 4.5, `${theme}: ${text} on chosen is ${ratio(text, "chosen").toFixed(2)}`);
    }
    assert.ok(ratio("on-accent", "accent") >= 4.5, `${theme}: on-accent`);
  }
});
