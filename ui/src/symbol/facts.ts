/** What is known of the shown time beside bars: the exchange's sessions, and the alerts. */

import { ask } from "../base/api.ts";
import type { AlertBook, Change, StoredPage } from "../live/alert_book.ts";
import type { Place, Row } from "../live/protocol.ts";
import type { Session } from "./session.ts";

const AHEAD_MS = 3 * 86_400_000;
const AGAIN_MS = 20_000; // what was refused is asked for again
const ALERTS_MAX = 1_000;

interface Days {
  from: number;
  to: number;
}

const NO_DAYS: Days = { from: Infinity, to: -Infinity };

export class Facts {
  sessions: Session[] = [];
  calendar = "";
  #place: Place | null = null;
  #days = NO_DAYS; // of which the sessions were asked for
  #alertsFrom = Infinity; // how far back the stored alerts were asked for
  #wholes = 0; // of the book, when that was
  #notBefore = -Infinity; // after a refusal
  #abort = new AbortController();

  /** What is stored of alerts goes into the book, where those that come live stand too. */
  constructor(
    private readonly book: AlertBook,
    private readonly onFacts: () => void,
  ) {}

  get alerts(): Change[] {
    return this.#place === null ? [] : this.book.of(this.#place.symbol);
  }

  /** Of a series from its first row to its last; asked again as it grows. */
  follow(place: Place, rows: readonly Row[]): void {
    const [from, to] = [rows[0]?.[0] ?? null, rows.at(-1)?.[1] ?? null];
    if (from === null || to === null) return;
    if (this.#place?.symbol !== place.symbol || this.#place.timeframe !== place.timeframe) {
      this.#abort.abort();
      this.#abort = new AbortController();
      [this.#place, this.sessions, this.calendar, this.#days] = [place, [], "", NO_DAYS];
      [this.#alertsFrom, this.#notBefore] = [Infinity, -Infinity];
      this.onFacts();
    }
    if (performance.now() < this.#notBefore) return;
    if (!place.timeframe.endsWith("d") && (from < this.#days.from || to > this.#days.to)) {
      this.#days = { from, to: to + AHEAD_MS };
      void this.#load(this.#sessions(place, this.#days), () => (this.#days = NO_DAYS));
    }
    const { wholes } = this.book;
    const away = wholes > Math.max(1, this.#wholes); // some may have been missed: all again
    if (from < this.#alertsFrom || away) {
      const to = away ? Infinity : this.#alertsFrom;
      [this.#alertsFrom, this.#wholes] = [from, wholes];
      void this.#load(this.#alerts(place, from, to), () => (this.#alertsFrom = Infinity));
    }
  }

  /** The chart stands without what is refused. */
  async #load(asked: Promise<void>, forget: () => void): Promise<void> {
    const { signal } = this.#abort;
    try {
      await asked;
    } catch {
      if (signal.aborted) return;
      forget();
      this.#notBefore = performance.now() + AGAIN_MS;
    }
    if (!signal.aborted) this.onFacts();
  }

  async #sessions({ symbol }: Place, { from, to }: Days): Promise<void> {
    const asked = { symbol, from_ms: from, to_ms: to };
    const told = await ask<{ calendar: string; sessions: Session[] }>("/api/chart/sessions", asked, this.#abort.signal);
    [this.sessions, this.calendar] = [told.sessions, told.calendar];
  }

  async #alerts({ symbol }: Place, from: number, to: number): Promise<void> {
    const asked = { symbol, from_ms: Math.floor(from), to_ms: to === Infinity ? null : Math.ceil(to), limit: ALERTS_MAX };
    this.book.takeStored((await ask<StoredPage>("/api/alerts", asked, this.#abort.signal)).alerts);
  }
}
