/** One series as far as the page knows it: live rows at its end, older ones in front of them. Pure. */

import { upsertRows } from "../live/store.ts";
import type { Row } from "../live/protocol.ts";

const timeOf = (row: Row): number => row[0] as number;

export class Bars {
  /** Oldest first; the same array while rows only change, come behind or go in between. */
  rows: Row[] = [];

  /** Another series, or the same one after it was away. */
  begin(live: readonly Row[]): void {
    this.rows = [...live];
  }

  /** All live rows again: what lies before them stays, unless there is a gap between. */
  again(live: readonly Row[]): void {
    const first = live[0];
    const newest = this.rows.at(-1);
    if (!first || !newest || timeOf(first) > timeOf(newest)) {
      this.begin(live);
      return;
    }
    const kept = this.rows.filter((row) => timeOf(row) < timeOf(first));
    this.rows = [...kept, ...live];
  }

  /** Rows that changed or came; false when one went in between others. */
  change(rows: Row[]): boolean {
    return upsertRows(this.rows, rows);
  }

  /** An older page in front; how many rows that were. */
  before(page: readonly Row[]): number {
    const first = this.rows[0];
    const fresh = first ? page.filter((row) => timeOf(row) < timeOf(first)) : page;
    if (fresh.length) this.rows = [...fresh, ...this.rows];
    return fresh.length;
  }
}

/** Where the row stands that opens at this time, or the last one before it; -1: none. Rows are sorted. */
export function placeOf(rows: readonly Row[], time: number): number {
  let [low, high] = [0, rows.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (timeOf(rows[middle]!) <= time) low = middle + 1;
    else high = middle;
  }
  return low - 1;
}
