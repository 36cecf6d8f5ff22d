/** The price itself: candles, a line, or candles of averages; in percent while symbols are compared. */

import { CandlestickSeries, LineSeries, LineStyle } from "lightweight-charts";
import type { IChartApi, ISeriesApi, PriceFormatCustom, UTCTimestamp } from "lightweight-charts";

import { percent, price } from "../base/format.ts";
import type { Palette } from "../base/palette.ts";
import { COL } from "../live/protocol.ts";
import type { Row } from "../live/protocol.ts";
import { placeOf } from "./bars.ts";
import type { Comparison } from "./comparison.ts";
import { averaged } from "./heikin.ts";
import type { Candle } from "./heikin.ts";
import type { Style } from "./link.ts";

type Point = Candle & { time: UTCTimestamp; value: number };

export function timeOf(row: Row): UTCTimestamp {
  return ((row[0] as number) / 1000) as UTCTimestamp;
}

export function priceFormat(decimals: number): PriceFormatCustom {
  return { type: "custom", formatter: (v: number) => price(v, decimals), minMove: 10 ** -decimals };
}

const PERCENT: PriceFormatCustom = { type: "custom", formatter: percent, minMove: 0.01 };

export class Price {
  readonly series: ISeriesApi<"Candlestick"> | ISeriesApi<"Line">;
  #averaged = new Map<number, Candle>(); // by open time
  #drawnTo = 0; // the time of the newest one that the chart has

  constructor(
    chart: IChartApi,
    private readonly style: Style,
    decimals: number,
    private readonly palette: Palette,
    private readonly comparison: Comparison | null,
  ) {
    const common = { priceLineStyle: LineStyle.Dotted, priceFormat: comparison ? PERCENT : priceFormat(decimals) };
    this.series =
      style === "line"
        ? chart.addSeries(LineSeries, { ...common, color: palette.accent, lineWidth: 2 })
        : chart.addSeries(CandlestickSeries, {
            ...common, upColor: palette.panel, downColor: palette.down, borderUpColor: palette.up, borderDownColor: palette.down,
            wickUpColor: palette.up, wickDownColor: palette.down,
          });
  }

  /** What stands on the scale for a row. */
  valueOf(row: Row): number {
    return this.#point(row).value;
  }

  fill(rows: readonly Row[]): void {
    this.#averaged.clear();
    this.#drawnTo = rows.length ? timeOf(rows.at(-1)!) : 0;
    this.series.setData(rows.map((row, i) => this.#take(row, rows[i - 1])));
    this.#colorLine(rows.at(-1));
  }

  /** Rows that changed, the oldest first. */
  update(rows: readonly Row[], changed: readonly Row[]): void {
    const first = changed[0];
    if (!first) return;
    // An averaged candle hangs on the one before: what follows a changed one changes too.
    const from = this.style === "heikin" ? placeOf(rows, first[0] as number) : -1;
    const due = from < 0 ? changed.map((row) => [row, undefined] as const) : rows.slice(from).map((row, i) => [row, rows[from + i - 1]] as const);
    for (const [row, before] of due) {
      const older = timeOf(row) < this.#drawnTo;
      this.#drawnTo = Math.max(this.#drawnTo, timeOf(row));
      this.series.update(this.#take(row, before), older);
    }
    this.#colorLine(rows.at(-1));
  }

  #take(row: Row, before: Row | undefined): Point {
    if (this.style === "heikin") {
      const candle = averaged(row, before ? (this.#averaged.get(before[0] as number) ?? null) : null);
      this.#averaged.set(row[0] as number, candle);
    }
    return this.#point(row);
  }

  #point(row: Row): Point {
    const time = timeOf(row);
    const own = this.style === "heikin" ? this.#averaged.get(row[0] as number) : undefined;
    if (own) return { time, ...own, value: own.close };
    const close = row[COL.close] ?? 0;
    const value = this.comparison ? this.comparison.percentOf(close) : close;
    return { time, open: row[COL.open] ?? 0, high: row[COL.high] ?? 0, low: row[COL.low] ?? 0, close, value };
  }

  /** Rising candles are hollow, so the label of the last price cannot take their colour. */
  #colorLine(row: Row | undefined): void {
    if (!row || this.style === "line") return;
    const last = this.#point(row);
    const color = last.close >= last.open ? this.palette.up : this.palette.down;
    if (this.series.options().priceLineColor !== color) this.series.applyOptions({ priceLineColor: color });
  }
}
