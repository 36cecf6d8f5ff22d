import assert from "node:assert/strict";
import { test } from "node:test";

import { choose } from "../src/ask/choose.ts";
import { compareCells, kindOf, ordered, timeOf, typeWord, writerOf } from "../src/ask/columns.ts";
import type { Cell, Column } from "../src/ask/columns.ts";
import { parseExact } from "../src/ask/exact.ts";
import { NOTHING, readLink, writeLink } from "../src/ask/link.ts";
import { matching, readPast, textOf, withRun } from "../src/ask/past.ts";
import type { PastQuery } from "../src/ask/past.ts";
import { numberTicks, timeTicks } from "../src/ask/scale.ts";
import { ageText, plainError } from "../src/ask/words.ts";

const column = (name: string, type: string): Column => ({ name, type });
const sql = (text: string) => ({ ...NOTHING, sql: text });

test("whole numbers beyond what a JavaScript number holds keep every digit", () => {
  const rows = parseExact('{"rows": [[1419984000000000001, 0.12345678901234567890, "9999999999999999999", -9007199254740993, 12, 1234567890123456.5, "\\"1234567890123456789"]]}');
  assert.deepEqual(rows, { rows: [["1419984000000000001", 0.12345678901234567890, "9999999999999999999", "-9007199254740993", 12, 1234567890123456.5, '"1234567890123456789']] });
});

