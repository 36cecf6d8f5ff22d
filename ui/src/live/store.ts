/** What the page knows, built from frames. Pure: no DOM, no socket. */

import { AlertBook } from "./alert_book.ts";
import type { ChartPart, Figures, Frame, QuoteColumns, Row, Session, Spark, SymbolRow, Wish } from "./protocol.ts";

export interface Quote {
  symbol: string;
  last: number | null;
  lastTimeMs: number;
  reference: number | null;
  referenceKind: "previous_close" | "session_open";
  simulated: boolean;
  venue: string | null;
  /** The timeframes that it has bars of. */
  timeframes: string[];
  /** The newest best bid and ask; null where no quote is known. */
  bid: number | null;
  bidSize: number | null;
  ask: number | null;
  askSize: number | null;
}

/** What a frame changed, so that only that is drawn again. */
export interface Changes {
  quotes: Set<string>;
  sparks: boolean;
  symbols: boolean;
  columns: boolean;
  figures: boolean;
  /** `between`: rows went in between others, so that all are to be drawn again, in the same chart. */
  chart: "none" | "rows" | "between" | "whole";
  rows: Row[];
  /** The parts that came, by name. */
  parts: Record<string, unknown>;
}

export const NO_CHANGES: Changes = {
  quotes: new Set(), sparks: false, symbols: false, columns: false, figures: false, chart: "none", rows: [], parts: {},
};

const ROWS_MAX = 500;
const WEIGHT = { none: 0, rows: 1, between: 2, whole: 3 };

/** What two frames changed, one after the other. Of a part the later one stays, but lists of changes are joined. */
export function together(first: Changes, then: Changes): Changes {
  if (first === NO_CHANGES) return then;
  const rows = [...first.rows, ...then.rows];
  const chart = WEIGHT[then.chart] > WEIGHT[first.chart] ? then.chart : first.chart;
  const many = rows.length > ROWS_MAX; // a page in the background draws nothing for long: then all are drawn again
  return {
    quotes: new Set([...first.quotes, ...then.quotes]),
    sparks: first.sparks || then.sparks,
    symbols: first.symbols || then.symbols,
    columns: first.columns || then.columns,
    figures: first.figures || then.figures,
    chart: many && chart === "rows" ? "between" : chart,
    rows: many ? [] : rows,
    parts: joined(first.parts, then.parts),
  };
}

function joined(first: Record<string, unknown>, then: Record<string, unknown>): Record<string, unknown> {
  const found = { ...first, ...then };
  for (const [name, later] of Object.entries(then)) {
    const earlier = first[name];
    if (Array.isArray(earlier) && Array.isArray(later)) found[name] = [...(earlier as unknown[]), ...(later as unknown[])];
  }
  return found;
}

export interface FigureSample {
  atMs: number;
  eventsPerS: number | null;
  p50: number | null;
  p99: number | null;
  deadLetters: number | null;
}

const SAMPLES_MAX = 120;

export class Store {
  seq: number | null = null;
  #run: string | null = null;
  #generation = 0;
  #shown: Wish = { chart: null, parts: [] };
  #symbols = new Map<number, SymbolRow>();
  readonly #followers = new Map<string, (changes: unknown) => void>();
  columns: string[] = [];
  timeframes: string[] = [];
  quotes = new Map<string, Quote>();
  sparks = new Map<string, Spark>();
  /** How often each symbol's price was seen to change, and when last. */
  moves = new Map<string, { count: number; lastMs: number }>();
  readonly alerts = new AlertBook();
  figures: Figures | null = null;
  samples: FigureSample[] = [];
  chart: { symbol: string; timeframe: string; rows: Row[]; session: Session | null } | null = null;

  /** Take a frame in. Null when it does not follow the last one: ask for the whole again. */
  apply(frame: Frame, nowMs = 0): Changes | null {
    if (frame.after !== null && frame.after !== this.seq) return null;
    const changes: Changes = {
      quotes: new Set(),
      sparks: frame.sparks !== undefined,
      symbols: false,
      columns: frame.columns !== undefined,
      figures: frame.figures !== undefined,
      chart: "none",
      rows: [],
      parts: frame.parts ?? {},
    };
    if (frame.after === null) {
      changes.symbols = true;
      this.#symbols.clear();
      this.quotes.clear();
      this.sparks.clear();
    }
    this.seq = frame.seq;
    if (frame.run !== undefined) this.#run = frame.run;
    if (frame.generation !== undefined) this.#generation = frame.generation;
    if (frame.shown) this.#shown = frame.shown;
    if (frame.columns) this.columns = frame.columns;
    if (frame.timeframes) this.timeframes = frame.timeframes;
    for (const row of frame.symbols ?? []) this.#symbols.set(row[0], row);
    if (frame.quotes) this.#applyQuotes(frame.quotes, changes, nowMs);
    for (const [symbol, spark] of Object.entries(frame.sparks ?? {})) this.sparks.set(symbol, spark);
    if (frame.chart) this.#applyChart(frame.chart, changes);
    if (frame.figures) this.#applyFigures(frame.figures);
    const told = frame.parts?.["alerts"];
    if (Array.isArray(told)) this.alerts.take(told as unknown[]);
    for (const [name, part] of Object.entries(frame.parts ?? {})) this.#followers.get(name)?.(part);
    return changes;
  }

