/** The view of one symbol: its chart, its figures, and the list to choose another from. */

import "./style/symbol.css";
import "./style/watch.css";
import "./style/side.css";
import "./style/narrow.css";

import { byId, remember, remembered, set } from "../base/dom.ts";
import { decimalsOf } from "../base/format.ts";
import { readPalette } from "../base/palette.ts";
import { COL } from "../live/protocol.ts";
import type { Place } from "../live/protocol.ts";
import { worthwhile } from "../live/store.ts";
import type { Changes, Store } from "../live/store.ts";
import type { App, View } from "../shell/view.ts";
import { Chart } from "./chart.ts";
import { Drawer } from "./drawer.ts";
import { drawSkeleton, showEmpty } from "./empty.ts";
import { Flow } from "./flow.ts";
import { Timeframes, hintAtMore, showChips, showSymbol, titleOf } from "./header.ts";
import { groupsOf } from "./indicators.ts";
import type { Group } from "./indicators.ts";
import { showLegends } from "./legend.ts";
import { possibleTimeframe, readLink, usualTimeframe, writeLink } from "./link.ts";
import { Values } from "./values.ts";
import { WatchList } from "./watch.ts";

const SETTLING_MS = 15_000;

export const openSymbol = (_: HTMLElement, app: App): View => new SymbolView(app);

class SymbolView implements View {
  readonly #store: Store;
  readonly #values = new Values();
  readonly #flow = new Flow();
  readonly #drawer = new Drawer(byId("watch"), byId("open-list"), byId("backdrop"), byId("watch-list"));
  readonly #chart = new Chart(byId("chart"), readPalette(), () => this.#look(), (atNewest) => (byId("to-now").hidden = atNewest));
  readonly #watch: WatchList;
  readonly #timeframes: Timeframes;
  /** What the address asks for; the symbol may be one that nobody has heard of. */
  #asked: Partial<Place> = {};
  #place: Place | null = null;
  /** The timeframe that was chosen; a symbol without it is shown in another one. */
  #wanted: string | null = null;
  /** Nobody chose the symbol: a better one may still come. */
  #settledAlone = false;
  #settleUntil = Infinity;
  #groups: Group[] = [];
  #switched = readSwitches();
  #decimals = 2;

  constructor(private readonly app: App) {
    this.#store = app.store;
    this.#watch = new WatchList(app.store, (symbol) => this.#choose(symbol));
    this.#timeframes = new Timeframes((timeframe) => {
      if (!this.#place) return;
      this.#wanted = timeframe;
      remember("timeframe", timeframe);
      this.#go({ symbol: this.#place.symbol, timeframe });
    });
    byId("to-now").addEventListener("click", () => this.#chart.toNow());
    hintAtMore(byId("chips"));
    drawSkeleton();
  }

