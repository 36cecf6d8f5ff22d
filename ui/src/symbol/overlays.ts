/** Indicators as lines, histograms and bands, over the price or in panes of their own. */

import { HistogramSeries, LineSeries, LineStyle } from "lightweight-charts";
import type { AutoscaleInfoProvider, HistogramData, IChartApi, ISeriesApi, LineData, Time, WhitespaceData } from "lightweight-charts";

import type { Palette } from "../base/palette.ts";
import type { Row } from "../live/protocol.ts";
import { Band } from "./band.ts";
import { valueAt } from "./indicators.ts";
import type { Group } from "./indicators.ts";
import { priceFormat, timeOf } from "./price.ts";
import { COMPACT } from "./volume.ts";

type Point = LineData<Time> | HistogramData<Time> | WhitespaceData<Time>;

interface Drawn {
  group: Group;
  series: ISeriesApi<"Line"> | ISeriesApi<"Histogram">;
  column: number;
  histogram: boolean;
}

export class Overlays {
  #drawn: Drawn[] = [];
  #bands: { band: Band; group: Group }[] = [];

  constructor(private readonly chart: IChartApi) {}

  /** The colour of a group's n-th line. */
  colorOf(group: Group, line: number, { series }: Palette): string {
    if (group.color !== null && line === 0) return series[group.color % series.length]!;
    if (group.place === "volume") return series[0]!;
    if (group.band) return series[group.color ?? 3]!;
    if (group.place === "pane") return [series[group.order % 2 ? 5 : 1]!, series[0]!, series[4]!][line % 3]!;
    if (group.label.startsWith("VWAP")) return series[4]!;
    return [series[0]!, series[1]!, series[2]!, series[5]!][(group.order + line) % 4]!;
  }

  clear(): void {
    for (const { series } of this.#drawn) this.chart.removeSeries(series);
    this.#drawn = [];
    this.#bands = [];
  }

  add(group: Group, pane: number, decimals: number, palette: Palette): void {
    let first: ISeriesApi<"Line"> | null = null;
    group.lines.forEach((line, i) => {
      const histogram = line.style === "histogram";
      const common = {
        priceLineVisible: false, lastValueVisible: group.place === "pane" && i === 0,
        ...(group.levels.length ? { autoscaleInfoProvider: holding(group.levels) } : {}),
        ...(group.place === "price" && !group.band ? { autoscaleInfoProvider: () => null } : {}),
        priceFormat: group.place === "volume" || group.large ? COMPACT : priceFormat(group.levels.length ? 1 : decimals),
      };
      const series = histogram
        ? this.chart.addSeries(HistogramSeries, { ...common, lastValueVisible: false }, pane)
        : this.chart.addSeries(LineSeries, {
            ...common, color: this.colorOf(group, i, palette), lineWidth: line.style === "thin" || group.band ? 1 : 2,
            crosshairMarkerVisible: false,
          }, pane);
      this.#drawn.push({ group, series, column: line.column, histogram });
      if (!histogram && !first) first = series as ISeriesApi<"Line">;
    });
    const anchor = first as ISeriesApi<"Line"> | null;
    if (!anchor) return;
    for (const level of group.levels) {
      anchor.createPriceLine({
        price: level, color: palette.line, lineWidth: 1, lineStyle: LineStyle.Dashed, axisLabelVisible: false, title: "",
      });
    }
    if (!group.band) return;
    const band = new Band(palette.band);
    anchor.attachPrimitive(band);
    this.#bands.push({ band, group });
  }

  fill(rows: readonly Row[], palette: Palette): void {
    for (const drawn of this.#drawn) {
      (drawn.series as ISeriesApi<"Line">).setData(rows.map((row) => pointOf(drawn, row, palette)) as LineData<Time>[]);
    }
    for (const { band, group } of this.#bands) {
      const [upper, lower] = group.band!;
      band.setRows(rows, (row) => [valueAt(group, upper, row), valueAt(group, lower, row)]);
    }
  }

  update(row: Row, older: boolean, palette: Palette): void {
    for (const drawn of this.#drawn) {
      (drawn.series as ISeriesApi<"Line">).update(pointOf(drawn, row, palette) as LineData<Time>, older);
    }
  }
}

function pointOf({ group, column, histogram }: Drawn, row: Row, palette: Palette): Point {
  const value = valueAt(group, column, row);
  if (value === null) return { time: timeOf(row) };
  if (!histogram) return { time: timeOf(row), value };
  return { time: timeOf(row), value, color: value >= 0 ? palette.volumeUp : palette.volumeDown };
}

/** Let a pane's scale always show these levels, with some room around them. */
function holding(levels: number[]): AutoscaleInfoProvider {
  return (original) => {
    const range = original()?.priceRange;
    const [low, high] = [Math.min(...levels) - 12, Math.max(...levels) + 12];
    return { priceRange: { minValue: Math.min(low, range?.minValue ?? low), maxValue: Math.max(high, range?.maxValue ?? high) } };
  };
}
