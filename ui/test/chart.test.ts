import assert from "node:assert/strict";
import { test } from "node:test";

import { multiplied, stepAt, tellAction } from "../src/symbol/adjusting.ts";
import { Bars, placeOf } from "../src/symbol/bars.ts";
import { closeAt, commonStart } from "../src/symbol/common_start.ts";
import { averaged } from "../src/symbol/heikin.ts";
import { inOrder } from "../src/symbol/older.ts";
import { readChoice, readChosen, readLink, writeLink } from "../src/symbol/link.ts";
import { fault, found, plain, stemOf } from "../src/symbol/picker/catalogue.ts";
import type { Entry } from "../src/symbol/picker/catalogue.ts";
import { phaseOf, sessionAt } from "../src/symbol/session.ts";
import { exact, spanText, tellingText } from "../src/symbol/receipt/told.ts";
import type { Receipt } from "../src/symbol/receipt/told.ts";

const row = (time: number, close: number): number[] => [time, time + 60, close, close, close, close, 1, close, 1, 0];

test("older bars come in front once, however the page overlaps", () => {
  const bars = new Bars();
  bars.begin([row(120, 3), row(180, 4)]);
  assert.equal(bars.before([row(0, 1), row(60, 2), row(120, 99)]), 2);
  assert.deepEqual(bars.rows.map((r) => [r[0], r[5]]), [[0, 1], [60, 2], [120, 3], [180, 4]]);
});

test("a page without older bars leaves the very array that the chart draws", () => {
  const bars = new Bars();
  bars.begin([row(120, 3)]);
  const drawn = bars.rows;
  assert.equal(bars.before([row(120, 9)]), 0);
  assert.equal(bars.before([]), 0);
  assert.equal(bars.change([row(180, 4)]), true);
  assert.equal(bars.rows, drawn);
});

test("all live rows again leave what lies before them, and a gap starts the series anew", () => {
  const bars = new Bars();
  bars.begin([row(60, 2), row(120, 3)]);
  bars.before([row(0, 1)]);
  bars.again([row(120, 30), row(180, 4)]);
  assert.deepEqual(bars.rows.map((r) => r[5]), [1, 2, 30, 4]);
  bars.again([row(600, 9)]);
  assert.deepEqual(bars.rows.map((r) => r[5]), [9]);
});

test("a place is that of the bar at a time, or of the one before", () => {
  const rows = [row(0, 1), row(60, 2), row(120, 3)];
  assert.deepEqual([-1, 0, 59, 60, 500].map((time) => placeOf(rows, time)), [-1, 0, 0, 1, 2]);
});

test("a page's numbers stand in the order of the live rows", () => {
  assert.deepEqual(inOrder([[1, 2, 3]], ["t", "sma", "rsi"], ["t", "rsi", "new"]), [[1, 3, null]]);
});

test("Heikin-Ashi is worked out by hand", () => {
  // open, high, low, close: 10 12 9 11, then 11 15 11 14
  const first = averaged([0, 60, 10, 12, 9, 11], null);
  assert.deepEqual(first, { open: 10.5, high: 12, low: 9, close: 10.5 });
  assert.deepEqual(averaged([60, 120, 11, 15, 11, 14], first), { open: 10.5, high: 15, low: 10.5, close: 12.75 });
});

test("a comparison starts where every symbol has begun, within what is in view", () => {
  const rows = [row(0, 1), row(60, 2), row(120, 3), row(180, 4)];
  const later = [row(90, 7), row(120, 8)];
  assert.equal(commonStart(rows, [later], 0), 2);
  assert.equal(commonStart(rows, [later], 2.2), 3);
  assert.equal(commonStart(rows, [[]], 0), -1);
  assert.deepEqual([0, 90, 119, 500].map((time) => closeAt(later, time)), [null, 7, 7, 8]);
});

test("a chart's choices survive the way there and back in its address", () => {
  const choice = {
    style: "heikin" as const, adjust: "split" as const, shown: [{ stem: "rsi_21", color: null }, { stem: "bbands_20_2p5", color: 3 }],
    compare: ["MSFT", "BTC-USD.COINBASE", "A&B=C"], receipt: { open: 1734532200000, name: "macd_12_26_9_signal" },
  };
  const link = writeLink({ symbol: "A/B?#", timeframe: "5m" }, choice);
  assert.deepEqual(readLink(link), { symbol: "A/B?#", timeframe: "5m" });
  assert.deepEqual(readChoice(link), choice);
  assert.equal(writeLink({ symbol: "AAPL", timeframe: "1m" }, { style: "candles", adjust: "none", shown: null, compare: [], receipt: null }), "#AAPL/1m");
  assert.equal(
    writeLink({ symbol: "AAPL", timeframe: "1m" }, { style: "heikin", shown: readChosen("rsi_21,bbands_20_2"), compare: ["MSFT"] }),
    "#AAPL/1m?style=heikin&with=rsi_21,bbands_20_2&compare=MSFT",
  );
});

test("what is no choice in an address is passed over", () => {
  const choice = readChoice("#AAPL/1m?style=pie&with=rsi_14,<b>,none,rsi_14&compare=,,&receipt=now");
  assert.deepEqual(choice, { style: null, adjust: "none", shown: [{ stem: "rsi_14", color: null }], compare: [], receipt: null });
  assert.deepEqual(readChoice("#AAPL/1m?with=none").shown, []);
  assert.equal(readChoice("#AAPL/1m").shown, null);
});

