/** Where a comparison starts, and what each symbol closed at. Pure. */

import { COL } from "../live/protocol.ts";
import type { Row } from "../live/protocol.ts";
import { placeOf } from "./bars.ts";

/** The close of the last bar that opens at this time or before; null: none. */
export function closeAt(rows: readonly Row[], time: number): number | null {
  return rows[placeOf(rows, time)]?.[COL.close] ?? null;
}

/** The first of these rows, from place `from` on, at which every other series has begun; -1: none. */
export function commonStart(rows: readonly Row[], others: readonly (readonly Row[])[], from: number): number {
  const latest = Math.max(...others.map((other) => other[0]?.[0] ?? Infinity), -Infinity);
  for (let at = Math.max(0, Math.ceil(from)); at < rows.length; at++) {
    if ((rows[at]![0] as number) >= latest) return at;
  }
  return -1;
}
