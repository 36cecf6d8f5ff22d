import assert from "node:assert/strict";
import { test } from "node:test";

import type { Frame, Row, SymbolRow } from "../src/live/protocol.ts";
import { Store, changeOf, upsertRows, worthwhile } from "../src/live/store.ts";

function bar(time: number, close: number, revision = 0): Row {
  return [time, time + 60_000, 1, 2, 0.5, close, 10, close, 3, revision];
}

type Told = { symbol: string; last: number; timeMs?: number; simulated?: boolean; bid?: number | null; reference?: number };

const IDS = ["AAPL", "KO", "MSFT", "SIM-A", "SIM-B", "SPY"];

/** The part of a frame that tells of quotes. */
function quotes(...told: Told[]): Pick<Frame, "symbols" | "quotes"> {
  const symbols = told.map(({ symbol, simulated = true, reference = 100 }): SymbolRow =>
    [IDS.indexOf(symbol), symbol, reference, "previous_close", simulated, null, ["1m"]]);
  return { symbols, ...prices(...told) };
}

function prices(...told: Told[]): Pick<Frame, "quotes"> {
  return { quotes: { until: 10_000_000, id: told.map((q) => IDS.indexOf(q.symbol)), last: told.map((q) => q.last), ago: told.map((q) => 10_000_000 - (q.timeMs ?? 1_000)) } };
}

const whole: Frame = {
  seq: 7,
  after: null,
  run: "a1",
  generation: 2,
  columns: ["open_time_ms"],
  timeframes: ["1m"],
  ...quotes({ symbol: "AAPL", last: 110 }, { symbol: "KO", last: 50 }),
  chart: { symbol: "AAPL", timeframe: "1m", whole: true, rows: [bar(0, 1), bar(60_000, 2)], session: null },
};

test("a frame that does not follow the last one is refused", () => {
  const store = new Store();
  store.apply(whole);
  assert.equal(store.apply({ seq: 10, after: 8 }), null);
  assert.notEqual(store.apply({ seq: 8, after: 7 }), null);
  assert.equal(store.seq, 8);
});

test("a whole frame forgets symbols that are gone", () => {
  const store = new Store();
  store.apply(whole);
  store.apply({ seq: 9, after: null, ...quotes({ symbol: "MSFT", last: 1 }) });
  assert.deepEqual([...store.quotes.keys()], ["MSFT"]);
});

test("a closed bar takes the place of the forming one, and a new one comes behind it", () => {
  const store = new Store();
  store.apply(whole);
  const changes = store.apply({
    seq: 8,
    after: 7,
    chart: { symbol: "AAPL", timeframe: "1m", whole: false, rows: [bar(60_000, 5), bar(120_000, 6, -1)], session: null },
  });
  assert.equal(changes?.chart, "rows");
  assert.deepEqual(store.chart?.rows.map((row) => row[5]), [1, 5, 6]);
});

test("a chart of another symbol replaces the one before", () => {
  const store = new Store();
  store.apply(whole);
  const changes = store.apply({
    seq: 8,
    after: 7,
    chart: { symbol: "KO", timeframe: "1m", whole: false, rows: [bar(0, 9)], session: null },
  });
  assert.equal(changes?.chart, "whole");
  assert.deepEqual(store.chart?.rows, [bar(0, 9)]);
});

test("only what a frame changed is named", () => {
  const store = new Store();
  store.apply(whole);
  const changes = store.apply({ seq: 8, after: 7, ...prices({ symbol: "KO", last: 51 }) });
  assert.deepEqual([...(changes?.quotes ?? [])], ["KO"]);
  assert.equal(changes?.symbols, false);
  assert.equal(changes?.chart, "none");
});

test("the figures' samples are bounded", () => {
  const store = new Store();
  store.apply(whole);
  for (let i = 0; i < 500; i++) {
    store.apply({
      seq: 7,
      after: 7,
      figures: {
        events_per_s: i, bars_per_s: 0, latency_p50_ms: 1, latency_p99_ms: 2, lag_records: 0, dead_letters: 0,
        broker_reachable: true, newest_row_ms: null, now_ms: i, symbols: 2, status: "starting", reasons: [],
      },
    });
  }
  assert.equal(store.samples.length, 120);
  assert.equal(store.samples.at(-1)?.eventsPerS, 499);
});

test("rows are put in by their open time", () => {
  const rows = [bar(0, 1), bar(120_000, 3)];
  assert.equal(upsertRows(rows, [bar(120_000, 4), bar(180_000, 5)]), true);
  assert.equal(upsertRows(rows, [bar(60_000, 2)]), false);
  assert.deepEqual(rows.map((row) => row[5]), [1, 2, 4, 5]);
});

