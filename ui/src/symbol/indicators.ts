/** Which indicator columns are drawn together, where, and how they are called. */

import { BAR_WIDTH } from "../live/protocol.ts";
import type { Row } from "../live/protocol.ts";

/** How a column is drawn. `band` marks the two edges of a band that is filled between. */
export interface Line {
  column: number;
  label: string;
  style: "line" | "thin" | "histogram";
}

export interface Group {
  /** Stable name, such as `bbands_20_2`: remembered when a person switches it on or off. */
  id: string;
  label: string;
  place: "price" | "volume" | "pane";
  lines: Line[];
  band: [number, number] | null;
  levels: number[];
  onAtFirst: boolean;
  /** Its place among the groups of the same place: its colour stays when others are switched off. */
  order: number;
  /** The number of a colour that a person chose. */
  color: number | null;
  /** Where the values stand, by open time in ms, when they are not columns of the rows: chosen by a person. */
  values: ReadonlyMap<number, readonly (number | null)[]> | null;
  /** Its values are as large as volumes. */
  large: boolean;
}

/** A group's value at a row; null where there is none. */
export function valueAt(group: Group, column: number, row: Row): number | null {
  return (group.values ? group.values.get(row[0] as number)?.[column] : row[column]) ?? null;
}

const TITLES: Record<string, string> = {
  sma: "SMA",
  ema: "EMA",
  bbands: "BB",
  session_vwap: "VWAP",
  vwap: "VWAP",
  rsi: "RSI",
  macd: "MACD",
  atr: "ATR",
  realized_volatility: "Volatility",
  volume_sma: "Vol SMA",
  mid: "Mid",
  spread: "Spread",
  microprice: "Microprice",
  imbalance: "Imbalance",
  ofi: "OFI",
  wma: "WMA",
  dema: "DEMA",
  tema: "TEMA",
  trima: "TRIMA",
  t3: "T3",
  hma: "HMA",
  alma: "ALMA",
  kama: "KAMA",
  rma: "RMA",
  zlema: "ZLEMA",
  vwma: "VWMA",
  midpoint: "Midpoint",
  midprice: "Midprice",
  donchian: "Donchian",
  ichimoku: "Ichimoku",
  sar: "SAR",
  aroon: "Aroon",
  aroonosc: "Aroon osc",
  plus_dm: "+DM",
  minus_dm: "−DM",
  plus_di: "+DI",
  minus_di: "−DI",
  dx: "DX",
  adx: "ADX",
  adxr: "ADXR",
  supertrend: "Supertrend",
  keltner: "Keltner",
  linearreg: "Lin reg",
  linearreg_slope: "Lin reg slope",
  linearreg_angle: "Lin reg angle",
  linearreg_intercept: "Lin reg start",
  tsf: "TSF",
  ht_trendline: "HT trendline",
  typprice: "Typical price",
  medprice: "Median price",
  avgprice: "Average price",
  wclprice: "Weighted close",
  max: "Highest close",
  min: "Lowest close",
  mom: "Momentum",
  rocp: "ROCP",
  roc: "ROC",
  rocr: "ROCR",
  stochf: "Fast stoch",
  stoch: "Stoch",
  stochrsi: "Stoch RSI",
  willr: "Williams %R",
  cmo: "CMO",
  cci: "CCI",
  apo: "APO",
  ppo: "PPO",
  trix: "TRIX",
  ultosc: "Ultimate oscillator",
  bop: "BOP",
  mfi: "MFI",
  tsi: "TSI",
  dpo: "DPO",
  obv: "OBV",
  ad: "A/D line",
  adosc: "Chaikin oscillator",
  cmf: "CMF",
  force_index: "Force index",
  eom: "Ease of movement",
  vpt: "VPT",
  natr: "NATR",
  trange: "True range",
  drawdown: "Drawdown",
  parkinson: "Parkinson",
  garman_klass: "Garman-Klass",
  stddev: "Std dev",
  var: "Variance",
  zscore: "Z-score",
  skew: "Skew",
  kurtosis: "Kurtosis",
  close_volume_correl: "Close/volume correl",
  percent_rank: "Percent rank",
};
const ON_PRICE = new Set([
  "sma", "ema", "bbands", "session_vwap", "vwap", "mid", "microprice", "wma", "dema", "tema", "trima", "t3", "hma",
  "alma", "kama", "rma", "zlema", "vwma", "midpoint", "midprice", "donchian", "ichimoku", "sar", "supertrend",
  "keltner", "linearreg", "linearreg_intercept", "tsf", "ht_trendline", "typprice", "medprice", "avgprice",
  "wclprice", "max", "min",
]);
const LARGE = new Set(["obv", "ad", "adosc", "force_index", "vpt", "eom"]);
const ON_AT_FIRST = new Set(["sma", "ema", "bbands", "session_vwap", "vwap", "volume_sma", "rsi"]);
const PARTS: Record<string, string> = { upper: "upper", middle: "middle", lower: "lower", signal: "signal", hist: "hist" };

/** `macd_12_26_9_signal` -> kind `macd`, parameters `12,26,9`, part `signal`. */
export function readName(name: string): { kind: string; parameters: string; part: string } {
  const match = /^([a-z][a-z0-9_]*?)((?:_\d+(?:[.p]\d+)?)*)(?:_([a-z]+(?:_[a-z]+)*))?$/.exec(name);
  if (!match) return { kind: name, parameters: "", part: "" };
  const [, kind = name, numbers = "", part = ""] = match;
  if (numbers === "" && part !== "") return { kind: `${kind}_${part}`, parameters: "", part: "" };
  return { kind, parameters: numbers.replaceAll("p", ".").split("_").filter(Boolean).join(","), part };
}

/** The groups of a page's columns, in the order in which they are offered. */
export function groupsOf(columns: readonly string[]): Group[] {
  const groups = new Map<string, Group>();
  for (let column = BAR_WIDTH; column < columns.length; column++) {
    const { kind, parameters, part } = readName(columns[column]!);
    if (part === "direction") continue; // 1 or -1: nothing to draw beside prices
    const id = parameters ? `${kind}_${parameters.replaceAll(",", "_")}` : kind;
    let group = groups.get(id);
    if (!group) {
      const title = TITLES[kind] ?? kind.replaceAll("_", " ");
      const place = ON_PRICE.has(kind) ? "price" : kind === "volume_sma" ? "volume" : "pane";
      group = {
        id, label: parameters ? `${title} ${parameters.replaceAll(",", " ")}` : title, place, lines: [], band: null,
        levels: kind === "rsi" ? [30, 70] : [], onAtFirst: ON_AT_FIRST.has(kind),
        order: [...groups.values()].filter((g) => g.place === place).length, color: null, values: null, large: LARGE.has(kind),
      };
      groups.set(id, group);
    }
    const style = part === "hist" ? "histogram" : part === "upper" || part === "lower" ? "thin" : "line";
    group.lines.push({ column, label: PARTS[part] ?? part.replaceAll("_", " "), style });
    if (part === "upper" || part === "lower") {
      group.band = part === "upper" ? [column, group.band?.[1] ?? column] : [group.band?.[0] ?? column, column];
    }
  }
  const rank = { price: 0, volume: 1, pane: 2 };
  // Bands come first: they are drawn under the lines.
  return [...groups.values()].sort(
    (a, b) => rank[a.place] - rank[b.place] || Number(b.band !== null) - Number(a.band !== null),
  );
}
