/** Heikin-Ashi: candles of averages, in which a trend shows as a run of one colour. */

import { COL } from "../live/protocol.ts";
import type { Row } from "../live/protocol.ts";

export interface Candle {
  open: number;
  high: number;
  low: number;
  close: number;
}

/**
 * The next averaged candle: close = (o + h + l + c) / 4, open = the middle of the one before,
 * high and low with both of them. The first one opens in the middle of its own bar.
 */
export function averaged(row: Row, before: Candle | null): Candle {
  const [o, h, l, c] = [row[COL.open] ?? 0, row[COL.high] ?? 0, row[COL.low] ?? 0, row[COL.close] ?? 0];
  const close = (o + h + l + c) / 4;
  const open = before ? (before.open + before.close) / 2 : (o + c) / 2;
  return { open, close, high: Math.max(h, open, close), low: Math.min(l, open, close) };
}
