/** Which chart suits the columns of a result. Pure. */

import { isAmount, kindOf, timeOf } from "./columns.ts";
import type { Cell, Column } from "./columns.ts";

export type Mark = "line" | "bar" | "point";

/** Places of columns: `x` along, `y` up, `by` one series for each of its values. */
export interface Choice {
  mark: Mark;
  x: number;
  y: number;
  by: number | null;
}

type Rows = readonly (readonly Cell[])[];

export const SERIES_MAX = 12;
const TELLING = [/percent|correlation|change|return|drawdown|volatility/, /value|turnover/, /vwap|average|avg|median|price|close/, /volume|count|trades|^n$/];

/** Whether the column can stand along a chart as time. */
export function isTime(column: Column): boolean {
  return kindOf(column.type) === "time" || (kindOf(column.type) === "whole" && /_(ns|ms)$/.test(column.name));
}

/** A value along the chart: milliseconds for times, the number itself; null for what has no place. */
export function along(column: Column, value: Cell): number | null {
  if (value === null) return null;
  if (kindOf(column.type) === "time") return timeOf(value);
  const number = Number(value);
  if (!Number.isFinite(number)) return null;
  return column.name.endsWith("_ns") ? number / 1e6 : number;
}

/** Null: there is nothing to draw. */
export function choose(columns: readonly Column[], rows: Rows): Choice | null {
  const amounts = places(columns, (column) => isAmount(column));
  if (rows.length === 0 || amounts.length === 0) return null;
  const texts = places(columns, ({ type }) => kindOf(type) === "text").map((i) => ({ i, distinct: distinct(rows, i) }));
  const names = texts.filter(({ distinct }) => distinct === rows.length)[0];
  const time = places(columns, isTime)[0];
  const groups = texts.filter(({ distinct }) => distinct <= SERIES_MAX).sort((a, b) => a.distinct - b.distinct);
  const y = telling(columns, amounts);
  if (names && rows.length > 1) return { mark: "bar", x: names.i, y, by: null };
  if (time !== undefined) {
    const by = groups[0]?.distinct === 1 ? null : (groups[0]?.i ?? null);
    return { mark: inOrder(columns[time]!, rows, time, by) ? "line" : "point", x: time, y, by };
  }
  if (texts.length) {
    const along = [...texts].sort((a, b) => b.distinct - a.distinct)[0]!;
    const other = groups.find(({ i, distinct }) => i !== along.i && distinct > 1)?.i ?? null;
    if (along.distinct > 1) return { mark: other === null || along.distinct <= 30 ? "bar" : "line", x: along.i, y, by: other };
  }
  const rising = amounts.find((i) => distinct(rows, i) > 1 && inOrder(columns[i]!, rows, i, null));
  const others = amounts.filter((i) => i !== rising);
  if (rising !== undefined && others.length) return { mark: "line", x: rising, y: telling(columns, others), by: null };
  const numbers = amounts.filter((i) => i !== y);
  if (numbers.length) return { mark: "point", x: numbers[0]!, y, by: groups.find(({ distinct }) => distinct > 1)?.i ?? null };
  const any = columns.findIndex((_, i) => i !== y);
  return any < 0 ? null : { mark: "bar", x: any, y, by: null };
}

function places(columns: readonly Column[], is: (column: Column) => boolean): number[] {
  return columns.flatMap((column, i) => (is(column) ? [i] : []));
}

function distinct(rows: Rows, column: number): number {
  return new Set(rows.map((row) => row[column])).size;
}

function telling(columns: readonly Column[], amounts: readonly number[]): number {
  for (const word of TELLING) {
    const found = amounts.find((i) => word.test(columns[i]!.name));
    if (found !== undefined) return found;
  }
  return amounts[0]!;
}

/** Whether each series goes one way along the column: a line can follow it. */
function inOrder(column: Column, rows: Rows, x: number, by: number | null): boolean {
  const last = new Map<Cell, { at: number; way: number }>();
  for (const row of rows) {
    const at = along(column, row[x]!);
    if (at === null) continue;
    const key = by === null ? null : row[by]!;
    const before = last.get(key);
    const way = before === undefined ? 0 : Math.sign(at - before.at);
    if (before && way !== 0 && before.way !== 0 && way !== before.way) return false;
    last.set(key, { at, way: way || (before?.way ?? 0) });
  }
  return true;
}
