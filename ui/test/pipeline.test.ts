import assert from "node:assert/strict";
import { test } from "node:test";

import type { Figures } from "../src/live/protocol.ts";
import { boxesOf, rateText, speedOf } from "../src/pipeline/drawing.ts";
import { placeText, pretty, reasonText } from "../src/pipeline/letters.ts";
import { missedText, missedTone } from "../src/pipeline/missed.ts";
import type { Picture } from "../src/pipeline/protocol.ts";

const figures: Figures = {
  events_per_s: 412.4, bars_per_s: 40, latency_p50_ms: 130, latency_p99_ms: 480, lag_records: 7, dead_letters: 2,
  broker_reachable: true, newest_row_ms: 1, now_ms: 2, symbols: 3,
};

const picture: Picture = {
  now_ms: 1, span_s: 10, free_bytes: 1e12, parity: null, findings: [], hops: [{ hop: "all", per_s: 1, p50_ms: 5, p99_ms: 50 }],
  processes: [{ name: "process-0", pid: 1, trouble: null, cpu_cores: 0.5, memory_bytes: 1, started_ms: 1, restarts: 0, where: null }],
  sources: [{ source: "feed", rows_per_s: 250, rows: 1000, types: {}, rejected: {}, faults: 0, reconnects: 0, gaps: 0, missing: {}, watermark_delay_ms: 120 }],
  engine: {
    records_per_s: 400, rows_out_per_s: { bars: 30, alerts: 0 }, workers: 1, symbols: 3, state_bytes: 1, late_trades: 0, duplicate_trades: 0,
    out_of_session: 0, crossed_quotes: 0, quality: {}, bars_revised: 0, dead_letters: {},
  },
  sinks: [{ sink: "lake", rows_per_s: 700, rows: 1, lag_records: 60_000, faults: 0, p50_ms: 1, p99_ms: 2 }],
  page: { connected: 1, frames_per_s: 10 },
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
