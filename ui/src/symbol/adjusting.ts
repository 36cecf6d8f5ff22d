/** A chart as it would read had there been no splits, or no dividends either; and what was told of them. */

import { ask } from "../base/api.ts";
import { COL } from "../live/protocol.ts";
import type { Place, Row } from "../live/protocol.ts";

export const ADJUSTMENTS = ["none", "split", "all"] as const;
export type Adjustment = (typeof ADJUSTMENTS)[number];

export interface Action {
  type: "split" | "dividend";
  ex_ms: number;
  value: number;
}

/** A bar that opens before this time, and not before an earlier step: what its prices and its volume are multiplied by. */
export interface Step {
  before_ms: number;
  price: number;
  volume: number;
}

interface Answer {
  actions: Action[];
  split: Step[];
  all: Step[];
}

const PRICES = [COL.open, COL.high, COL.low, COL.close, COL.vwap];

/** The step of a bar that opens then; null: it stays as it is. Steps are in order of time. */
export function stepAt(steps: readonly Step[], open: number): Step | null {
  return steps.find((step) => open < step.before_ms) ?? null;
}

/** Rows with their prices and volumes multiplied; `columns`: further ones that are prices. */
export function multiplied(rows: readonly Row[], steps: readonly Step[], columns: readonly number[]): Row[] {
  const last = steps.at(-1)?.before_ms ?? -Infinity;
  return rows.map((row) => {
    const step = (row[0] ?? Infinity) < last ? stepAt(steps, row[0] ?? Infinity) : null;
    if (!step) return row;
    const found = [...row];
    const by = (column: number, factor: number): void => {
      const value = found[column];
      if (value !== null && value !== undefined) found[column] = value * factor;
    };
    for (const column of [...PRICES, ...columns]) by(column, step.price);
    by(COL.volume, step.volume);
    return found;
  });
}

/** `2:1`, `1:10`, `0.82`. */
export function tellAction({ type, value }: Action): string {
  if (type === "dividend") return `Dividend of ${Number(value.toFixed(6))}`;
  const turned = 1 / value;
  return `Split ${value >= 1 ? Number(value.toFixed(4)) : 1}:${value >= 1 ? 1 : Number(turned.toFixed(4))}`;
}

export class Adjusting {
  actions: Action[] = [];
  #steps: Record<Adjustment, Step[]> = { none: [], split: [], all: [] };
  #abort = new AbortController();

  /** `onKnown`: there is something to adjust for. */
  constructor(private readonly onKnown: () => void) {}

  /** Another series: nothing is known of it until the answer has come. */
  begin(place: Place): void {
    this.#abort.abort();
    this.#abort = new AbortController();
    this.actions = [];
    this.#steps = { none: [], split: [], all: [] };
    void this.#load(place, this.#abort.signal);
  }

  steps(adjustment: Adjustment): readonly Step[] {
    return this.#steps[adjustment];
  }

  async #load(place: Place, signal: AbortSignal): Promise<void> {
    try {
      const { actions, split, all } = await ask<Answer>("/api/corporate_actions", { ...place }, signal);
      if (signal.aborted || !actions.length) return;
      this.actions = actions;
      this.#steps = { none: [], split, all };
      this.onKnown();
    } catch {
      // Nothing is marked then, and prices stay as they were: the chart shows why the store does not answer.
    }
  }
}
