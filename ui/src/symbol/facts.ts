/** What is known of the shown time beside bars: the exchange's sessions, and the alerts. */

import { ask } from "../base/api.ts";
import type { Place, Row } from "../live/protocol.ts";
import type { AlertMark } from "./marks.ts";
import type { Session } from "./session.ts";

const AHEAD_MS = 3 * 86_400_000;
const EVERY_MS = 20_000;
const ALERTS_MAX = 1_000;

export class Facts {
  sessions: Session[] = [];
  calendar = "";
  alerts: AlertMark[] = [];
  #place: Place | null = null;
  #daysTo = -Infinity; // how far the sessions are known
  #from = Infinity;
  #to = -Infinity;
  #askedAt = -Infinity;
  #abort = new AbortController();

  constructor(private readonly onFacts: () => void) {}

  /** Of a series from its first row to its last; asked again as it grows. */
  follow(place: Place, rows: readonly Row[]): void {
    const [from, to] = [rows[0]?.[0] ?? null, rows.at(-1)?.[1] ?? null];
    if (from === null || to === null) return;
    const same = this.#place?.symbol === place.symbol && this.#place.timeframe === place.timeframe;
    if (!same) {
      this.#abort.abort();
      this.#abort = new AbortController();
      [this.sessions, this.alerts, this.calendar, this.#daysTo] = [[], [], "", -Infinity];
      this.onFacts();
    }
    const now = performance.now();
    if (same && from >= this.#from && (to <= this.#to || now - this.#askedAt < EVERY_MS)) return;
    if (from < this.#from) this.#daysTo = -Infinity;
    [this.#place, this.#from, this.#to, this.#askedAt] = [place, from, to, now];
    void this.#load(place, from, to);
  }

  async #load({ symbol, timeframe }: Place, from: number, to: number): Promise<void> {
    const { signal } = this.#abort;
    const known = timeframe.endsWith("d") || to <= this.#daysTo;
    const sessions = known
      ? Promise.resolve({ calendar: this.calendar, sessions: this.sessions })
      : ask<{ calendar: string; sessions: Session[] }>("/api/chart/sessions", { symbol, from_ms: from, to_ms: to + AHEAD_MS }, signal);
    const alerts = ask<{ alerts: AlertMark[] }>("/api/chart/alerts", { symbol, from_ms: from, limit: ALERTS_MAX }, signal);
    const [days, told] = await Promise.allSettled([sessions, alerts]);
    if (signal.aborted) return;
    // What cannot be told is left out: the chart stands without it, and it is asked for again.
    if (days.status === "fulfilled") [this.sessions, this.calendar] = [days.value.sessions, days.value.calendar];
    if (days.status === "fulfilled" && !known) this.#daysTo = to + AHEAD_MS;
    if (told.status === "fulfilled") this.alerts = told.value.alerts.filter((alert) => alert.state !== "withdrawn");
    if (days.status === "rejected" || told.status === "rejected") this.#to = -Infinity;
    this.onFacts();
  }
}
