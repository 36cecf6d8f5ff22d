/** The volume's bars. */

import { HistogramSeries } from "lightweight-charts";
import type { HistogramData, Time, WhitespaceData } from "lightweight-charts";

import { compact } from "../base/format.ts";
import type { Palette } from "../base/palette.ts";
import { COL } from "../live/protocol.ts";
import type { Row } from "../live/protocol.ts";
import { timeOf } from "./price.ts";

export const COMPACT = { type: "custom" as const, formatter: (v: number) => compact(v).replace(/\.0+(?=\D|$)/, ""), minMove: 0.01 };
export const VOLUME_FORMAT = {
  definition: HistogramSeries,
  options: { priceFormat: COMPACT, priceLineVisible: false, lastValueVisible: false },
};

/** Nothing stands where the source gave no volume. */
export function volumeOf(row: Row, palette: Palette): HistogramData<Time> | WhitespaceData<Time> {
  const volume = row[COL.volume];
  if (volume === null || volume === undefined) return { time: timeOf(row) };
  const rising = (row[COL.close] ?? 0) >= (row[COL.open] ?? 0);
  return { time: timeOf(row), value: volume, color: rising ? palette.volumeUp : palette.volumeDown };
}
