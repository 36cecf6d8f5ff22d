import assert from "node:assert/strict";
import { test } from "node:test";

import { apply, complete } from "../src/alerts/complete.ts";
import type { Language } from "../src/alerts/complete.ts";
import { AlertBook } from "../src/live/alert_book.ts";
import type { StoredAlert } from "../src/live/alert_book.ts";
import { NO_FILTER, firingsOf, olderQuery, passes, readFilter, standsText, stoodText, writeFilter } from "../src/alerts/model.ts";

const row = (second: number, state: string, more: { symbol?: string; rule?: string; revision?: number; offset?: number | null; severity?: string } = {}): unknown[] => [
  more.symbol ?? "A", more.rule ?? "high", `${second}000000000`, more.severity ?? "warning", "1s", (second - 1) * 1000, state, null, false, 1.5, "said", more.revision ?? 0, 0,
  more.offset === undefined ? second : more.offset,
];
/** The same as /api/alerts tells it. */
const stored = (live: unknown[]): StoredAlert => {
  const [symbol, rule, event_time_ns, severity, timeframe, open_time_ms, state, , late, value, message, revision, partition, last_offset] = live;
  return { symbol, rule, event_time_ns, severity, timeframe, open_time_ms, state, late, value, message, revision, partition, last_offset } as StoredAlert;
};
const RULE = { name: "high", muted: false, begins: [0] };

test("a raise and its clearing are one firing, and what is raised stands", () => {
  const book = new AlertBook();
  book.take(["whole", row(10, "raised"), row(70, "cleared"), row(90, "raised"), row(95, "raised", { symbol: "B" })]);
  const firings = firingsOf(book.all(), [RULE]);
  assert.deepEqual(firings.map((f) => [f.symbol, f.state, f.raisedMs, f.endMs]), [
    ["B", "standing", 95_000, null], ["A", "standing", 90_000, null], ["A", "cleared", 10_000, 70_000],
  ]);
  assert.equal(standsText(firings.filter((f) => f.state === "standing"), new Set()), "2 stand now");
  assert.equal(standsText(firings.filter((f) => f.state === "standing"), new Set(["high"])), "Nothing stands now, and 2 muted");
  assert.equal(standsText(firings.slice(0, 1), new Set()), "1 stands now");
});

test("it does not matter in which order changes come, nor how often", () => {
  const rows = [row(10, "raised"), row(70, "cleared"), row(90, "raised"), row(90, "withdrawn", { revision: 1 }), row(99, "raised")];
  const inOrder = new AlertBook();
  inOrder.take(["whole", ...rows]);
  const mixed = new AlertBook();
  mixed.take(["whole", rows[4], rows[3], rows[0]]);
  mixed.takeStored([rows[1], rows[2], rows[0]].map((one) => stored(one!)));
  mixed.take(["whole", rows[4]]);
  assert.deepEqual(firingsOf(mixed.all(), [RULE]), firingsOf(inOrder.all(), [RULE]));
  assert.deepEqual(firingsOf(inOrder.all(), [RULE]).map((f) => f.state), ["standing", "withdrawn", "cleared"]);
});

test("a clearing whose raise is not known stands alone until older ones come", () => {
  const book = new AlertBook();
  book.take(["whole", row(70, "cleared")]);
  assert.deepEqual(firingsOf(book.all(), [RULE]).map((f) => [f.raisedMs, f.endMs]), [[null, 70_000]]);
  book.takeStored([stored(row(10, "raised"))]);
  assert.deepEqual(firingsOf(book.all(), [RULE]).map((f) => [f.raisedMs, f.endMs]), [[10_000, 70_000]]);
});

test("what a rule raised that runs no more, or began anew since, does not stand", () => {
  const book = new AlertBook();
  book.take(["whole", row(10, "raised"), row(20, "raised", { symbol: "B", offset: null })]);
  const states = (rules: { name: string; muted: boolean; begins: number[] }[] | null): string[] => firingsOf(book.all(), rules).map((f) => f.state);
  assert.deepEqual(states(null), ["standing", "standing"]);
  assert.deepEqual(states([]), ["ended", "ended"]);
  assert.deepEqual(states([{ ...RULE, begins: [11] }]), ["standing", "ended"]); // of loaded history no place is known
  assert.deepEqual(states([{ ...RULE, begins: [10] }]), ["standing", "standing"]);
});

test("of a symbol come its alerts that were not withdrawn, oldest first, and a page that was away is known by its wholes", () => {
  const book = new AlertBook();
  assert.equal(book.wholes, 0);
  book.take(["whole", row(90, "raised"), row(20, "cleared"), row(30, "withdrawn"), row(5, "raised", { symbol: "B" })]);
  assert.deepEqual(book.of("A").map((one) => [one.atMs, one.state]), [[20_000, "cleared"], [90_000, "raised"]]);
  book.takeStored([stored(row(90, "withdrawn", { revision: 1 }))]);
  assert.deepEqual(book.of("A").map((one) => one.atMs), [20_000]);
  book.take(["whole"]);
  assert.equal(book.wholes, 2);
});

