import assert from "node:assert/strict";
import { test } from "node:test";

import type { Figures } from "../src/live/protocol.ts";
import { boxesOf, rateText, speedOf } from "../src/pipeline/drawing.ts";
import { placeText, pretty, reasonText } from "../src/pipeline/letters.ts";
import { missedText, missedTone } from "../src/pipeline/missed.ts";
import { bpsText, missedOf, requestsText, rowsOf, runsOf, shareText, stripPath } from "../src/pipeline/score.ts";
import type { Picture, Score } from "../src/pipeline/protocol.ts";

const figures: Figures = {
  events_per_s: 412.4, bars_per_s: 40, latency_p50_ms: 130, latency_p99_ms: 480, lag_records: 7, dead_letters: 2,
  broker_reachable: true, newest_row_ms: 1, now_ms: 2, symbols: 3, status: "ok" as const, reasons: [],
};

const picture: Picture = {
  now_ms: 1, span_s: 10, free_bytes: 1e12, parity: null, findings: [], hops: [{ hop: "all", per_s: 1, p50_ms: 5, p99_ms: 50 }],
  processes: [{ name: "process-0", pid: 1, trouble: null, cpu_cores: 0.5, memory_bytes: 1, started_ms: 1, restarts: 0, where: null }],
  sources: [{ source: "feed", rows_per_s: 250, rows: 1000, types: {}, rejected: {}, engine: {}, faults: 0, reconnects: 0, gaps: 0, missing: {}, watermark_delay_ms: 120, rows_on_disk: 0, on_disk_s: 0 }],
  engine: {
    records_per_s: 400, rows_out_per_s: { bars: 30, alerts: 0 }, workers: 1, symbols: 3, state_bytes: 1, late_trades: 0, duplicate_trades: 0,
    out_of_session: 0, crossed_quotes: 0, quality: {}, bars_revised: 0, dead_letters: {},
  },
  sinks: [{ sink: "lake", rows_per_s: 700, rows: 1, lag_records: 60_000, faults: 0, p50_ms: 1, p99_ms: 2 }],
  page: { connected: 1, frames_per_s: 10 },
};

const nothing = { gaps: 0, trades: 0 };
const score: Score = {
  source: "feed", kind: "coinbase", state: "live", mode: "live", simulated: false, symbols: 2, rows_per_s: 12, lag_p50_ms: 4, lag_p99_ms: 40,
  behind_ms: 10, coverage: 1, gaps: { found: nothing, healed: nothing, open: nothing }, quality: {}, dead_letters: {},
  disagreement_p50_bps: null, disagreement_p99_bps: null, requests: null,
};

test("every part of the pipeline has a box, and every row a way to it", () => {
  const { boxes, lines } = boxesOf(picture, figures);
  assert.deepEqual(boxes.map((b) => [b.id, b.column, b.state]), [
    ["source feed", 0, "good"], ["market", 1, "good"], ["engine", 2, "good"], ["bars", 3, "good"], ["alerts", 3, "idle"],
    ["sink lake", 4, "warn"], ["page", 4, "good"],
  ]);
  const known = new Set(boxes.map((b) => b.id));
  for (const line of lines) assert.ok(known.has(line.from) && known.has(line.to), `${line.from} to ${line.to}`);
  assert.deepEqual(lines.filter((l) => l.to === "market"), [{ from: "source feed", to: "market", rate: 250 }]);
});

test("a box tells by its edge when something is wrong", () => {
  const away = boxesOf({ ...picture, engine: { ...picture.engine, workers: 0 } }, { ...figures, broker_reachable: false });
  const states = new Map(away.boxes.map((b) => [b.id, b.state]));
  assert.equal(states.get("market"), "bad");
  assert.equal(states.get("engine"), "bad");
});

test("what is quicker moves quicker, within bounds", () => {
  assert.ok(speedOf(10) > speedOf(1_000));
  assert.ok(speedOf(1e9) >= 0.3 && speedOf(0) <= 2.4);
  assert.equal(rateText(1234.5), "1.24\u202fk/s"); // rounded to whole ones first
  assert.equal(rateText(0.25), "0.30/s");
});

test("a dead letter is told in words, and its record is laid out where it can be", () => {
  assert.equal(reasonText("bad_price"), "Bad price");
  assert.equal(reasonText("not_json"), "Not JSON");
  assert.equal(placeText({ topic: "market", partition: 3, offset: 12, row: null }), "market/3@12");
  assert.equal(placeText({ topic: "market", partition: 3, offset: 12, row: 4 }), "market/3@12, row 4");
  assert.equal(pretty('{"a":1}'), '{\n  "a": 1\n}');
  assert.equal(pretty("not json"), "not json");
  assert.equal(pretty(null), "");
});

test("what a feed did not bring is said with what became of it", () => {
  const told = [
    { gaps: 0, missing: {} }, { gaps: 1, missing: { found: 46, healed: 46 } }, { gaps: 1, missing: { found: 46, healed: 43 } },
    { gaps: 2, missing: { found: 46, healed: 30, given_up: 12 } }, { gaps: 1, missing: { found: 5, given_up: 5 } },
    { gaps: 2, missing: { healed: 7 } }, { gaps: 1, missing: {} }, // trades that do not count
  ];
  assert.deepEqual(told.map(missedText), ["0", "46, all healed", "46, 3 open", "46, 4 open, 12 lost", "5, 5 lost", "7, all healed", "1 gap"]);
  assert.deepEqual(told.map(missedTone), ["faint", "good", "warn", "warn", "warn", "good", "warn"]);
});

test("a source has one row, of what the log says and what its process says", () => {
  const process = picture.sources[0]!;
  const rows = rowsOf([{ ...score, source: "far" }, { ...score, source: "feed" }], [process, { ...process, source: "new" }]);
  assert.deepEqual(rows.map((r) => [r.source, r.score !== null, r.process !== null]), [["far", true, false], ["feed", true, true], ["new", false, true]]);
});

test("what is told of a source is never rounded up to all of it", () => {
  assert.deepEqual([1, 0.9999, 0.5, 0, null].map(shareText), ["100%", "99.9%", "50%", "0%", "–"]);
  assert.deepEqual([0.004, 0.994, 1.26, 37.4, null].map(bpsText), ["0.00", "0.99", "1.3", "37", "–"]);
  assert.equal(requestsText({ asked: 3, today: 18, a_day: 25 }), "18 of 25");
  assert.equal(requestsText({ asked: 3, today: null, a_day: null }), "3");
  assert.equal(requestsText(null), "–");
});

test("gaps are told as the trades in them", () => {
  const none = { gaps: 0, trades: 0 };
  assert.equal(missedText(missedOf({ found: none, healed: { gaps: 2, trades: 46 }, open: none })), "46, all healed");
  assert.equal(missedText(missedOf({ found: { gaps: 1, trades: 3 }, healed: { gaps: 1, trades: 43 }, open: none })), "46, 3 open");
  assert.equal(missedText(missedOf({ found: { gaps: 1, trades: 0 }, healed: none, open: none })), "1 gap"); // trades that do not count
});

test("a strip is drawn as runs of equal minutes", () => {
  assert.deepEqual(runsOf("..110"), [{ from: 0, to: 2, mark: "." }, { from: 2, to: 4, mark: "1" }, { from: 4, to: 5, mark: "0" }]);
  assert.equal(stripPath("..1101", "1", 10), "M2 0H4V10H2ZM5 0H6V10H5Z");
  assert.equal(stripPath("", "1", 10), "");
});
