/** The candle chart: price with overlays, volume, and one pane for each further indicator. */

import {
  CandlestickSeries,
  ColorType,
  CrosshairMode,
  HistogramSeries,
  LineSeries,
  LineStyle,
  createChart,
} from "lightweight-charts";
import type {
  AutoscaleInfoProvider,
  HistogramData,
  IChartApi,
  ISeriesApi,
  LineData,
  MouseEventParams,
  PriceFormatCustom,
  Time,
  UTCTimestamp,
  WhitespaceData,
} from "lightweight-charts";

import { Band } from "./band.ts";
import { barTime, compact, price } from "../base/format.ts";
import type { Group } from "./indicators.ts";
import type { Place } from "../live/protocol.ts";
import type { Palette } from "../base/palette.ts";
import { COL } from "../live/protocol.ts";
import type { Row } from "../live/protocol.ts";

type Point = LineData<Time> | HistogramData<Time> | WhitespaceData<Time>;

interface Drawn {
  series: ISeriesApi<"Line"> | ISeriesApi<"Histogram">;
  column: number;
  histogram: boolean;
}

const VOLUME = { type: "custom" as const, formatter: (v: number) => compact(v).replace(/\.0+(?=\D|$)/, ""), minMove: 0.01 };
const MANY = 40; // from so many changed rows on, setting all is quicker
const SHARE = { price: 6, volume: 1.3, pane: 1.8 };

export class Chart {
  readonly #chart: IChartApi;
  #candles!: ISeriesApi<"Candlestick">;
  #volume!: ISeriesApi<"Histogram">;
  #drawn: Drawn[] = [];
  #bands: { band: Band; upper: number; lower: number }[] = [];
  #groups: Group[] = [];
  #rows: Row[] = [];
  #byTime = new Map<number, Row>();
  #symbol = "";
  #timeframe = "1m";
  #decimals = 2;
  #shownRows = 0;
  #drawnTo = 0; // the time of the newest candle that the chart has
  #pointed: Row | null = null;

