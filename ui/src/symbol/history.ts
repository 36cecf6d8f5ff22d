/** Older bars, page by page, as a person goes back in time. */

import { Refused, ask } from "../base/api.ts";
import type { Place, Row } from "../live/protocol.ts";

export interface BarsPage {
  columns: string[];
  rows: Row[];
  older: boolean;
}

export type HistoryState = "there is more" | "loading" | "the end" | "failed";

const PAGE = 1_000;
const AGAIN_MS = 3_000;

export class History {
  state: HistoryState = "there is more";
  problem = "";
  #of: Place | null = null;
  #abort = new AbortController();
  #failedAt = -Infinity;

  /** `onPage`: rows in the order of the page's own columns. */
  constructor(
    private readonly onPage: (rows: Row[], columns: string[]) => void,
    private readonly onState: () => void,
  ) {}

  /** Another series. */
  begin(place: Place): void {
    this.#abort.abort();
    this.#abort = new AbortController();
    this.#of = place;
    this.#set("there is more");
  }

  /** The page before this time, unless one is on its way, or there is none. `now`: also right after a failure. */
  async load(before: number, now = false): Promise<void> {
    if (!this.#of || this.state === "loading" || this.state === "the end") return;
    if (this.state === "failed" && !now && performance.now() - this.#failedAt < AGAIN_MS) return;
    const { signal } = this.#abort;
    this.#set("loading");
    try {
      const page = await ask<BarsPage>("/api/bars", { ...this.#of, before_ms: before, limit: PAGE }, signal);
      if (signal.aborted) return;
      this.#set(page.older && page.rows.length ? "there is more" : "the end");
      this.onPage(page.rows, page.columns);
    } catch (error) {
      if (signal.aborted) return;
      this.problem = error instanceof Refused ? error.message : String(error);
      this.#failedAt = performance.now();
      this.#set("failed");
    }
  }

  #set(state: HistoryState): void {
    this.state = state;
    this.onState();
  }
}
