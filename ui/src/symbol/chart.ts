/** The chart: price with overlays, volume, one pane for each further indicator, and what is marked on them. */

import { CrosshairMode, createChart } from "lightweight-charts";
import type { IChartApi, ISeriesApi, MouseEventParams, Time } from "lightweight-charts";

import { barTime } from "../base/format.ts";
import type { Change } from "../live/alert_book.ts";
import type { Palette } from "../base/palette.ts";
import type { Place, Row } from "../live/protocol.ts";
import type { Action } from "./adjusting.ts";
import { placeOf } from "./bars.ts";
import { Comparison } from "./comparison.ts";
import { valueAt } from "./indicators.ts";
import type { Group } from "./indicators.ts";
import type { Style } from "./link.ts";
import { Marks } from "./marks.ts";
import { Overlays } from "./overlays.ts";
import { SessionShade } from "./shade.ts";
import type { Session } from "./session.ts";
import { chartStyle } from "./chart_style.ts";
import { Price, timeOf } from "./price.ts";
import { VOLUME_FORMAT, volumeOf } from "./volume.ts";

const MANY = 40; // from so many changed rows on, setting all is quicker
const AWAITED = 5; // bars
const SHARE = { price: 6, volume: 1.3, pane: 1.8 };
const NARROW_SHARE = { price: 3.4, volume: 0.9, pane: 1.1 };

/** What is to be drawn. */
export interface Picture {
  place: Place;
  style: Style;
  groups: Group[];
  decimals: number;
  rows: Row[];
}

export interface ChartEvents {
  /** The row under the pointer changed, or the panes were laid out anew. */
  look(): void;
  /** What is in view: whether the newest bar is, and the place of the first. */
  scroll(atNewest: boolean, first: number): void;
  /** A bar was chosen, by a click or by Enter. */
  choose(row: Row): void;
}

export class Chart {
  readonly #chart: IChartApi;
  readonly #overlays: Overlays;
  readonly #shade = new SessionShade();
  readonly comparison: Comparison;
  #price!: Price;
  #volume!: ISeriesApi<"Histogram">;
  #marks!: Marks;
  #picture: Picture = { place: { symbol: "", timeframe: "1m" }, style: "candles", groups: [], decimals: 2, rows: [] };
  #shownRows = 0;
  #drawnTo = 0; // the time of the newest candle that the chart has
  #pointed: number | null = null; // the time of the bar under the pointer, in s
  #marked: number | null = null; // that of the bar whose receipt is open

