/** The view of one symbol: its chart, its figures, and the list to choose another from. */

import "./style/symbol.css";
import "./style/watch.css";
import "./style/side.css";
import "./style/narrow.css";

import { byId, remember, remembered } from "../base/dom.ts";
import type { Place } from "../live/protocol.ts";
import { worthwhile } from "../live/store.ts";
import type { Changes, Store } from "../live/store.ts";
import type { App, View } from "../shell/view.ts";
import { Drawer } from "./drawer.ts";
import { drawSkeleton, showEmpty } from "./empty.ts";
import { Flow } from "./flow.ts";
import { Timeframes, hintAtMore, showSymbol, titleOf } from "./header.ts";
import { possibleTimeframe, readChoice, readLink, usualTimeframe, writeLink } from "./link.ts";
import { Screen } from "./screen.ts";
import { WatchList } from "./watch.ts";

const SETTLING_MS = 15_000;

export const openSymbol = (_: HTMLElement, app: App): View => new SymbolView(app);

class SymbolView implements View {
  readonly #store: Store;
  readonly #flow = new Flow();
  readonly #drawer = new Drawer(byId("watch"), byId("open-list"), byId("backdrop"), byId("watch-list"));
  readonly #screen: Screen;
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
  /** A chart was shown: what else belongs to it may come now. */
  #begun = false;
  /** Another view has the place, so what is drawn grows old. */
  #away = true;

  constructor(private readonly app: App) {
    this.#store = app.store;
    this.#screen = new Screen(app.store, () => this.#writeAddress());
    this.#watch = new WatchList(app.store, (symbol) => this.#choose(symbol));
    this.#timeframes = new Timeframes((timeframe) => {
      if (!this.#place) return;
      this.#wanted = timeframe;
      remember("timeframe", timeframe);
      this.#go({ symbol: this.#place.symbol, timeframe });
    });
    hintAtMore(byId("chips"));
    drawSkeleton();
  }

  enter(rest: string): void {
    if (!this.#away && this.#place && `#${rest}` === writeLink(this.#place, this.#screen.link)) return;
    this.#away = false;
    this.#asked = readLink(rest);
    this.#screen.read(readChoice(rest));
    const { symbol, timeframe } = this.#asked;
    if (this.#store.quotes.size === 0) return; // the first frame settles it
    this.#settledAlone = false;
    if (symbol) this.#see({ symbol, timeframe: timeframe ?? this.#timeframeOf(symbol) });
    else if (this.#place) this.#go(this.#place, true);
    else this.#settle();
    this.#drawAll();
  }

  leave(): void {
    this.#away = true;
    this.#drawer.close();
    this.#screen.leave();
    document.body.dataset["state"] = "shown";
  }

  draw(changes: Changes): void {
    if (changes.quotes.size && (!this.#place || (this.#settledAlone && performance.now() < this.#settleUntil))) this.#settle();
    this.#screen.draw(changes);
    if (changes.chart === "whole") {
      this.#showTimeframes();
      this.#begin();
    }
    if (changes.quotes.size || changes.sparks || changes.symbols) this.#watch.refresh(changes.symbols);
    if (this.#place && (changes.chart !== "none" || changes.quotes.has(this.#place.symbol))) this.#showHeader(this.#place);
    if (changes.figures) this.#flow.show(this.#store);
    this.#showState();
  }

  #begin(): void {
    if (this.#begun || !this.#place) return;
    this.#begun = true;
    this.app.want({ chart: this.#place, parts: ["alerts"] });
  }

  restyle(): void {
    this.#screen.restyle();
  }

  /** The view was away meanwhile. */
  #drawAll(): void {
    this.#screen.begin();
    this.#showTimeframes();
    this.#watch.refresh(true);
    if (this.#place) this.#showHeader(this.#place);
    this.#flow.show(this.#store);
    this.#showState();
  }

  #showHeader(place: Place): void {
    showSymbol(this.#store, place, this.#screen.decimals);
    this.app.title(titleOf(this.#store, place, this.#screen.decimals));
  }

  #showTimeframes(): void {
    if (!this.#place) return;
    this.#timeframes.show(this.#store.timeframes, this.#store.quotes.get(this.#place.symbol)?.timeframes ?? [], this.#place.timeframe);
  }

  #showState(): void {
    const nothing = this.#store.figures !== null && this.#store.quotes.size === 0;
    const rowless = this.#screen.isShown && this.#store.chart?.rows.length === 0;
    const waiting = !nothing && !this.#screen.isShown;
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
    const same = place.symbol === this.#place?.symbol && place.timeframe === this.#place.timeframe;
    if (!same && !replace) this.#screen.closeReceipt();
    const address = writeLink(place, this.#screen.link);
    if (location.hash === address) this.#see(place);
    else this.app.go(address, replace); // which enters it
  }

  /** The same place with other choices: the address follows, without a step in the browser's history. */
  #writeAddress(): void {
    if (!this.#place || byId("view-symbol").hidden) return;
    const address = writeLink(this.#place, this.#screen.link);
    if (location.hash !== address) this.app.go(address, true);
  }

  #see(place: Place): void {
    const same = place.symbol === this.#place?.symbol && place.timeframe === this.#place.timeframe;
    this.#place = place;
    this.#screen.see(place);
    this.#watch.choose(place.symbol);
    this.#showTimeframes();
    this.app.want({ chart: place, parts: this.#begun ? ["alerts"] : [] });
    if (!same) this.#showHeader(place);
    this.#writeAddress();
  }
}