test("a page that is open for long keeps the newest", () => {
  const book = new AlertBook();
  for (let i = 1; i <= 21; i++) book.take(Array.from({ length: 1_000 }, (_, k) => row(1_000 * i + k, "raised")));
  const known = book.all();
  assert.ok(known.length <= 20_000 && known.length >= 16_000);
  assert.equal(known.at(-1)!.atMs, 21_999_000);
});

test("nanoseconds order what milliseconds cannot", () => {
  const book = new AlertBook();
  const at = (ns: string, state: string): unknown[] => ["A", "high", ns, "info", "5t", 0, state, null, false, null, "", 0, 0, 0];
  book.take(["whole", at("1700000000000000002", "cleared"), at("1700000000000000001", "raised"), at("999999999", "raised")]);
  assert.deepEqual(firingsOf(book.all(), null).map((f) => f.state), ["cleared", "ended"]);
});

test("a filter is kept in the address", () => {
  const filter = { states: new Set(["standing", "withdrawn"]), severities: new Set(["critical"]), symbol: "BTC-USD", rule: "a.b" };
  const address = writeFilter(filter);
  assert.equal(address, "#/alerts?state=standing&state=withdrawn&severity=critical&symbol=BTC-USD&rule=a.b");
  assert.deepEqual(readFilter(address.replace("#/alerts?", "")), filter);
  assert.equal(writeFilter(NO_FILTER), "#/alerts");
  assert.deepEqual(readFilter("state=odd&severity=loud"), NO_FILTER);
  assert.equal(olderQuery(filter, "Wz==", 50), "/api/alerts?withdrawn=true&limit=50&cursor=Wz%3D%3D&symbol=BTC-USD&rule=a.b");
});

test("a filter lets through what it names", () => {
  const book = new AlertBook();
  book.take(["whole", row(10, "raised", { severity: "critical" }), row(20, "cleared"), row(30, "raised", { symbol: "BTC" })]);
  const [standing, cleared] = firingsOf(book.all(), [RULE]);
  assert.ok(passes(standing!, { ...NO_FILTER, states: new Set(["standing"]), symbol: "btc" }));
  assert.ok(!passes(cleared!, { ...NO_FILTER, states: new Set(["standing"]) }));
  assert.ok(passes(cleared!, { ...NO_FILTER, severities: new Set(["critical"]), rule: "high" }));
  assert.ok(!passes(cleared!, { ...NO_FILTER, rule: "other" }));
  assert.ok(passes({ ...cleared!, state: "ended" }, { ...NO_FILTER, states: new Set(["cleared"]) }));
});

test("how long something stood is said in two units at most", () => {
  const said = [500, 9_500, 59_000, 60_000, 3_599_000, 3_600_000, 12_000_000, 86_400_000, 187_200_000, -5].map((ms) => stoodText(ms).replaceAll("\u202f", " "));
  assert.deepEqual(said, ["0.5 s", "9.5 s", "59 s", "1 min", "59 min", "1 h", "3 h 20 min", "1 d", "2 d 4 h", "0 s"]);
});

const LANGUAGE: Language = {
  columns: [{ name: "close", meaning: "the bar's close" }, { name: "sma_20", meaning: "" }, { name: "volume_sma_20", meaning: "" }],
  functions: [{ name: "change_pct", form: "change_pct(x, n)", meaning: "" }], words: ["and", "crosses_above"], timeframes: ["1s", "1m", "1h"],
  usual_timeframe: "1s", severities: [], message: "", message_names: [], text_max: 2000, examples: [],
};
const names = (text: string, always = false): string[] => complete(text, text.length, LANGUAGE, always).words.map((w) => w.name);

test("words are offered for what is written, those that begin with it first", () => {
  assert.deepEqual(names("sm"), ["sma_20", "volume_sma_20"]);
  assert.deepEqual(names("close > 3 and c"), ["close", "change_pct(x, n)", "crosses_above"]);
  assert.deepEqual(names("close@1"), ["1s", "1m", "1h"]);
  assert.deepEqual(names("close@1m"), []);
  assert.deepEqual(names("close"), []); // it is whole
  assert.deepEqual(names("12"), []);
  assert.deepEqual(names("close > "), []);
  assert.equal(names("close > ", true).length, 6);
});

test("a word takes the place of all that is written of it", () => {
  const text = "clo > 1";
  const found = complete(text, 2, LANGUAGE);
  assert.deepEqual(apply(text, found, found.words[0]!), { text: "close > 1", cursor: 5 });
  const call = complete("ch", 2, LANGUAGE);
  assert.deepEqual(apply("ch", call, call.words[0]!), { text: "change_pct(", cursor: 11 });
});