  /** Hear of every step of a part, in order: `Changes.parts` has the newest one only, where several came between two drawings. */
  follow(part: string, take: (changes: unknown) => void): void {
    this.#followers.set(part, take);
  }

  /** Where this page stands, for a server that goes on from there; null before the first frame. */
  place(): string | null {
    if (this.seq === null || this.#run === null) return null;
    return JSON.stringify({ run: this.#run, generation: this.#generation, seq: this.seq, shown: this.#shown });
  }

  #applyQuotes(columns: QuoteColumns, changes: Changes, nowMs: number): void {
    const { until, id, last: lasts, ago } = columns;
    for (let i = 0; i < id.length; i++) {
      const row = this.#symbols.get(id[i]!);
      if (!row) continue; // the server names a symbol before its first price
      const [, symbol, reference, referenceKind, simulated, venue, timeframes] = row;
      const last = lasts[i] ?? null;
      const before = this.quotes.get(symbol);
      if (!before) changes.symbols = true;
      else if (before.last !== last) this.#noteMove(symbol, nowMs);
      this.quotes.set(symbol, {
        symbol, last, lastTimeMs: until - ago[i]!, reference, referenceKind, simulated, venue, timeframes,
        bid: columns.bid?.[i] ?? null, bidSize: columns.bid_size?.[i] ?? null,
        ask: columns.ask?.[i] ?? null, askSize: columns.ask_size?.[i] ?? null,
      });
      changes.quotes.add(symbol);
    }
  }

  #noteMove(symbol: string, nowMs: number): void {
    const moves = this.moves.get(symbol);
    if (!moves) this.moves.set(symbol, { count: 1, lastMs: nowMs });
    else {
      moves.count += 1;
      moves.lastMs = nowMs;
    }
  }

  #applyChart(part: ChartPart, changes: Changes): void {
    const chart = this.chart;
    const same = chart?.symbol === part.symbol && chart.timeframe === part.timeframe;
    if (part.whole && same && chart.rows.length && part.rows.length) {
      chart.session = part.session; // bars were withdrawn, or others were missed: in the chart that is there
      chart.rows.splice(0, chart.rows.length, ...part.rows);
      changes.chart = "between";
      return;
    }
    if (part.whole || !chart || !same) {
      this.chart = { symbol: part.symbol, timeframe: part.timeframe, rows: part.rows, session: part.session };
      changes.chart = "whole";
      return;
    }
    chart.session = part.session;
    changes.chart = upsertRows(chart.rows, part.rows) ? "rows" : "between";
    changes.rows = part.rows;
  }

  #applyFigures(figures: Figures): void {
    this.figures = figures;
    this.samples.push({
      atMs: figures.now_ms,
      eventsPerS: figures.events_per_s,
      p50: figures.latency_p50_ms,
      p99: figures.latency_p99_ms,
      deadLetters: figures.dead_letters,
    });
    if (this.samples.length > SAMPLES_MAX) this.samples.shift();
  }
}

/**
 * Put rows into their places by open time (the first column), replacing rows that are there.
 * Both are sorted. False when a row had to go in between others.
 */
export function upsertRows(rows: Row[], changed: Row[]): boolean {
  let inOrder = true;
  for (const row of changed) {
    const time = row[0] as number;
    let at = rows.length;
    while (at > 0 && (rows[at - 1]![0] as number) >= time) at--;
    if (at < rows.length && rows[at]![0] === time) rows[at] = row;
    else {
      if (at < rows.length) inOrder = false;
      rows.splice(at, 0, row);
    }
  }
  return inOrder;
}

const FRESH_MS = 120_000;
const LIVELY_MOVES = 5;
const LIVELY_MS = 3_000;

/**
 * What to look at when nobody said: real data that moves, then simulated data that moves, then any.
 * Among equals the one that is looked at already, else the first by name. `nowMs`: as given to `apply`.
 */
export function worthwhile(store: Store, looked: string | null, nowMs: number): string | null {
  const quotes = [...store.quotes.values()];
  const newest = Math.max(...quotes.map((q) => q.lastTimeMs));
  const rank = (q: Quote): number => {
    const moves = store.moves.get(q.symbol);
    const moving = moves !== undefined && moves.count >= LIVELY_MOVES && nowMs - moves.lastMs < LIVELY_MS;
    return (moving || q.lastTimeMs > newest - FRESH_MS ? 2 : 0) + (q.simulated ? 0 : 1);
  };
  const first = (q: Quote): number => (q.symbol === looked ? 0 : 1);
  quotes.sort((a, b) => rank(b) - rank(a) || first(a) - first(b) || (a.symbol < b.symbol ? -1 : 1));
  return quotes[0]?.symbol ?? null;
}

/** The change against the reference, as a difference and in percent. Null where one is not known. */
export function changeOf(quote: Quote): { difference: number; percent: number } | null {
  if (quote.last === null || quote.reference === null || quote.reference === 0) return null;
  const difference = quote.last - quote.reference;
  return { difference, percent: (100 * difference) / quote.reference };
}