  constructor(
    private readonly host: HTMLElement,
    private palette: Palette,
    private readonly events: ChartEvents,
  ) {
    this.#chart = createChart(host, {
      autoSize: true,
      crosshair: { mode: CrosshairMode.Normal },
      timeScale: { rightOffset: 5, minBarSpacing: 0.5 },
      rightPriceScale: { borderVisible: false },
      layout: { attributionLogo: false },
    });
    host.querySelector("table")?.setAttribute("role", "presentation"); // it lays out, and has no cells to read
    this.#overlays = new Overlays(this.#chart);
    this.comparison = new Comparison(this.#chart);
    this.#chart.subscribeCrosshairMove((at: MouseEventParams<Time>) => {
      const time = at.time === undefined ? null : (at.time as number);
      if (time === this.#pointed) return;
      this.#pointed = time;
      this.events.look();
    });
    this.#chart.subscribeClick((at) => {
      const row = at.time === undefined ? undefined : this.#rowAt(at.time as number);
      if (row) this.events.choose(row);
    });
    this.#chart.timeScale().subscribeVisibleLogicalRangeChange((range) => {
      if (!range) return;
      this.comparison.follow(this.#rows, range.from);
      this.events.scroll(range.to >= this.#rows.length - 2, range.from);
    });
    new ResizeObserver(() => requestAnimationFrame(() => this.events.look())).observe(host);
    this.#build();
  }

  get #rows(): Row[] {
    return this.#picture.rows;
  }

  /** The row under the pointer, else the one whose receipt is open, else the newest. */
  get looked(): Row | null {
    const at = (time: number | null): Row | undefined => (time === null ? undefined : this.#rowAt(time));
    return at(this.#pointed) ?? at(this.#marked) ?? this.#rows.at(-1) ?? null;
  }

  get pointing(): boolean {
    return this.#pointed !== null && this.#rowAt(this.#pointed) !== undefined;
  }

  get groups(): Group[] {
    return this.#picture.groups;
  }

  /** Where each pane begins, in pixels from the chart's top: price, volume, then the groups' panes. */
  paneTops(): number[] {
    const top = this.host.getBoundingClientRect().top;
    return this.#chart.panes().map((pane) => (pane.getHTMLElement()?.getBoundingClientRect().top ?? top) - top);
  }

  /** The colour of a group's n-th line. */
  colorOf(group: Group, line: number): string {
    return this.#overlays.colorOf(group, line, this.palette);
  }

  show(picture: Picture): void {
    const { place } = this.#picture;
    const same = place.symbol === picture.place.symbol && place.timeframe === picture.place.timeframe;
    this.#keepingPlace(same, () => {
      this.#picture = picture;
      if (!same) this.#pointed = null;
      this.#build();
    });
  }

  restyle(palette: Palette): void {
    this.palette = palette;
    this.#keepingPlace(true, () => this.#build());
  }

  /** The same rows, some of them changed. */
  update(changed: readonly Row[]): void {
    if (changed.length > MANY || this.comparison.on) {
      this.refill(this.#rows);
      return;
    }
    for (const row of changed) {
      const older = timeOf(row) < this.#drawnTo;
      this.#drawnTo = Math.max(this.#drawnTo, timeOf(row));
      this.#volume.update(volumeOf(row, this.palette), older);
      this.#overlays.update(row, older, this.palette);
    }
    this.#price.update(this.#rows, changed);
    this.#marks.show(this.#rows, this.palette);
    this.events.look();
  }

  /** The same chart, rows between others or fewer of them. */
  refill(rows: Row[]): void {
    this.#keepingPlace(true, () => {
      this.#picture.rows = rows;
      this.#fill();
    });
    this.events.look();
  }

  /** Older rows stand in front now. What is in view stays where it is. */
  prepend(rows: Row[]): void {
    this.#picture.rows = rows;
    this.#fill();
    this.#shownRows = rows.length;
    this.events.look();
  }

  /** Values of chosen indicators have come: draw their lines again. */
  refreshValues(): void {
    this.#overlays.fill(this.#rows, this.palette);
    this.events.look();
  }

  compare(): void {
    this.#keepingPlace(true, () => this.#build());
    this.events.look();
  }

  setSessions(sessions: readonly Session[]): void {
    this.#shade.setSessions(sessions);
  }

  setAlerts(alerts: readonly Change[]): void {
    this.#marks.alerts = alerts;
    this.#marks.show(this.#rows, this.palette);
  }

  setActions(actions: readonly Action[]): void {
    this.#marks.actions = actions;
    this.#marks.show(this.#rows, this.palette);
  }

  /** What was split or paid at a row. */
  actionsAt(row: Row): Action[] {
    return this.#marks.actionsAt(row, this.#rows[placeOf(this.#rows, row[0] as number) - 1]);
  }

  /** The bar whose receipt is open; null: none is. */
  mark(time: number | null): void {
    this.#marked = time === null ? null : time / 1000;
    this.#shade.mark(time);
    this.events.look();
  }

  alertsAt(row: Row): Change[] {
    return this.#marks.at(row);
  }

  /** A group's value at a row. Of the newest bars, whose values are still on their way, the last that is known. */
  valueOf(group: Group, column: number, row: Row): number | null {
    const value = valueAt(group, column, row);
    if (value !== null || !group.values || this.pointing) return value;
    const newest = this.#rows.slice(-AWAITED).reverse();
    return newest.map((one) => valueAt(group, column, one)).find((one) => one !== null) ?? null;
  }

  sessionOf(row: Row): Session | null {
    return this.#shade.sessionOf(row[0] as number);
  }

  toNow(): void {
    const fitting = Math.max(40, Math.floor(this.host.clientWidth / 8.5));
    const bars = Math.min(fitting, Math.max(50, this.#rows.length + 5));
    const to = this.#rows.length + 5;
    this.#chart.timeScale().setVisibleLogicalRange({ from: to - bars, to });
  }

  /** To the first bar that is known here. */
  toBegin(): void {
    const range = this.#chart.timeScale().getVisibleLogicalRange();
    const bars = range ? range.to - range.from : 100;
    this.#chart.timeScale().setVisibleLogicalRange({ from: -2, to: bars - 2 });
  }

  /** Bring a time to the middle, where its bar is known here. */
  reveal(time: number): void {
    const at = placeOf(this.#rows, time);
    const range = this.#chart.timeScale().getVisibleLogicalRange();
    if (at < 0 || !range || (at >= range.from && at <= range.to)) return;
    const half = (range.to - range.from) / 2;
    this.#chart.timeScale().setVisibleLogicalRange({ from: at - half, to: at + half });
  }

  /** Half as many bars in view, or twice as many, around the one looked at. */
  zoom(by: number): void {
    const range = this.#chart.timeScale().getVisibleLogicalRange();
    if (!range) return;
    const at = this.pointing ? placeOf(this.#rows, this.#pointed! * 1000) : range.to;
    const width = Math.max(8, (range.to - range.from) / by);
    const share = Math.min(1, Math.max(0, (at - range.from) / (range.to - range.from)));
    this.#chart.timeScale().setVisibleLogicalRange({ from: at - share * width, to: at + (1 - share) * width });
  }

  /** Move the crosshair by so many bars, from the newest in view where there is none; the view follows. */
  step(by: number): void {
    const range = this.#chart.timeScale().getVisibleLogicalRange();
    if (!range || !this.#rows.length) return;
    const last = Math.min(this.#rows.length - 1, Math.floor(range.to));
    const begin = this.pointing ? this.#pointed : this.#marked;
    const now = begin === null ? last : placeOf(this.#rows, begin * 1000) + by;
    const at = Math.min(this.#rows.length - 1, Math.max(0, now));
    const over = at < range.from ? at - range.from : at > range.to - 1 ? at - range.to + 1 : 0;
    if (over) this.#chart.timeScale().setVisibleLogicalRange({ from: range.from + over, to: range.to + over });
    this.#point(at);
  }

  /** Take the crosshair away. */
  unpoint(): void {
    this.#chart.clearCrosshairPosition();
    this.#pointed = null;
    this.events.look();
  }

  #point(at: number): void {
    const row = this.#rows[at];
    if (!row) return;
    this.#chart.setCrosshairPosition(this.#price.valueOf(row), timeOf(row), this.#price.series);
    this.#pointed = timeOf(row);
    this.events.look();
  }

  #rowAt(time: number): Row | undefined {
    const row = this.#rows[placeOf(this.#rows, time * 1000)];
    return row && timeOf(row) === time ? row : undefined;
  }

  /** Change the data; who looked at the newest bar still does, who had scrolled back stays there. */
  #keepingPlace(same: boolean, change: () => void): void {
    const scale = this.#chart.timeScale();
    const bars = same && this.#rows.length ? scale.getVisibleLogicalRange() : null;
    const scrolledBack = bars !== null && bars.to < this.#rows.length - 2;
    const held = scrolledBack ? Math.min(this.#rows.length - 1, Math.max(0, Math.floor(bars.from))) : 0;
    const time = this.#rows[held]?.[0] ?? 0;
    change();
    const at = scrolledBack ? placeOf(this.#rows, time) : -1;
    if (bars && at >= 0) scale.setVisibleLogicalRange({ from: bars.from - held + at, to: bars.to - held + at });
    else if (bars) {
      const to = this.#rows.length + Math.min(bars.to - this.#shownRows, 40);
      scale.setVisibleLogicalRange({ from: to - Math.max(bars.to - bars.from, 10), to });
    } else this.toNow();
    this.#shownRows = this.#rows.length;
  }

  #build(): void {
    const { groups, style, decimals, place } = this.#picture;
    const alerts = this.#marks?.alerts ?? [];
    const actions = this.#marks?.actions ?? [];
    this.#overlays.clear();
    this.comparison.clear();
    if (this.#price) {
      this.#chart.removeSeries(this.#volume);
      this.#chart.removeSeries(this.#price.series);
    }
    this.#chart.applyOptions(chartStyle(this.palette, place.timeframe));
    this.#chart.applyOptions({ localization: { timeFormatter: (time: Time) => barTime((time as number) * 1000, place.timeframe) } });
    const comparing = this.comparison.on;
    this.#price = new Price(this.#chart, comparing ? "line" : style, decimals, this.palette, comparing ? this.comparison : null);
    this.#price.series.attachPrimitive(this.#shade);
    this.#shade.setLook(this.palette, place.timeframe);
    this.#marks = new Marks(this.#price.series, alerts, actions, place.timeframe);
    this.#volume = this.#chart.addSeries(VOLUME_FORMAT.definition, VOLUME_FORMAT.options, 1);
    let pane = 2;
    for (const group of groups) {
      if (comparing && group.place === "price") continue; // their scale is the price's, which is not drawn
      const at = group.place === "price" ? 0 : group.place === "volume" ? 1 : pane++;
      this.#overlays.add(group, at, decimals, this.palette);
    }
    this.comparison.build(this.palette);
    this.#volume.priceScale().applyOptions({ scaleMargins: { top: 0.3, bottom: 0 } });
    const share = this.host.clientWidth < 600 ? NARROW_SHARE : SHARE;
    this.#chart.panes().forEach((p, i) => p.setStretchFactor(i === 0 ? share.price : i === 1 ? share.volume : share.pane));
    this.#fill();
    requestAnimationFrame(() => this.events.look());
  }

  #fill(): void {
    const rows = this.#rows;
    this.#drawnTo = rows.length ? timeOf(rows.at(-1)!) : 0;
    const from = this.#chart.timeScale().getVisibleLogicalRange()?.from ?? 0;
    this.comparison.settle(rows, from);
    this.#price.fill(rows);
    this.#volume.setData(rows.map((row) => volumeOf(row, this.palette)));
    this.#overlays.fill(rows, this.palette);
    this.comparison.fill(rows);
    this.#marks.show(rows, this.palette);
    this.#shade.setRows(rows);
  }
}
