/** A page of older bars beside the live rows. Pure. */

import type { Row } from "../live/protocol.ts";

/** The row's numbers in the order of other columns; null where it has none. */
export function inOrder(rows: readonly Row[], from: readonly string[], to: readonly string[]): Row[] {
  if (from.length === to.length && from.every((name, i) => name === to[i])) return [...rows];
  const places = to.map((name) => from.indexOf(name));
  return rows.map((row) => places.map((at) => (at < 0 ? null : (row[at] ?? null))));
}
