/** What /api/explain tells, and words for it. Times in it are nanoseconds, of which a browser keeps the first 16 digits. */

import { clock, day } from "../../base/format.ts";

export interface Input {
  kind: "trade" | "bar";
  offset: number;
  row: number;
  event_time_ns: number;
  source: string;
  price: number;
  size: number;
  trade_id: string | null;
  marks: string[];
  counts: boolean;
}

export interface Explained {
  name: string;
  known: number | null;
  replayed: number | null;
  worked_out: number | null;
  lines: string[];
  same: boolean;
  /** Of an indicator; nothing of a bar's own column. */
  before: { indicator?: string; formula?: string; bars_before?: number; state?: (number | null)[] };
}

export interface Telling {
  table: "bars" | "indicators" | "alerts";
  offset: number;
  row: number;
  record: string;
  values: Record<string, unknown>;
}

export interface Receipt {
  symbol: string;
  timeframe: string;
  name: string;
  same: boolean;
  known_from: string;
  replayed: string;
  receipt: {
    topic: string;
    partition: number;
    first_offset: number | null;
    last_offset: number | null;
    late_count: number;
    engine_version: string;
  };
  inputs: Input[];
  values: Explained[];
  alert: { rule: { name: string; expression: string }; columns: Record<string, number | null>; before: string[]; lines: string[]; same: boolean } | null;
  revisions: Telling[];
  lines: string[];
}

/** The span of the log behind the row, as a sentence. */
export function spanText({ receipt, inputs }: Receipt): string {
  const { topic, partition, first_offset: first, last_offset: last } = receipt;
  const counting = inputs.filter((input) => input.counts).length;
  const what = inputs[0]?.kind === "bar" ? (counting === 1 ? "one bar of the source" : `${counting} bars of the source`) : counting === 1 ? "one trade" : `${counting.toLocaleString("en-GB")} trades`;
  if (topic.startsWith("file:")) return `Made of ${what}, loaded from a file.`;
  if (first === null && last === null) return `Made of ${what}; no record of the log stands for it.`;
  const span = first === null ? `up to offset ${last}` : first === last ? `offset ${first}` : `offsets ${first} to ${last}`;
  return `Made of ${what} in ${topic}/${partition}, ${span}.`;
}

export function lateText(count: number): string {
  return count === 0 ? "None came late." : count === 1 ? "One came late." : `${count} came late.`;
}

/** 19 Dec 2024 14:30:00.473 of nanoseconds. */
export function timeText(ns: number): string {
  const ms = ns / 1e6;
  const thousandths = String(Math.floor(ms % 1000)).padStart(3, "0");
  return `${clock(ms)}.${thousandths}`;
}

export function dayText(ns: number): string {
  return day(ns / 1e6);
}

/** A number with every digit that it has. */
export function exact(value: number | null | undefined): string {
  return value === null || value === undefined ? "none" : String(value).replace("-", "−");
}

/** What a revision said, in short. */
export function tellingText(telling: Telling, names: readonly string[]): string {
  const { values, table } = telling;
  if (table === "alerts") return `${String(values["state"])}, value ${exact(values["value"] as number | null)}`;
  if (values["close"] === null || values["close"] === undefined) return "withdrawn";
  const shown = table === "bars" ? ["open", "high", "low", "close", "volume"] : names.map((name) => (name === "session_vwap" ? "vwap" : name));
  const parts = shown.filter((name) => name in values).map((name) => `${name} ${exact(values[name] as number | null)}`);
  return parts.join(", ") || `close ${exact(values["close"] as number)}`;
}
