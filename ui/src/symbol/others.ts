/** The bars of the symbols that are compared: asked for as far back as the chart goes, then kept live. */

import { Refused, ask } from "../base/api.ts";
import { COL } from "../live/protocol.ts";
import type { Place, Row } from "../live/protocol.ts";
import type { Quote } from "../live/store.ts";
import { Bars } from "./bars.ts";
import type { BarsPage } from "./history.ts";

const PAGE_MAX = 10_000;
const AGAIN_MS = 15_000;

interface Series {
  symbol: string;
  bars: Bars;
}

export class Others {
  problem = "";
  #series: Series[] = [];
  #place: Place | null = null;
  #abort = new AbortController();
  #newest = 0;
  #askedAt = -Infinity;

  /** `onRows`: bars have come. */
  constructor(private readonly onRows: () => void) {}

  get list(): { symbol: string; rows: readonly Row[] }[] {
    return this.#series.map(({ symbol, bars }) => ({ symbol, rows: bars.rows }));
  }

  /** These symbols, in the chart's timeframe, since its first row. */
  follow(place: Place, symbols: readonly string[], rows: readonly Row[]): void {
    const wanted = symbols.filter((symbol) => symbol !== place.symbol);
    const same = place.timeframe === this.#place?.timeframe;
    if (same && wanted.join("\n") === this.#series.map((s) => s.symbol).join("\n") && place.symbol === this.#place?.symbol) return;
    this.#abort.abort();
    this.#abort = new AbortController();
    this.#place = place;
    this.problem = "";
    const known = same ? this.#series : [];
    this.#series = wanted.map((symbol) => known.find((s) => s.symbol === symbol) ?? { symbol, bars: new Bars() });
    this.load(rows);
  }

  /** As far back as these rows go. */
  load(rows: readonly Row[]): void {
    const from = rows[0]?.[0];
    if (from === undefined || from === null) return;
    this.#newest = rows.at(-1)?.[0] ?? 0;
    this.#askedAt = performance.now();
    for (const series of this.#series) void this.#load(series, from);
  }

  /** The chart's newest row is this one now. */
  moved(newest: Row): void {
    if (!this.#series.length || newest[0] === this.#newest || performance.now() - this.#askedAt < AGAIN_MS) return;
    const from = this.#newest;
    this.#newest = newest[0] ?? 0;
    this.#askedAt = performance.now();
    for (const series of this.#series) void this.#load(series, from, true);
  }

  /** The newest prices, at the chart's newest bar. Whether anything changed. */
  take(quotes: ReadonlyMap<string, Quote>, changed: ReadonlySet<string>, newest: Row | undefined): boolean {
    let moved = false;
    for (const { symbol, bars } of this.#series) {
      const last = changed.has(symbol) ? (quotes.get(symbol)?.last ?? null) : null;
      if (last === null || !newest || !bars.rows.length) continue;
      const row: Row = [newest[0] ?? 0, newest[1] ?? 0];
      row[COL.close] = last;
      bars.change([row]);
      moved = true;
    }
    return moved;
  }

  async #load(series: Series, from: number, behind = false): Promise<void> {
    const { signal } = this.#abort;
    const place = this.#place;
    if (!place) return;
    try {
      const wish = { symbol: series.symbol, timeframe: place.timeframe, from_ms: from, limit: PAGE_MAX };
      const page = await ask<BarsPage>("/api/bars", wish, signal);
      if (signal.aborted) return;
      if (behind) series.bars.change(page.rows);
      else series.bars.begin(page.rows);
      this.onRows();
    } catch (error) {
      if (signal.aborted) return;
      this.problem = `${series.symbol}: ${error instanceof Refused ? error.message : String(error)}`;
      this.onRows();
    }
  }
}
