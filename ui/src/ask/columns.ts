/** The columns of a result: what kind of value they hold, and how their values are written and ordered. */

import { value as written } from "../base/format.ts";

/** A column, with its type in Arrow's words. */
export interface Column {
  name: string;
  type: string;
}

export type Cell = null | number | string | boolean | readonly unknown[] | Readonly<Record<string, unknown>>;
export type Kind = "whole" | "number" | "time" | "text" | "bool" | "other";

const DECIMALS_MAX = 6;
const PLAIN = /(_ns|_ms|offset|partition|year|_id|^id)$/; // names, counted up, not amounts

export function kindOf(type: string): Kind {
  if (/^u?int\d/.test(type)) return "whole";
  if (/^(half|float|double|decimal)/.test(type)) return "number";
  if (/^(timestamp|date)/.test(type)) return "time";
  if (/^(large_)?string|^string_view/.test(type)) return "text";
  return type === "bool" ? "bool" : "other";
}

/** The type in a word. */
export function typeWord(type: string): string {
  if (type.startsWith("date")) return "date";
  if (type.startsWith("list") || type.startsWith("large_list")) return "list";
  if (type.startsWith("struct")) return "struct";
  if (type.startsWith("map")) return "map";
  const words: Record<Kind, string> = { whole: "integer", number: "number", time: "time", text: "text", bool: "true/false", other: type };
  return words[kindOf(type)];
}

export function isAmount(column: Column): boolean {
  const kind = kindOf(column.type);
  return kind === "number" || (kind === "whole" && !PLAIN.test(column.name));
}

/** How the values of a column are written: as many decimals for all as tell them apart, at most six; the whole value stands beside it. */
export function writerOf(column: Column, values: readonly Cell[]): (value: Cell) => string {
  const kind = kindOf(column.type);
  if (kind === "whole" && PLAIN.test(column.name)) return (v) => (v === null ? "" : String(v));
  if (kind === "whole") return (v) => (v === null ? "" : grouped(String(v)));
  if (kind === "number") {
    const decimals = decimalsFor(values);
    return (v) => (v === null ? "" : typeof v === "number" ? written(v, decimals) : grouped(String(v)));
  }
  if (kind === "bool") return (v) => (v === null ? "" : v ? "true" : "false");
  return (v) => (v === null ? "" : typeof v === "object" ? JSON.stringify(v) : String(v));
}

function decimalsFor(values: readonly Cell[]): number {
  let most = 0;
  for (const v of values) {
    if (typeof v !== "number") continue;
    while (most < DECIMALS_MAX && Math.abs(v - Number(v.toFixed(most))) > 1e-12 * Math.abs(v)) most++;
    if (most === DECIMALS_MAX) {
      // no number of decimals tells all: four do for what is not small
      const sizes = values.filter((x) => typeof x === "number" && x !== 0).map((x) => Math.abs(x as number)).sort((x, y) => x - y);
      return (sizes[Math.floor(sizes.length / 10)] ?? 0) >= 1 ? 4 : DECIMALS_MAX;
    }
  }
  return most;
}

function grouped(digits: string): string {
  return digits.replace(/^-/, "−").replace(/\B(?=(\d{3})+$)/g, ",");
}

/** Small before large, false before true, nothing at the end. */
export function compareCells(a: Cell, b: Cell, kind: Kind): number {
  if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1;
  if (kind === "whole" && (typeof a === "string" || typeof b === "string")) {
    const [x, y] = [BigInt(a as string | number), BigInt(b as string | number)];
    return x < y ? -1 : x > y ? 1 : 0;
  }
  const [x, y] = [typeof a === "object" ? JSON.stringify(a) : a, typeof b === "object" ? JSON.stringify(b) : b];
  return x < y ? -1 : x > y ? 1 : 0;
}

/** The places of the rows in this order; what is equal, and what is missing, keeps its order. */
export function ordered(rows: readonly (readonly Cell[])[], column: number, kind: Kind, down: boolean): number[] {
  const places = rows.map((_, i) => i);
  const sign = down ? -1 : 1;
  return places.sort((i, j) => {
    const [a, b] = [rows[i]![column]!, rows[j]![column]!];
    const order = compareCells(a, b, kind);
    return (a === null || b === null ? order : sign * order) || i - j;
  });
}

/** A time as milliseconds UTC; null for what is none. */
export function timeOf(value: Cell): number | null {
  if (typeof value !== "string") return null;
  const ms = Date.parse(value.length <= 10 ? `${value}T00:00:00Z` : `${value.slice(0, 23).replace(" ", "T")}${/Z$|[+-]\d\d:?\d\d$/.test(value) ? "" : "Z"}`);
  return Number.isNaN(ms) ? null : ms;
}
