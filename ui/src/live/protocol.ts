/** What the server sends over /ws: the JSON of marketpulse/web/frames.py. Times are milliseconds UTC. */

/** A symbol's chart. */
export interface Place {
  symbol: string;
  timeframe: string;
}

/** What a page wants to see beside the quotes of all symbols: a chart, and parts by their names. */
export interface Wish {
  chart: Place | null;
  parts: readonly string[];
}

/** What seldom changes of a symbol: its id in this run's frames, symbol, reference, reference_kind, simulated, venue, timeframes */
export type SymbolRow = [number, string, number | null, "previous_close" | "session_open", boolean, string | null, string[]];

/** Quotes as columns of one length. A price was made `ago` ms before `until`. A column of the book that has no number is left out. */
export interface QuoteColumns {
  until: number;
  id: number[];
  last: (number | null)[];
  ago: number[];
  bid?: (number | null)[];
  bid_size?: (number | null)[];
  ask?: (number | null)[];
  ask_size?: (number | null)[];
}

export interface Spark {
  timeframe: string;
  closes: number[];
}

/** The symbol's session so far; `volume` is null where no session bar is built. */
export interface Session {
  date: number;
  open: number;
  high: number;
  low: number;
  close: number;
  volume: number | null;
}

/** One number per column; null where there is no value. */
export type Row = (number | null)[];

export interface ChartPart {
  symbol: string;
  timeframe: string;
  whole: boolean;
  rows: Row[];
  session: Session | null;
}

/** Why the pipeline is not well, and what to do about it. */
export interface Reason {
  severity: "down" | "degraded";
  what: string;
  do: string;
}

export interface Figures {
  status: "starting" | "ok" | "degraded" | "down";
  /** The worst first. */
  reasons: Reason[];
  events_per_s: number | null;
  bars_per_s: number | null;
  latency_p50_ms: number | null;
  latency_p99_ms: number | null;
  lag_records: number | null;
  dead_letters: number | null;
  /** Null: not known yet. */
  broker_reachable: boolean | null;
  newest_row_ms: number | null;
  now_ms: number;
  symbols: number;
}

export interface Frame {
  seq: number;
  /** The frame that this one builds on; null: forget everything, this is the whole. */
  after: number | null;
  /** The server's run and the generation of its names: with `seq` and `shown` a page's place, to come back to. */
  run?: string;
  generation?: number;
  /** What the page is shown from this frame on. */
  shown?: Wish;
  columns?: string[];
  timeframes?: string[];
  /** New symbols, and those of which something changed that seldom does; each stands in `quotes` as well. */
  symbols?: SymbolRow[];
  quotes?: QuoteColumns;
  sparks?: Record<string, Spark>;
  chart?: ChartPart;
  figures?: Figures;
  /** What changed of the parts that were asked for. */
  parts?: Record<string, unknown>;
}

/** The columns that every row begins with; indicator values follow. */
export const COL = { open: 2, high: 3, low: 4, close: 5, volume: 6, vwap: 7, trades: 8, revision: 9 } as const;
export const BAR_WIDTH = 10;
/** The revision of a bar that has not closed yet. */
export const FORMING = -1;
