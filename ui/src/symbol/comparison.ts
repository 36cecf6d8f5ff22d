/** Other symbols beside the shown one, each in percent since the first bar in view that all of them have. */

import { LineSeries } from "lightweight-charts";
import type { IChartApi, ISeriesApi, LineData, Time, WhitespaceData } from "lightweight-charts";

import { percent } from "../base/format.ts";
import type { Palette } from "../base/palette.ts";
import { COL } from "../live/protocol.ts";
import type { Row } from "../live/protocol.ts";
import { closeAt, commonStart } from "./common_start.ts";
import { timeOf } from "./price.ts";

interface Other {
  symbol: string;
  rows: readonly Row[];
}

const COLORS = [0, 2, 1, 4, 5];

export class Comparison {
  others: Other[] = [];
  #series: ISeriesApi<"Line">[] = [];
  #base = -1; // open time of the common start
  #bases: (number | null)[] = [];
  #own: number | null = null;
  #due = 0;
  /** Called when the common start has moved. */
  onStart: () => void = () => undefined;

  constructor(private readonly chart: IChartApi) {}

  get on(): boolean {
    return this.others.length > 0;
  }

  /** Open time in ms of the bar that all are counted from; null: there is none yet. */
  get start(): number | null {
    return this.#base < 0 ? null : this.#base;
  }

  percentOf(close: number, base = this.#own): number {
    return base ? 100 * (close / base - 1) : 0;
  }

  /** Each symbol's percent at a time; null where it has none. */
  at(time: number): (number | null)[] {
    return this.others.map(({ rows }, i) => {
      const [close, base] = [closeAt(rows, time), this.#bases[i] ?? null];
      return close === null || base === null ? null : this.percentOf(close, base);
    });
  }

  colorOf(at: number, { series }: Palette): string {
    return series[COLORS[at % COLORS.length]!]!;
  }

  clear(): void {
    for (const series of this.#series) this.chart.removeSeries(series);
    this.#series = [];
  }

  build(palette: Palette): void {
    this.#series = this.others.map((other, i) =>
      this.chart.addSeries(LineSeries, {
        color: this.colorOf(i, palette), lineWidth: 2, priceLineVisible: false, crosshairMarkerVisible: false, title: other.symbol,
        priceFormat: { type: "custom", formatter: percent, minMove: 0.01 },
      }),
    );
  }

  /** Find the common start for what is in view from place `from` on. */
  settle(rows: readonly Row[], from: number): boolean {
    if (!this.on) return false;
    const at = commonStart(rows, this.others.map((o) => o.rows), from);
    const row = rows[at];
    const base = row ? (row[0] as number) : -1;
    const moved = base !== this.#base;
    this.#base = base;
    this.#own = row?.[COL.close] ?? null;
    this.#bases = this.others.map((o) => (row ? closeAt(o.rows, base) : null));
    if (moved) this.onStart();
    return moved;
  }

  fill(rows: readonly Row[]): void {
    this.#series.forEach((series, i) => {
      const base = this.#bases[i] ?? null;
      const other = this.others[i]!.rows;
      let at = -1;
      const points = rows.map((row): LineData<Time> | WhitespaceData<Time> => {
        while (at + 1 < other.length && (other[at + 1]![0] as number) <= (row[0] as number)) at++;
        const close = at < 0 ? null : (other[at]![COL.close] ?? null);
        return close === null || base === null ? { time: timeOf(row) } : { time: timeOf(row), value: this.percentOf(close, base) };
      });
      series.setData(points);
    });
  }

  /** The view has moved: count from another start, once per animation frame. */
  follow(rows: readonly Row[], from: number): void {
    if (!this.on || this.#due) return;
    this.#due = requestAnimationFrame(() => {
      this.#due = 0;
      if (this.on && this.settle(rows, from)) this.onMoved();
    });
  }

  /** Draw everything again, from another start. */
  onMoved: () => void = () => undefined;
}