test("links name a query of the library with its values, or carry the text", () => {
  const losers = { named: "losers", params: { days: "90", symbol: "A%" }, sql: "", dialect: "auto" as const };
  assert.equal(writeLink(losers, "table"), "#/ask/losers?days=90&symbol=A%25");
  assert.deepEqual(readLink("losers?days=90&symbol=A%25"), { asked: losers, show: null });
  const own = { ...sql("SELECT a+b AS c,\n 'ü & ?' FROM t"), dialect: "athena" as const };
  const link = writeLink(own, "chart");
  assert.match(link, /^#\/ask\?sql=/);
  assert.deepEqual(readLink(link.slice("#/ask?".length)), { asked: own, show: "chart" });
  assert.deepEqual(readLink(""), { asked: NOTHING, show: null });
  assert.equal(readLink("sql=SELECT+1&dialect=mysql&show=pie").asked.dialect, "auto");
});

test("the newest run of a query stands once, at the top, and every word must be found", () => {
  const run = (text: string, atMs: number): PastQuery => ({ asked: sql(text), atMs, tookMs: 1, rows: 1, error: null });
  const past = [run("SELECT close FROM bars", 1), run("SELECT price FROM trades", 2), run("SELECT close FROM bars", 3)].reduce(withRun, [] as PastQuery[]);
  assert.deepEqual(past.map((one) => one.atMs), [3, 2]);
  assert.deepEqual(matching(past, "TRADES select").map((one) => one.atMs), [2]);
  assert.equal(matching(past, "trades close").length, 0);
  const many = Array.from({ length: 300 }, (_, i) => run(`SELECT ${i}`, i)).reduce(withRun, [] as PastQuery[]);
  assert.equal(many.length, 200);
  assert.equal(many[0]!.asked.sql, "SELECT 299");
  assert.equal(textOf({ ...NOTHING, named: "losers", params: { days: "9" } }), "losers days=9");
});

test("a history that cannot be read is forgotten, not stumbled over", () => {
  for (const kept of [null, "{", "7", "[1, null, {}]", '[{"atMs": 1, "asked": {"sql": 1}}]']) assert.deepEqual(readPast(kept), []);
});

test("types are told in words and sort as what they are", () => {
  assert.deepEqual(["int64", "double", "timestamp[us]", "date32[day]", "string", "bool", "list<item: double>", "struct<a: int64>", "decimal128(38, 0)"].map(typeWord),
    ["integer", "number", "time", "date", "text", "true/false", "list", "struct", "number"]);
  assert.equal(compareCells("1419984000000000002", "1419984000000000001", "whole"), 1);
  assert.equal(compareCells("99999999999999999", 7, "whole"), 1);
  const rows: Cell[][] = [[2], [null], [10], [1]];
  assert.deepEqual(ordered(rows, 0, "whole", false), [3, 0, 2, 1]);
  assert.deepEqual(ordered(rows, 0, "whole", true), [2, 0, 3, 1]);
});

test("a column is written with as many decimals as tell its values apart", () => {
  const write = writerOf(column("close", "double"), [1.5, 2.25, null]);
  assert.deepEqual([write(1.5), write(1_234.25), write(-2), write(null)], ["1.50", "1,234.25", "−2.00", ""]);
  assert.equal(writerOf(column("close", "double"), [78.4527561570248])(78.4527561570248), "78.4528");
  assert.equal(writerOf(column("open_time_ns", "int64"), [])("1419984000000000000"), "1419984000000000000");
  assert.equal(writerOf(column("volume", "int64"), [])("1419984000000000000"), "1,419,984,000,000,000,000");
  assert.equal(writerOf(column("receipt", "struct<a: int64>"), [])({ a: 1 }), '{"a":1}');
});

test("times are UTC, with or without a time of day", () => {
  assert.equal(timeOf("2024-05-01"), Date.UTC(2024, 4, 1));
  assert.equal(timeOf("2024-05-01 09:30:00.25"), Date.UTC(2024, 4, 1, 9, 30, 0, 250));
  assert.equal(timeOf("2024-05-01 09:30:00.123456"), Date.UTC(2024, 4, 1, 9, 30, 0, 123));
  assert.equal(timeOf("noon"), null);
  assert.equal(kindOf("timestamp[us]"), "time");
});

test("what a chart shows follows from the columns", () => {
  const gainers = [column("symbol", "string"), column("first_close", "double"), column("change_percent", "double"), column("bars", "int64")];
  assert.deepEqual(choose(gainers, [["A", 1, 5, 3], ["B", 1, 4, 3]]), { mark: "bar", x: 0, y: 2, by: null });
  const daily = [column("symbol", "string"), column("day", "date32[day]"), column("vwap", "double")];
  assert.deepEqual(choose(daily, [["A", "2024-05-02", 1], ["B", "2024-05-02", 2], ["A", "2024-05-01", 1], ["B", "2024-05-01", 2]]), { mark: "line", x: 1, y: 2, by: 0 });
  assert.equal(choose(daily, [["A", "2024-05-02", 1], ["A", "2024-05-09", 2], ["A", "2024-05-01", 1]])!.mark, "point");
  const pairs = [column("symbol", "string"), column("other_symbol", "string"), column("correlation", "double")];
  assert.deepEqual(choose(pairs, [["A", "B", 0.1], ["A", "C", 0.2], ["B", "C", 0.3], ["C", "C", 1]]), { mark: "bar", x: 0, y: 2, by: 1 });
  const numbers = [column("i", "int64"), column("square", "int64")];
  assert.deepEqual(choose(numbers, [[1, 1], [2, 4], [3, 9]]), { mark: "line", x: 0, y: 1, by: null });
  assert.equal(choose([column("name", "string")], [["A"]]), null);
  assert.equal(choose(gainers, []), null);
});

test("ticks are round and cover the values", () => {
  assert.deepEqual(numberTicks(0, 10, 5), { ticks: [0, 2, 4, 6, 8, 10], decimals: 0 });
  const { ticks, decimals } = numberTicks(-14.96, 0, 6);
  assert.ok(ticks[0]! <= -14.96 && ticks.at(-1)! >= 0 && decimals <= 1);
  assert.ok(numberTicks(5, 5, 4).ticks.length > 1);
  assert.deepEqual(timeTicks(Date.UTC(2012, 0, 1), Date.UTC(2014, 0, 2), 5).map((t) => t.text), ["2012", "Jul 12", "2013", "Jul 13", "2014"]);
  assert.deepEqual(timeTicks(Date.UTC(2024, 4, 1, 9, 29), Date.UTC(2024, 4, 1, 11, 1), 4).map((t) => t.text), ["09:30", "10:00", "10:30", "11:00"]);
});

test("the age of the picture and a mistake are said in words", () => {
  assert.equal(ageText(1_000, 33_000), "as of the newest commit, 32 s ago");
  assert.equal(ageText(0, 12 * 60_000), "as of the newest commit, 12 min ago");
  assert.equal(ageText(null, 5), "");
  assert.equal(plainError('Binder Error: no "prize"\nCandidates: "price"\n\nLINE 1: SELECT prize\n               ^'), 'Binder Error: no "prize"\nCandidates: "price"');
});
