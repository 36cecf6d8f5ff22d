/** The market's symbols in one: the quotes of the store, and what the part `market` says of their sessions. Pure. */

import type { Quote, Store } from "../live/store.ts";
import { changeOf } from "../live/store.ts";
import { direction } from "../base/format.ts";

/** The part `market`: lists of one length. `whole`: forget what was known. */
export interface MarketPart {
  whole: boolean;
  symbol: string[];
  date: number[];
  open: number[];
  high: number[];
  low: number[];
  /** null where a source gives no volume; so is the value. */
  volume: (number | null)[];
  /** Sum of price × size. */
  value: (number | null)[];
  trades: number[];
  /** Percent an hour. */
  volatility: (number | null)[];
  volatility_of: (string | null)[];
}

export interface Traded {
  date: number;
  open: number;
  high: number;
  low: number;
  volume: number | null;
  value: number | null;
  trades: number;
  volatility: number | null;
  volatilityOf: string | null;
}

export class Sessions {
  readonly of = new Map<string, Traded>();

  take(part: MarketPart): void {
    if (part.whole) this.of.clear();
    part.symbol.forEach((symbol, i) => {
      this.of.set(symbol, {
        date: part.date[i]!, open: part.open[i]!, high: part.high[i]!, low: part.low[i]!, volume: part.volume[i] ?? null,
        value: part.value[i] ?? null, trades: part.trades[i]!, volatility: part.volatility[i] ?? null, volatilityOf: part.volatility_of[i] ?? null,
      });
    });
  }
}

/** One symbol, as it is sorted, filtered and counted. */
export interface Line {
  quote: Quote;
  traded: Traded | undefined;
  percent: number | null;
}

export function linesOf(store: Store, sessions: Sessions): Line[] {
  return [...store.quotes.values()].map((quote) => ({
    quote, traded: sessions.of.get(quote.symbol), percent: changeOf(quote)?.percent ?? null,
  }));
}

export type Direction = "up" | "down" | "flat";

export interface Breadth {
  up: number;
  down: number;
  flat: number;
  /** Of those whose session's open is known: how many trade above it, and how many there are. */
  aboveOpen: number;
  withOpen: number;
  value: number;
}

export function breadthOf(lines: readonly Line[]): Breadth {
  const found: Breadth = { up: 0, down: 0, flat: 0, aboveOpen: 0, withOpen: 0, value: 0 };
  for (const { quote, traded, percent } of lines) {
    if (percent !== null) found[direction(percent)] += 1;
    if (traded && quote.last !== null) {
      found.withOpen += 1;
      if (quote.last > traded.open) found.aboveOpen += 1;
    }
    found.value += traded?.value ?? 0;
  }
  return found;
}

export type Ranking = "gainers" | "losers" | "active" | "volatile";

/** The first `count` by what the ranking asks; only those that it says something of. */
export function rank(lines: readonly Line[], ranking: Ranking, count: number): Line[] {
  const by = MEASURES[ranking];
  return lines
    .map((line) => ({ line, measure: by(line) }))
    .filter((of): of is { line: Line; measure: number } => of.measure !== null && of.measure > 0)
    .sort((a, b) => b.measure - a.measure || byName(a.line, b.line))
    .slice(0, count)
    .map(({ line }) => line);
}

const MEASURES: Record<Ranking, (line: Line) => number | null> = {
  gainers: ({ percent }) => (direction(percent) === "up" ? percent : null),
  losers: ({ percent }) => (direction(percent) === "down" ? -percent! : null),
  active: ({ traded }) => traded?.value ?? null,
  volatile: ({ traded }) => traded?.volatility ?? null,
};

export const COLUMNS = ["symbol", "last", "change", "value", "volume", "trades", "volatility", "range", "time"] as const;
export type Column = (typeof COLUMNS)[number];

/** What a column is sorted by; null goes last, either way. */
export function measure({ quote, traded, percent }: Line, column: Column): number | string | null {
  switch (column) {
    case "symbol":
      return quote.symbol;
    case "last":
      return quote.last;
    case "change":
      return percent;
    case "time":
      return quote.lastTimeMs > 0 ? quote.lastTimeMs : null;
    case "range":
      return traded && traded.low > 0 ? (traded.high - traded.low) / traded.low : null;
    default:
      return traded?.[column] ?? null;
  }
}

export interface Wanted {
  sort: Column;
  down: boolean;
  text: string;
  venue: string;
  kind: "all" | "real" | "simulated";
  direction: "all" | Direction;
}

export const USUAL: Wanted = { sort: "value", down: true, text: "", venue: "", kind: "all", direction: "all" };

export function select(lines: readonly Line[], wanted: Wanted): Line[] {
  const text = wanted.text.trim().toUpperCase();
  const kept = lines.filter(
    ({ quote, percent }) =>
      (!text || quote.symbol.toUpperCase().includes(text)) &&
      (!wanted.venue || (quote.venue ?? NO_VENUE) === wanted.venue) &&
      (wanted.kind === "all" || quote.simulated === (wanted.kind === "simulated")) &&
      (wanted.direction === "all" || (percent !== null && direction(percent) === wanted.direction)),
  );
  const keyed = kept.map((line) => ({ line, key: measure(line, wanted.sort) }));
  keyed.sort((a, b) => compare(a.key, b.key, wanted.down) || byName(a.line, b.line));
  return keyed.map(({ line }) => line);
}

export const NO_VENUE = "none";

export function venuesOf(lines: readonly Line[]): string[] {
  return [...new Set(lines.map(({ quote }) => quote.venue ?? NO_VENUE))].sort();
}

function compare(a: number | string | null, b: number | string | null, down: boolean): number {
  if (a === null || b === null) return a === b ? 0 : a === null ? 1 : -1;
  return a === b ? 0 : (a < b ? -1 : 1) * (down ? -1 : 1);
}

function byName(a: Line, b: Line): number {
  return a.quote.symbol < b.quote.symbol ? -1 : 1;
}
