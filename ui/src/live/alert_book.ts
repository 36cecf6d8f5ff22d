/** The alerts that the page knows: what came live and what was stored, each as its highest revision says. Pure. */

export type State = "raised" | "cleared" | "withdrawn";

/** One change of an alert. */
export interface Change {
  id: string;
  symbol: string;
  rule: string;
  /** Nanoseconds, as text: a double cannot hold them. */
  eventNs: string;
  atMs: number;
  severity: string;
  timeframe: string;
  openMs: number;
  state: State;
  late: boolean;
  value: number | null;
  message: string;
  revision: number;
  partition: number | null;
  offset: number | null;
}

/** A row of the part `alerts`, as web/alerts_feed.py sends it. */
type LiveRow = [string, string, string, string, string, number, State, string | null, boolean, number | null, string, number, number | null, number | null];

/** A row of /api/alerts. */
export interface StoredAlert {
  symbol: string;
  rule: string;
  severity: string;
  timeframe: string;
  open_time_ms: number;
  event_time_ns: string;
  state: State;
  late: boolean;
  value: number | null;
  message: string;
  revision: number;
  partition: number | null;
  last_offset: number | null;
}

/** The newest `next` of a page is its way to the one before it. */
export interface StoredPage {
  alerts: StoredAlert[];
  next: string | null;
}

const MOST = 20_000;
const LEFT = 16_000;

const idOf = (symbol: string, rule: string, eventNs: string): string => `${symbol}\n${rule}\n${eventNs}`;
const msOf = (eventNs: string): number => Number(BigInt(eventNs) / 1000n) / 1000;

function ofLive(row: LiveRow): Change {
  const [symbol, rule, eventNs, severity, timeframe, openMs, state, , late, value, message, revision, partition, offset] = row;
  return { id: idOf(symbol, rule, eventNs), symbol, rule, eventNs, atMs: msOf(eventNs), severity, timeframe, openMs, state, late, value, message, revision, partition, offset };
}

function ofStored(row: StoredAlert): Change {
  const { symbol, rule, severity, timeframe, open_time_ms: openMs, event_time_ns: eventNs, state, late, value, message, revision, partition, last_offset: offset } = row;
  return { id: idOf(symbol, rule, eventNs), symbol, rule, eventNs, atMs: msOf(eventNs), severity, timeframe, openMs, state, late, value, message, revision, partition, offset };
}

/** Oldest first; at one instant by symbol and rule, as the server orders them. */
function inOrder(a: Change, b: Change): number {
  if (a.eventNs.length !== b.eventNs.length) return a.eventNs.length - b.eventNs.length;
  if (a.eventNs !== b.eventNs) return a.eventNs < b.eventNs ? -1 : 1;
  return a.id < b.id ? -1 : a.id > b.id ? 1 : 0;
}

export class AlertBook {
  readonly #changes = new Map<string, Change>();
  /** How often the server has told all it holds: at the beginning, and after a page was away. */
  wholes = 0;

  /** The items of the part: rows, and `whole` where all that the server holds begins. What was known stays. */
  take(items: readonly unknown[]): void {
    for (const item of items) {
      if (item === "whole") this.wholes += 1;
      else this.#put(ofLive(item as LiveRow));
    }
    if (this.#changes.size > MOST) for (const { id } of this.all().slice(0, -LEFT)) this.#changes.delete(id);
  }

  takeStored(rows: readonly StoredAlert[]): void {
    for (const row of rows) this.#put(ofStored(row));
  }

  /** Oldest first. */
  all(): Change[] {
    return [...this.#changes.values()].sort(inOrder);
  }

  /** Those of a symbol that were not withdrawn, oldest first. */
  of(symbol: string): Change[] {
    return [...this.#changes.values()].filter((one) => one.symbol === symbol && one.state !== "withdrawn").sort(inOrder);
  }

  #put(change: Change): void {
    const known = this.#changes.get(change.id);
    if (!known || known.revision <= change.revision) this.#changes.set(change.id, change);
  }
}
