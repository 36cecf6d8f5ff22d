import assert from "node:assert/strict";
import { test } from "node:test";

import { groupsOf, readName } from "../src/symbol/indicators.ts";

const BAR = ["open_time_ms", "close_time_ms", "open", "high", "low", "close", "volume", "vwap", "trade_count", "revision"];

test("a column's name tells indicator, parameters and part", () => {
  assert.deepEqual(readName("macd_12_26_9_signal"), { kind: "macd", parameters: "12,26,9", part: "signal" });
  assert.deepEqual(readName("sma_20"), { kind: "sma", parameters: "20", part: "" });
  assert.deepEqual(readName("bbands_20_2.5_upper"), { kind: "bbands", parameters: "20,2.5", part: "upper" });
  assert.deepEqual(readName("bbands_20_2p5_upper"), { kind: "bbands", parameters: "20,2.5", part: "upper" });
  assert.deepEqual(readName("t3_5_0p7"), { kind: "t3", parameters: "5,0.7", part: "" });
  assert.deepEqual(readName("ichimoku_9_26_52_span_a"), { kind: "ichimoku", parameters: "9,26,52", part: "span_a" });
  assert.deepEqual(readName("plus_dm_14"), { kind: "plus_dm", parameters: "14", part: "" });
  assert.deepEqual(readName("realized_volatility_20"), { kind: "realized_volatility", parameters: "20", part: "" });
  assert.deepEqual(readName("session_vwap"), { kind: "session_vwap", parameters: "", part: "" });
});

test("columns of one indicator belong together, and to the right pane", () => {
  const groups = groupsOf([
    ...BAR, "sma_20", "macd_12_26_9", "macd_12_26_9_signal", "macd_12_26_9_hist", "bbands_20_2_upper",
    "bbands_20_2_middle", "bbands_20_2_lower", "session_vwap", "volume_sma_20", "rsi_14",
  ]);
  assert.deepEqual(
    groups.map((g) => [g.id, g.place, g.lines.length]),
    [
      ["bbands_20_2", "price", 3], // bands first: they are drawn under the lines
      ["sma_20", "price", 1],
      ["session_vwap", "price", 1],
      ["volume_sma_20", "volume", 1],
      ["macd_12_26_9", "pane", 3],
      ["rsi_14", "pane", 1],
    ],
  );
  const [bands] = groups;
  assert.deepEqual(bands?.band, [14, 16]);
  assert.deepEqual(groups.at(-1)?.levels, [30, 70]);
});

test("a price of the bar and the extremes of closes are drawn on the price, a stochastic below it", () => {
  const groups = groupsOf([...BAR, "stoch_5_3_3_k", "stoch_5_3_3_d", "typprice", "max_30"]);
  assert.deepEqual(
    groups.map((g) => [g.id, g.label, g.place, g.lines.length]),
    [
      ["typprice", "Typical price", "price", 1],
      ["max_30", "Highest close 30", "price", 1],
      ["stoch_5_3_3", "Stoch 5 3 3", "pane", 2],
    ],
  );
});

test("an indicator that the page has never heard of gets a pane of its own", () => {
  const [group] = groupsOf([...BAR, "money_flow_14"]);
  assert.deepEqual([group?.place, group?.label, group?.onAtFirst], ["pane", "money flow 14", false]);
});

test("a direction of 1 or -1 is not drawn beside the prices that it comes with", () => {
  const [group, ...others] = groupsOf([...BAR, "supertrend_10_3", "supertrend_10_3_direction"]);
  assert.deepEqual([group?.place, group?.lines.length, others.length], ["price", 1, 0]);
});