  enter(rest: string): void {
    this.#asked = readLink(rest);
    const { symbol, timeframe } = this.#asked;
    if (this.#store.quotes.size === 0) return; // the first frame settles it
    this.#settledAlone = false;
    if (symbol) this.#see({ symbol, timeframe: timeframe ?? this.#timeframeOf(symbol) });
    else if (this.#place) this.#go(this.#place, true);
    else this.#settle();
    this.#drawAll();
  }

  leave(): void {
    this.#drawer.close();
    document.body.dataset["state"] = "shown";
  }

  draw(changes: Changes): void {
    if (changes.columns) this.#groups = groupsOf(this.#store.columns);
    if (changes.quotes.size && (!this.#place || (this.#settledAlone && performance.now() < this.#settleUntil))) this.#settle();
    if (changes.chart === "whole" || (changes.columns && this.#store.chart !== null)) this.#showWhole();
    else if (changes.chart === "between" && this.#isShown()) this.#chart.refill();
    else if (changes.rows.length && this.#isShown()) this.#chart.update(changes.rows);
    if (changes.quotes.size || changes.sparks || changes.symbols) this.#watch.refresh(changes.symbols);
    if (this.#place && (changes.chart !== "none" || changes.quotes.has(this.#place.symbol))) this.#showHeader(this.#place);
    if (changes.figures) this.#flow.show(this.#store);
    this.#showState();
  }

  restyle(): void {
    this.#chart.restyle(readPalette());
    if (this.#isShown()) this.#arrange();
  }

  /** The view was away meanwhile. */
  #drawAll(): void {
    this.#groups = groupsOf(this.#store.columns);
    this.#showWhole();
    this.#watch.refresh(true);
    if (this.#place) this.#showHeader(this.#place);
    this.#flow.show(this.#store);
    this.#showState();
  }

  #showHeader(place: Place): void {
    showSymbol(this.#store, place, this.#decimals);
    this.app.title(titleOf(this.#store, place, this.#decimals));
  }

  #isShown(): boolean {
    const { chart } = this.#store;
    return chart !== null && chart.symbol === this.#place?.symbol && chart.timeframe === this.#place.timeframe;
  }

  /** Draw the chart from its beginning: another symbol, timeframe, set of columns or of switches. */
  #showWhole(): void {
    const place = this.#place;
    if (!place || !this.#isShown() || !this.#store.chart) return;
    const { rows } = this.#store.chart;
    this.#decimals = decimalsOf(rows.slice(-80).map((row) => row[COL.close] ?? null));
    this.#chart.show(this.#groups.filter((g) => this.#isOn(g)), place, this.#decimals, rows);
    this.#timeframes.show(this.#store.timeframes, this.#store.quotes.get(place.symbol)?.timeframes ?? [], place.timeframe);
    set(byId("chart"), "aria-label", `Candle chart of ${place.symbol}, ${place.timeframe} bars, ${rows.length} shown`);
    this.#arrange();
  }

  /** What stands around the chart: switches, values, legends. */
  #arrange(): void {
    const on = new Set(this.#groups.filter((g) => this.#isOn(g)).map((g) => g.id));
    showChips(this.#groups, on, (g) => this.#chart.colorOf(g, 0), (id) => this.#toggle(id));
    this.#values.arrange(this.#groups, this.#chart);
    this.#look();
  }

  #look(): void {
    if (!this.#place) return;
    showLegends(this.#chart, this.#groups.filter((g) => this.#isOn(g)), this.#place.timeframe, this.#decimals);
    this.#values.show(this.#chart, this.#decimals);
  }

  #showState(): void {
    const nothing = this.#store.figures !== null && this.#store.quotes.size === 0;
    const rowless = this.#isShown() && this.#store.chart?.rows.length === 0;
    const waiting = !nothing && !this.#isShown();
    document.body.dataset["state"] = nothing ? "empty" : waiting ? "loading" : rowless ? "rowless" : "shown";
    showEmpty(nothing ? this.#store.figures : null, rowless ? this.#place : null);
  }

  // What a person chooses

  /** The first place: what the address asks for, else the last one seen, else the most worthwhile symbol. */
  #settle(): void {
    const kept = readLink(remembered("place") ?? "");
    const named = this.#asked.symbol ?? (kept.symbol && this.#store.quotes.has(kept.symbol) ? kept.symbol : null);
    const alone = named === null;
    const symbol = named ?? worthwhile(this.#store, this.#place?.symbol ?? null, performance.now());
    this.#settleUntil = Math.min(this.#settleUntil, performance.now() + SETTLING_MS);
    if (symbol === null) return;
    this.#wanted ??= this.#asked.timeframe ?? remembered("timeframe");
    const timeframe = alone ? this.#timeframeOf(symbol) : (this.#asked.timeframe ?? this.#timeframeOf(symbol));
    this.#go({ symbol, timeframe }, true, !alone);
    this.#asked = alone ? {} : this.#asked;
    this.#settledAlone = alone;
  }

  #timeframeOf(symbol: string): string {
    const has = this.#store.quotes.get(symbol)?.timeframes ?? [];
    // Nobody chose: what the spark-line is drawn of has enough bars for a chart.
    return possibleTimeframe(this.#wanted ?? this.#store.sparks.get(symbol)?.timeframe ?? usualTimeframe(has), has);
  }

  #choose(symbol: string): void {
    this.#go({ symbol, timeframe: this.#timeframeOf(symbol) });
    this.#drawer.close();
  }

  /** Show a chart and its address. `keep`: remember it for the next visit. */
  #go(place: Place, replace = false, keep = true): void {
    if (keep) remember("place", writeLink(place));
    const address = writeLink(place);
    if (location.hash === address) this.#see(place);
    else this.app.go(address, replace); // which enters it
  }

  #see(place: Place): void {
    const same = place.symbol === this.#place?.symbol && place.timeframe === this.#place.timeframe;
    this.#place = place;
    this.#watch.choose(place.symbol);
    this.#timeframes.show(this.#store.timeframes, this.#store.quotes.get(place.symbol)?.timeframes ?? [], place.timeframe);
    this.app.want({ chart: place, parts: [] });
    if (!same) this.#showHeader(place);
  }

  #isOn(group: Group): boolean {
    return this.#switched[group.id] ?? (group.onAtFirst || (group.id.startsWith("macd") && window.innerHeight >= 1_100));
  }

  #toggle(id: string): void {
    const group = this.#groups.find((g) => g.id === id);
    if (!group) return;
    this.#switched = { ...this.#switched, [id]: !this.#isOn(group) };
    remember("indicators", JSON.stringify(this.#switched));
    this.#showWhole();
  }
}

function readSwitches(): Record<string, boolean> {
  try {
    const kept: unknown = JSON.parse(remembered("indicators") ?? "{}");
    return typeof kept === "object" && kept !== null ? (kept as Record<string, boolean>) : {};
  } catch {
    return {};
  }
}
