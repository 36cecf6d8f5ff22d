/** The address of a chart: #AAPL/1m?style=heikin&with=rsi_21,bbands_20_2&compare=MSFT&adjust=split */

import type { Place } from "../live/protocol.ts";
import { ADJUSTMENTS } from "./adjusting.ts";
import type { Adjustment } from "./adjusting.ts";

export const STYLES = ["candles", "line", "heikin"] as const;
export type Style = (typeof STYLES)[number];

/** An indicator on the chart: its name with its values, and the number of a colour where one was chosen. */
export interface Chosen {
  stem: string;
  color: number | null;
}

/** What an address says beside the place. Null: nothing of it. */
export interface Choice {
  style: Style | null;
  adjust: Adjustment;
  /** Every indicator that is shown. */
  shown: Chosen[] | null;
  compare: string[];
  /** Whose receipt is open: a bar's open time in ms, and a value's name. */
  receipt: { open: number; name: string } | null;
}

const COMPARED_MAX = 5;
const SHOWN_MAX = 24;

export function readLink(hash: string): Partial<Place> {
  const [symbol = "", timeframe = ""] = hash.replace(/^#/, "").replace(/\?.*$/, "").split("/");
  const place: Partial<Place> = {};
  try {
    if (symbol) place.symbol = decodeURIComponent(symbol);
  } catch {
    return {};
  }
  if (/^[1-9]\d{0,5}[smhdt]$/.test(timeframe)) place.timeframe = timeframe;
  return place;
}

export function readChoice(hash: string): Choice {
  const at = hash.indexOf("?");
  const said = new URLSearchParams(at < 0 ? "" : hash.slice(at + 1));
  const [open = "", name = "bar"] = (said.get("receipt") ?? "").split("~");
  return {
    style: STYLES.find((style) => style === said.get("style")) ?? null,
    adjust: ADJUSTMENTS.find((one) => one === said.get("adjust")) ?? "none",
    shown: said.has("with") ? readChosen(said.get("with")!) : null,
    compare: [...new Set((said.get("compare") ?? "").split(",").filter(Boolean))].slice(0, COMPARED_MAX),
    receipt: /^\d{1,16}(\.\d{1,6})?$/.test(open) ? { open: Number(open), name: name || "bar" } : null,
  };
}

/** `rsi_21,obv~3` -> what is shown; `none` is nothing. */
export function readChosen(text: string): Chosen[] {
  const found = new Map<string, Chosen>();
  for (const part of text.split(",")) {
    const [, stem, color] = /^([a-z][a-z0-9_]{0,80})(?:~(\d))?$/.exec(part.trim()) ?? [];
    if (stem && stem !== "none") found.set(stem, { stem, color: color === undefined ? null : Number(color) });
  }
  return [...found.values()].slice(0, SHOWN_MAX);
}

export function writeChosen(shown: readonly Chosen[]): string {
  return shown.map(({ stem, color }) => (color === null ? stem : `${stem}~${color}`)).join(",") || "none";
}

export function writeLink(place: Place, choice: Partial<Choice> = {}): string {
  const parts: string[] = [];
  if (choice.style && choice.style !== "candles") parts.push(`style=${choice.style}`);
  if (choice.adjust && choice.adjust !== "none") parts.push(`adjust=${choice.adjust}`);
  if (choice.shown) parts.push(`with=${writeChosen(choice.shown)}`);
  if (choice.compare?.length) parts.push(`compare=${choice.compare.map(encodeURIComponent).join(",")}`);
  if (choice.receipt) parts.push(`receipt=${choice.receipt.open}~${encodeURIComponent(choice.receipt.name)}`);
  return `#${encodeURIComponent(place.symbol)}/${place.timeframe}${parts.length ? `?${parts.join("&")}` : ""}`;
}

/** The wanted timeframe where a symbol has it, else what it has that is nearest to a minute. */
export function possibleTimeframe(wanted: string, has: readonly string[]): string {
  return has.length === 0 || has.includes(wanted) ? wanted : usualTimeframe(has);
}

/** What to show when nothing was asked for: a minute, or what is nearest to it. */
export function usualTimeframe(timeframes: readonly string[]): string {
  return ["1m", "5m", "1s", "1h", "1d"].find((t) => timeframes.includes(t)) ?? timeframes[0] ?? "1m";
}