const bands: Entry = {
  name: "bbands", title: "Bollinger bands", group: "volatility", columns: [], warm_up: 19, pane: "price", formula: "sma(period) ± deviations",
  source: "TA-Lib", stem: "bbands_20_2", needs_the_engine: null,
  parameters: [
    { name: "period", kind: "int", default: 20, minimum: 2, maximum: 10000 },
    { name: "deviations", kind: "float", default: 2, minimum: 0, maximum: 100 },
  ],
};
const sma: Entry = { ...bands, name: "sma", title: "Simple moving average", group: "trend", formula: "mean of the last closes", parameters: [bands.parameters[0]!] };

test("numbers of the form are checked against the declaration", () => {
  const [period, deviations] = bands.parameters as [Entry["parameters"][0], Entry["parameters"][0]];
  assert.equal(fault(period, "20"), null);
  assert.equal(fault(deviations, "2.5"), null);
  assert.match(fault(period, "2.5") ?? "", /whole/);
  assert.match(fault(period, "1") ?? "", /From 2 to 10000/);
  assert.match(fault(deviations, "") ?? "", /number/);
  assert.match(fault(deviations, "1e999") ?? "", /number/);
  assert.equal(stemOf(bands, [20, 2.5]), "bbands_20_2p5");
  assert.equal(plain(1e-7), "0.0000001");
});

test("a search finds names before titles before formulas", () => {
  assert.deepEqual(found([sma, bands], "", "").map((e) => e.name), ["bbands", "sma"]);
  assert.deepEqual(found([bands, sma], "sma", "").map((e) => e.name), ["sma", "bbands"]);
  assert.deepEqual(found([bands, sma], "boll band", "").map((e) => e.name), ["bbands"]);
  assert.deepEqual(found([bands, sma], "", "trend").map((e) => e.name), ["sma"]);
  assert.deepEqual(found([bands, sma], "zzz", ""), []);
});

test("a time is before, in, or after its session, or in none", () => {
  const sessions = [
    { date: 1, open_ms: 100, close_ms: 200, half_day: false, pre_ms: 50, post_ms: 250 },
    { date: 2, open_ms: 400, close_ms: 500, half_day: true, pre_ms: null, post_ms: null },
  ];
  const phases = [0, 50, 100, 199, 200, 249, 250, 400, 500].map((time) => phaseOf(sessionAt(sessions, time), time));
  assert.deepEqual(phases, ["closed", "before", "regular", "regular", "after", "after", "closed", "regular", "closed"]);
});

test("a receipt says in words what a bar is made of", () => {
  const receipt = { topic: "market", partition: 5, first_offset: 8316, last_offset: 14067, late_count: 0, engine_version: "3" };
  const trade = { kind: "trade", counts: true } as Receipt["inputs"][0];
  const told = { receipt, inputs: [trade, { ...trade, counts: false }, trade] } as Receipt;
  assert.equal(spanText(told), "Made of 2 trades in market/5, offsets 8316 to 14067.");
  assert.equal(spanText({ ...told, receipt: { ...receipt, last_offset: 8316 }, inputs: [trade] }), "Made of one trade in market/5, offset 8316.");
  assert.equal(exact(-0.5), "−0.5");
  assert.equal(exact(null), "none");
  const telling = { table: "indicators" as const, offset: 1, row: 0, record: "trade", values: { revision: 0, close: 2, rsi_14: 55.5, vwap: 2.25 } };
  assert.equal(tellingText(telling, ["rsi_14", "session_vwap"]), "rsi_14 55.5, vwap 2.25");
  assert.equal(tellingText({ ...telling, table: "bars", values: { close: null } }, []), "withdrawn");
});

test("bars before a split are divided, their volume is multiplied, and the rest is left", () => {
  const steps = [{ before_ms: 60, price: 0.25, volume: 4 }, { before_ms: 120, price: 0.5, volume: 2 }];
  const rows = [0, 60, 120].map((time) => [...row(time, 100), 100, 55, null]);
  const found = multiplied(rows, steps, [10, 12]);
  assert.deepEqual(found.map((one) => [one[2], one[5], one[6], one[7], one[8], one[10], one[11], one[12]]), [
    [25, 25, 4, 25, 1, 25, 55, null], [50, 50, 2, 50, 1, 50, 55, null], [100, 100, 1, 100, 1, 100, 55, null],
  ]);
  assert.equal(rows[0]![5], 100);
  assert.equal(found[2], rows[2]);
  assert.equal(stepAt(steps, 119)?.price, 0.5);
  assert.equal(stepAt([], 0), null);
});

test("what was split or paid is told in words", () => {
  const told = (type: "split" | "dividend", value: number): string => tellAction({ type, value, ex_ms: 0 });
  assert.deepEqual([told("split", 4), told("split", 1.5), told("split", 0.1), told("dividend", 0.82)], ["Split 4:1", "Split 1.5:1", "Split 1:10", "Dividend of 0.82"]);
});

test("what prices are adjusted for stands in the address", () => {
  const link = writeLink({ symbol: "AAPL", timeframe: "1d" }, { adjust: "all" });
  assert.equal(link, "#AAPL/1d?adjust=all");
  assert.equal(readChoice(link).adjust, "all");
  assert.equal(readChoice("#AAPL/1d?adjust=half").adjust, "none");
});
