import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";

import type { Quote } from "../src/live/store.ts";
import { STEPS, ramp, scaleOf, stepOf } from "../src/market/colors.ts";
import { headline } from "../src/market/headline.ts";
import { ASKED, readAsked, symbolLink, writeAsked } from "../src/market/link.ts";
import { Sessions, USUAL, breadthOf, rank, select } from "../src/market/model.ts";
import type { Line, Traded } from "../src/market/model.ts";
import { neighbour, squarify, tileAt } from "../src/market/treemap.ts";
import { readLink } from "../src/symbol/link.ts";

function line(symbol: string, percent: number | null, traded: Partial<Traded> = {}, about: Partial<Quote> = {}): Line {
  const quote: Quote = {
    symbol, last: 100, lastTimeMs: 1_000, reference: 100, referenceKind: "previous_close", simulated: false, venue: "XNAS",
    timeframes: ["1m"], bid: null, bidSize: null, ask: null, askSize: null, ...about,
  };
  return { quote, percent, traded: { date: 1, open: 99, high: 101, low: 98, volume: 1, value: 1, trades: 1, volatility: null, volatilityOf: null, ...traded } };
}

const LINES = [
  line("AAPL", 1.5, { value: 50, volatility: 0.2 }),
  line("KO", -2, { value: 80, open: 120 }, { venue: "XNYS" }),
  line("BTC", 0.001, { value: 10, volatility: 0.9 }, { simulated: true, venue: null }),
  line("IBM", null, { value: 0 }, { last: null }),
];
const names = (lines: readonly Line[]): string[] => lines.map(({ quote }) => quote.symbol);

test("tiles have their weights' areas, fill the map and do not overlap", () => {
  const weights = [60, 30, 20, 10, 5, 5, 4, 3, 2, 1].flatMap((w) => [w, w / 3]).sort((a, b) => b - a);
  const tiles = squarify(weights, 300, 200);
  const total = weights.reduce((a, b) => a + b);
  tiles.forEach((tile, i) => {
    assert.ok(Math.abs(tile.width * tile.height - (weights[i]! / total) * 60_000) < 1e-6);
    assert.ok(tile.x >= -1e-9 && tile.y >= -1e-9 && tile.x + tile.width <= 300 + 1e-6 && tile.y + tile.height <= 200 + 1e-6);
    for (const other of tiles.slice(0, i)) {
      const wide = Math.min(tile.x + tile.width, other.x + other.width) - Math.max(tile.x, other.x);
      const high = Math.min(tile.y + tile.height, other.y + other.height) - Math.max(tile.y, other.y);
      assert.ok(wide < 1e-6 || high < 1e-6);
    }
  });
});

test("the worked example of the paper: 6, 6, 4, 3, 2, 2, 1 in 6 × 4", () => {
  const tiles = squarify([6, 6, 4, 3, 2, 2, 1], 6, 4).map(({ x, y, width, height }) => [x, y, width, height].map((v) => Math.round(v * 100) / 100));
  assert.deepEqual(tiles.slice(0, 4), [[0, 0, 3, 2], [0, 2, 3, 2], [3, 0, 1.71, 2.33], [4.71, 0, 1.29, 2.33]]);
});

test("a map without room or weights has tiles without size", () => {
  assert.deepEqual(squarify([1], 0, 10), [{ x: 0, y: 0, width: 0, height: 0 }]);
  assert.deepEqual(squarify([], 10, 10), []);
});

test("arrows lead to the next tile that way, and a point to the tile under it", () => {
  const tiles = squarify([1, 1, 1, 1], 100, 100);
  const [first] = tiles;
  const right = neighbour(tiles, 0, "ArrowRight");
  assert.ok(tiles[right]!.x > first!.x && tiles[right]!.y === first!.y);
  assert.equal(neighbour(tiles, right, "ArrowLeft"), 0);
  assert.equal(neighbour(tiles, 0, "ArrowLeft"), -1);
  assert.equal(tileAt(tiles, 10, 10), 0);
  assert.equal(tileAt(tiles, 200, 10), -1);
});

test("breadth counts what is shown: a change that rounds to nothing is no change", () => {
  assert.deepEqual(breadthOf(LINES), { up: 1, down: 1, flat: 1, aboveOpen: 2, withOpen: 3, value: 140 });
});

test("rankings name only what they say something of", () => {
  assert.deepEqual(names(rank(LINES, "gainers", 5)), ["AAPL"]);
  assert.deepEqual(names(rank(LINES, "losers", 5)), ["KO"]);
  assert.deepEqual(names(rank(LINES, "active", 2)), ["KO", "AAPL"]);
  assert.deepEqual(names(rank(LINES, "volatile", 5)), ["BTC", "AAPL"]);
});