  constructor(
    private readonly host: HTMLElement,
    private palette: Palette,
    /** Called when the row under the pointer changed, or the panes were laid out anew. */
    private readonly onLook: () => void,
    private readonly onScroll: (atNewest: boolean) => void,
  ) {
    this.#chart = createChart(host, {
      autoSize: true,
      crosshair: { mode: CrosshairMode.Normal },
      timeScale: { rightOffset: 5, minBarSpacing: 1 },
      rightPriceScale: { borderVisible: false },
      layout: { attributionLogo: false },
    });
    this.#chart.subscribeCrosshairMove((at: MouseEventParams<Time>) => {
      const row = at.time === undefined ? null : (this.#byTime.get(at.time as number) ?? null);
      if (row !== this.#pointed) {
        this.#pointed = row;
        this.onLook();
      }
    });
    this.#chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      if (range) this.onScroll(range.to >= this.#rows.length - 2);
    });
    new ResizeObserver(() => requestAnimationFrame(() => this.onLook())).observe(host);
    this.#build();
  }

  /** The row under the pointer, else the newest. */
  get looked(): Row | null {
    return this.#pointed ?? this.#rows.at(-1) ?? null;
  }

  get pointing(): boolean {
    return this.#pointed !== null;
  }

  /** Where each pane begins, in pixels from the chart's top: price, volume, then the groups' panes. */
  paneTops(): number[] {
    const top = this.host.getBoundingClientRect().top;
    return this.#chart.panes().map((pane) => (pane.getHTMLElement()?.getBoundingClientRect().top ?? top) - top);
  }

  /** The colour of a group's n-th line. */
  colorOf(group: Group, line: number): string {
    const { series } = this.palette;
    if (group.place === "volume") return series[0]!;
    if (group.band) return series[3]!;
    if (group.place === "pane") return [series[group.order % 2 ? 5 : 1]!, series[0]!, series[4]!][line % 3]!;
    if (group.label.startsWith("VWAP")) return series[4]!;
    return [series[0]!, series[1]!, series[2]!, series[5]!][group.order % 4]!;
  }

  show(groups: Group[], place: Place, decimals: number, rows: Row[]): void {
    const same = place.symbol === this.#symbol && place.timeframe === this.#timeframe;
    this.#keepingPlace(same, () => {
      this.#groups = groups;
      this.#symbol = place.symbol;
      this.#timeframe = place.timeframe;
      this.#decimals = decimals;
      this.#rows = rows;
      this.#pointed = null;
      this.#build();
    });
  }

  restyle(palette: Palette): void {
    this.palette = palette;
    this.#keepingPlace(true, () => this.#build());
  }

  /** The same rows, some of them changed. */
  update(changed: Row[]): void {
    if (changed.length > MANY) {
      this.refill();
      return;
    }
    for (const row of changed) {
      const older = timeOf(row) < this.#drawnTo;
      this.#drawnTo = Math.max(this.#drawnTo, timeOf(row));
      this.#byTime.set(timeOf(row), row);
      if (this.#pointed && this.#pointed[0] === row[0]) this.#pointed = row;
      this.#candles.update(candleOf(row), older);
      this.#volume.update(this.#volumeOf(row), older);
      for (const { series, column, histogram } of this.#drawn) {
        (series as ISeriesApi<"Line">).update(this.#pointOf(row, column, histogram) as LineData<Time>, older);
      }
    }
    this.#fillBands();
    this.#colorPriceLine();
    this.onLook();
  }

  /** The same chart, rows between others or fewer of them. */
  refill(): void {
    this.#keepingPlace(true, () => this.#fill());
    if (this.#pointed) this.#pointed = this.#byTime.get(timeOf(this.#pointed)) ?? null;
    this.onLook();
  }

  toNow(): void {
    const fitting = Math.max(40, Math.floor(this.host.clientWidth / 8.5));
    const bars = Math.min(fitting, Math.max(50, this.#rows.length + 5));
    const to = this.#rows.length + 5;
    this.#chart.timeScale().setVisibleLogicalRange({ from: to - bars, to });
  }

  /** Change the data; who looked at the newest bar still does, who had scrolled back stays there. */
  #keepingPlace(same: boolean, change: () => void): void {
    const scale = this.#chart.timeScale();
    const range = same && this.#rows.length ? scale.getVisibleRange() : null;
    const bars = scale.getVisibleLogicalRange();
    const scrolledBack = range !== null && bars !== null && bars.to < this.#rows.length - 2;
    change();
    if (scrolledBack) scale.setVisibleRange(range);
    else if (range && bars) {
      const to = this.#rows.length + Math.min(bars.to - this.#shownRows, 40);
      scale.setVisibleLogicalRange({ from: to - Math.max(bars.to - bars.from, 10), to });
    } else this.toNow();
    this.#shownRows = this.#rows.length;
  }

  #build(): void {
    for (const { series } of this.#drawn) this.#chart.removeSeries(series);
    if (this.#candles) {
      this.#chart.removeSeries(this.#volume);
      this.#chart.removeSeries(this.#candles);
    }
    this.#drawn = [];
    this.#bands = [];
    this.#style();
    const { palette } = this;
    this.#candles = this.#chart.addSeries(CandlestickSeries, {
      upColor: palette.panel, downColor: palette.down, borderUpColor: palette.up, borderDownColor: palette.down, wickUpColor: palette.up,
      wickDownColor: palette.down, priceLineStyle: LineStyle.Dotted,
      priceFormat: this.#priceFormat(),
    });
    this.#volume = this.#chart.addSeries(
      HistogramSeries,
      { priceFormat: VOLUME, priceLineVisible: false, lastValueVisible: false },
      1,
    );
    let pane = 2;
    for (const group of this.#groups) {
      const place = group.place === "price" ? 0 : group.place === "volume" ? 1 : pane++;
      this.#addGroup(group, place);
    }
    this.#volume.priceScale().applyOptions({ scaleMargins: { top: 0.3, bottom: 0 } });
    this.#chart.panes().forEach((p, i) => p.setStretchFactor(i === 0 ? SHARE.price : i === 1 ? SHARE.volume : SHARE.pane));
    this.#fill();
    requestAnimationFrame(() => this.onLook());
  }

  #addGroup(group: Group, place: number): void {
    let first: ISeriesApi<"Line"> | null = null;
    group.lines.forEach((line, i) => {
      const color = this.colorOf(group, i);
      const histogram = line.style === "histogram";
      const common = {
        priceLineVisible: false, lastValueVisible: group.place === "pane" && i === 0,
        ...(group.levels.length ? { autoscaleInfoProvider: holding(group.levels) } : {}),
        ...(group.place === "price" && !group.band ? { autoscaleInfoProvider: () => null } : {}),
        priceFormat: group.place === "volume" ? VOLUME : this.#priceFormat(group.levels.length ? 1 : this.#decimals),
      };
      const series = histogram
        ? this.#chart.addSeries(HistogramSeries, { ...common, lastValueVisible: false }, place)
        : this.#chart.addSeries(LineSeries, {
            ...common, color, lineWidth: line.style === "thin" || group.band ? 1 : 2, crosshairMarkerVisible: false,
          }, place);
      this.#drawn.push({ series, column: line.column, histogram });
      if (!histogram && !first) first = series as ISeriesApi<"Line">;
    });
    const anchor = first as ISeriesApi<"Line"> | null;
    if (!anchor) return;
    for (const level of group.levels) {
      anchor.createPriceLine({
        price: level, color: this.palette.line, lineWidth: 1, lineStyle: LineStyle.Dashed, axisLabelVisible: false, title: "",
      });
    }
    if (group.band) {
      const band = new Band(this.palette.band);
      anchor.attachPrimitive(band);
      this.#bands.push({ band, upper: group.band[0], lower: group.band[1] });
    }
  }

  #priceFormat(decimals = this.#decimals): PriceFormatCustom {
    return { type: "custom", formatter: (v: number) => price(v, decimals), minMove: 10 ** -decimals };
  }

  #style(): void {
    const { palette } = this;
    this.#chart.applyOptions({
      layout: {
        background: { type: ColorType.Solid, color: palette.panel }, textColor: palette.text,
        fontFamily: palette.font, fontSize: palette.fontPx,
        panes: { separatorColor: palette.grid, separatorHoverColor: palette.band, enableResize: true },
      },
      grid: { vertLines: { color: palette.grid }, horzLines: { color: palette.grid } },
      crosshair: {
        vertLine: { color: palette.faint, labelBackgroundColor: palette.raised, style: LineStyle.Dashed },
        horzLine: { color: palette.faint, labelBackgroundColor: palette.raised, style: LineStyle.Dashed },
      },
      timeScale: {
        borderColor: palette.grid, timeVisible: !this.#timeframe.endsWith("d"),
        secondsVisible: /[st]$/.test(this.#timeframe),
      },
      localization: { locale: "en-GB", timeFormatter: (time: Time) => barTime((time as number) * 1000, this.#timeframe) },
    });
  }

  #fill(): void {
    this.#drawnTo = this.#rows.length ? timeOf(this.#rows.at(-1)!) : 0;
    this.#byTime = new Map(this.#rows.map((row) => [timeOf(row), row]));
    this.#candles.setData(this.#rows.map(candleOf));
    this.#volume.setData(this.#rows.map((row) => this.#volumeOf(row)));
    for (const { series, column, histogram } of this.#drawn) {
      (series as ISeriesApi<"Line">).setData(
        this.#rows.map((row) => this.#pointOf(row, column, histogram)) as LineData<Time>[],
      );
    }
    this.#fillBands();
    this.#colorPriceLine();
  }

  /** Rising candles are hollow, so the label of the last price cannot take their colour. */
  #colorPriceLine(): void {
    const row = this.#rows.at(-1);
    if (!row) return;
    const color = (row[COL.close] ?? 0) >= (row[COL.open] ?? 0) ? this.palette.up : this.palette.down;
    if (this.#candles.options().priceLineColor !== color) this.#candles.applyOptions({ priceLineColor: color });
  }

  #fillBands(): void {
    for (const { band, upper, lower } of this.#bands) {
      band.setPoints(
        this.#rows.flatMap((row) => {
          const [high, low] = [row[upper] ?? null, row[lower] ?? null];
          return high === null || low === null ? [] : [{ time: timeOf(row), upper: high, lower: low }];
        }),
      );
    }
  }

  #volumeOf(row: Row): HistogramData<Time> {
    const rising = (row[COL.close] ?? 0) >= (row[COL.open] ?? 0);
    return { time: timeOf(row), value: row[COL.volume] ?? 0, color: rising ? this.palette.volumeUp : this.palette.volumeDown };
  }

  #pointOf(row: Row, column: number, histogram: boolean): Point {
    const value = row[column] ?? null;
    if (value === null) return { time: timeOf(row) };
    if (!histogram) return { time: timeOf(row), value };
    return { time: timeOf(row), value, color: value >= 0 ? this.palette.volumeUp : this.palette.volumeDown };
  }
}

/** Let a pane's scale always show these levels, with some room around them. */
function holding(levels: number[]): AutoscaleInfoProvider {
  return (original) => {
    const range = original()?.priceRange;
    const [low, high] = [Math.min(...levels) - 12, Math.max(...levels) + 12];
    return { priceRange: { minValue: Math.min(low, range?.minValue ?? low), maxValue: Math.max(high, range?.maxValue ?? high) } };
  };
}

function timeOf(row: Row): UTCTimestamp {
  return ((row[0] as number) / 1000) as UTCTimestamp;
}

function candleOf(row: Row): { time: UTCTimestamp; open: number; high: number; low: number; close: number } {
  return {
    time: timeOf(row), open: row[COL.open] as number, high: row[COL.high] as number, low: row[COL.low] as number,
    close: row[COL.close] as number,
  };
}