test("a revised bar takes the place of the one before it, and an older one goes in between", () => {
  const store = new Store();
  store.apply({ ...whole, chart: { ...whole.chart!, rows: [bar(0, 1), bar(60_000, 2)] } });
  const part = (rows: Row[]): Frame["chart"] => ({ symbol: "AAPL", timeframe: "1m", whole: false, rows, session: null });
  assert.equal(store.apply({ seq: 8, after: 7, chart: part([bar(0, 1.5, 1)])! })?.chart, "rows");
  assert.deepEqual(store.chart?.rows, [bar(0, 1.5, 1), bar(60_000, 2)]);
  assert.equal(store.apply({ seq: 9, after: 8, chart: part([bar(30_000, 7)])! })?.chart, "between");
  assert.deepEqual(store.chart?.rows.map((row) => row[0]), [0, 30_000, 60_000]);
});

test("a withdrawn bar is gone with the next whole, which changes the rows of the chart that is there", () => {
  const store = new Store();
  store.apply({ ...whole, chart: { ...whole.chart!, rows: [bar(0, 1), bar(60_000, 2)] } });
  const rows = store.chart?.rows;
  const chart = { symbol: "AAPL", timeframe: "1m", whole: true, rows: [bar(60_000, 2)], session: null };
  assert.equal(store.apply({ seq: 8, after: 7, chart })?.chart, "between");
  assert.equal(store.chart?.rows, rows);
  assert.deepEqual(rows, [bar(60_000, 2)]);
});

test("110 against 100 is +10, which is 10 %", () => {
  const store = new Store();
  store.apply(whole);
  assert.deepEqual(changeOf(store.quotes.get("AAPL")!), { difference: 10, percent: 10 });
  assert.equal(changeOf({ ...store.quotes.get("AAPL")!, reference: null }), null);
});

test("real data that moves is looked at first, then simulated data that moves, then any", () => {
  const store = new Store();
  const old = { symbol: "AAPL", last: 110, simulated: false };
  store.apply({ seq: 1, after: null, ...quotes(old, { symbol: "SIM-B", last: 1, timeMs: 9e6 }, { symbol: "SIM-A", last: 1, timeMs: 9e6 }) });
  assert.equal(worthwhile(store, null, 0), "SIM-A");
  assert.equal(worthwhile(store, "SIM-B", 0), "SIM-B", "what is looked at stays among equals");
  for (let i = 1; i <= 5; i++) {
    store.apply({ seq: 1 + i, after: i, ...quotes({ symbol: "SPY", last: 300 + i, timeMs: 2_000 + i, simulated: false }) }, 100 * i);
  }
  assert.equal(worthwhile(store, "SIM-B", 600), "SIM-B", "four changes are not moving yet");
  store.apply({ seq: 7, after: 6, ...prices({ symbol: "SPY", last: 290, timeMs: 2_010 }) }, 600);
  assert.equal(worthwhile(store, "SIM-B", 600), "SPY");
  assert.equal(worthwhile(store, "SIM-B", 9_000), "SIM-B", "it has stopped moving");
  assert.equal(worthwhile(new Store(), null, 0), null);
});

test("the newest bid and ask come with the quotes, and a column that is left out has no number", () => {
  const store = new Store();
  const told = quotes({ symbol: "AAPL", last: 110 }, { symbol: "KO", last: 50 });
  store.apply({ ...whole, ...told, quotes: { ...told.quotes!, bid: [109.9, null], bid_size: [300, null], ask: [110.1, null] } });
  const book = (symbol: string): unknown => {
    const { bid, bidSize, ask, askSize } = store.quotes.get(symbol)!;
    return [bid, bidSize, ask, askSize];
  };
  assert.deepEqual(book("AAPL"), [109.9, 300, 110.1, null]);
  assert.deepEqual(book("KO"), [null, null, null, null]);
});

test("a price under a known id changes the price and keeps what is known of the symbol", () => {
  const store = new Store();
  store.apply({ ...whole, ...quotes({ symbol: "KO", last: 50, reference: 40, simulated: false }) });
  store.apply({ seq: 8, after: 7, ...prices({ symbol: "KO", last: 44, timeMs: 2_000 }) });
  const quote = store.quotes.get("KO")!;
  assert.deepEqual([quote.last, quote.lastTimeMs, quote.reference, quote.simulated, quote.timeframes], [44, 2_000, 40, false, ["1m"]]);
  assert.equal(store.moves.get("KO")?.count, 1);
});

test("a page's place is where its last frame left it, with what it was shown then", () => {
  const store = new Store();
  assert.equal(store.place(), null);
  const shown = { chart: { symbol: "KO", timeframe: "1h" }, parts: ["market"] };
  store.apply({ ...whole, shown });
  store.apply({ seq: 9, after: 7, ...prices({ symbol: "KO", last: 51 }) });
  assert.deepEqual(JSON.parse(store.place()!), { run: "a1", generation: 2, seq: 9, shown });
  assert.equal(store.apply({ seq: 30, after: 12 }), null);
  assert.equal(JSON.parse(store.place()!).seq, 9, "a frame that does not follow moves nothing");
});