test("the headline says what moved and how much", () => {
  assert.deepEqual(headline(breadthOf(LINES), LINES), ["A mixed market: 1 up, 1 down.", "AAPL leads with +1.50%; KO falls most, −2.00%."]);
  const up = [line("A", 1), line("B", 2)];
  assert.deepEqual(headline(breadthOf(up), up), ["Most rise: 2 of 2 symbols are up.", "B leads with +2.00%."]);
  assert.deepEqual(headline(breadthOf([]), []), ["No symbol has two prices to compare yet.", ""]);
});

test("the table is sorted by any column, with what has no number last", () => {
  assert.deepEqual(names(select(LINES, { ...USUAL, sort: "change" })), ["AAPL", "BTC", "KO", "IBM"]);
  assert.deepEqual(names(select(LINES, { ...USUAL, sort: "change", down: false })), ["KO", "BTC", "AAPL", "IBM"]);
  assert.deepEqual(names(select(LINES, { ...USUAL, sort: "symbol", down: false })), ["AAPL", "BTC", "IBM", "KO"]);
  assert.deepEqual(names(select(LINES, { ...USUAL, sort: "volatility" })), ["BTC", "AAPL", "IBM", "KO"]);
});

test("the table is filtered by text, venue, what is simulated, and direction", () => {
  assert.deepEqual(names(select(LINES, { ...USUAL, text: " k" })), ["KO"]);
  assert.deepEqual(names(select(LINES, { ...USUAL, venue: "none" })), ["BTC"]);
  assert.deepEqual(names(select(LINES, { ...USUAL, kind: "simulated" })), ["BTC"]);
  assert.deepEqual(names(select(LINES, { ...USUAL, kind: "real", direction: "down" })), ["KO"]);
  assert.deepEqual(names(select(LINES, { ...USUAL, direction: "flat" })), ["BTC"]);
});

test("an address keeps sort, filters and size, and says nothing of what is usual", () => {
  assert.equal(writeAsked(ASKED), "#/market");
  const asked = { ...ASKED, sort: "change", down: false, text: "b&c", venue: "XNYS", kind: "real", direction: "up", size: "equal" } as const;
  assert.deepEqual(readAsked(writeAsked(asked).replace("#/market?", "")), asked);
  assert.deepEqual(readAsked("sort=nonsense&kind=7"), ASKED);
  const byName = { ...ASKED, sort: "symbol", down: false } as const;
  assert.equal(writeAsked(byName), "#/market?sort=symbol");
  assert.deepEqual(readAsked("sort=symbol"), byName);
  assert.deepEqual(readLink(symbolLink("BTC/USD #1")), { symbol: "BTC/USD #1" });
});

test("the part's steps change what they name, and a whole one forgets the rest", () => {
  const sessions = new Sessions();
  const part = (whole: boolean, symbol: string, value: number): void =>
    sessions.take({ whole, symbol: [symbol], date: [1], open: [1], high: [1], low: [1], volume: [1], value: [value], trades: [1], volatility: [null], volatility_of: [null] });
  part(true, "AAPL", 1);
  part(false, "KO", 2);
  part(false, "AAPL", 3);
  assert.deepEqual([...sessions.of].map(([symbol, { value }]) => [symbol, value]), [["AAPL", 3], ["KO", 2]]);
  part(true, "IBM", 4);
  assert.deepEqual([...sessions.of.keys()], ["IBM"]);
});

test("colours grow with the change up to the end of the scale", () => {
  assert.deepEqual([0, 0.01, 1, 99, -99, null].map((p) => stepOf(p, 2)), [0, 0, 4, STEPS, -STEPS, 0]);
  assert.equal(scaleOf([0.1, -0.4, 2.4]), 3);
  assert.equal(scaleOf([]), 0.1);
});

test("words on every colour of a tile keep a contrast of 4.5, in both themes", () => {
  const css = readFileSync("src/style/tokens.css", "utf8");
  for (const theme of ["dark", "light"]) {
    const block = css.slice(css.indexOf(`:root[data-theme="${theme}"]`));
    const of = (name: string): string => new RegExp(`--${name}: (#[0-9a-f]{6})`).exec(block)![1]!;
    const colors = ramp({ panel: of("panel"), up: of("up"), down: of("down"), grid: of("grid") });
    const text = rgb(of("text"));
    for (const color of colors) {
      const [a, b] = [luminance(text), luminance(color.match(/\d+/g)!.map(Number))].sort((x, y) => y - x) as [number, number];
      assert.ok((a + 0.05) / (b + 0.05) >= 4.5, `${theme} ${color}`);
    }
  }
});

function rgb(hex: string): number[] {
  return [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16));
}

function luminance(channels: number[]): number {
  const [r, g, b] = channels.map((v) => (v / 255 <= 0.03928 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4)) as [number, number, number];
  return 0.2126 * r + 0.7152 * g + 0.0722 * b;
}
