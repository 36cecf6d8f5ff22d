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

/** symbol, last, last_time_ms, reference, reference_kind, simulated, venue, timeframes, and the newest bid, its size, ask, its size */
export type QuoteRow = [
  string,
  number | null,
  number,
  number | null,
  "previous_close" | "session_open",
  boolean,
  string | null,
  string[],
  number | null,
  number | null,
  number | null,
  number | null,
];

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

export interface Figures {
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
  columns?: string[];
  timeframes?: string[];
  quotes?: QuoteRow[];
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
