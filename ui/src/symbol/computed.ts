/** The values of indicators that a person chose beside the engine's own: asked for, and kept live. */

import { Refused, ask } from "../base/api.ts";
import { BAR_WIDTH } from "../live/protocol.ts";
import type { Place, Row } from "../live/protocol.ts";
import { groupsOf } from "./indicators.ts";
import type { Group } from "./indicators.ts";

interface Answer {
  columns: string[];
  rows: (number | null)[][];
}

const EVERY_MS = 1_000;
const PATIENCE_MS = 5_000; // after a failure

export class Computed {
  /** In the order in which they were asked for. */
  groups: Group[] = [];
  problem = "";
  busy = false;
  #place: Place | null = null;
  #stems: string[] = [];
  #values = new Map<string, Map<number, (number | null)[]>>();
  #abort = new AbortController();
  #due = Infinity; // from when on values have changed, open time in ms
  #timer = 0;

  /** `onGroups`: other lines than before; `onValues`: the same lines, with more values. */
  constructor(
    private readonly onGroups: () => void,
    private readonly onValues: () => void,
    private readonly priceFactor: (time: number) => number,
  ) {}

  /** Values are to be multiplied otherwise: ask for all of them again. */
  forget(): void {
    this.#place = null;
  }

  /** These indicators of this series, since the first row. What is known of them stands in `groups` at once. */
  follow(place: Place, stems: readonly string[], rows: readonly Row[]): void {
    const same = place.symbol === this.#place?.symbol && place.timeframe === this.#place.timeframe;
    if (same && stems.join() === this.#stems.join()) return;
    const fresh = same ? stems.filter((stem) => !this.#stems.includes(stem)) : [...stems];
    if (!same) {
      this.#abort.abort();
      this.#abort = new AbortController();
      this.#values.clear();
      this.groups = [];
    }
    this.#place = place;
    this.#stems = [...stems];
    this.groups = this.groups.filter((group) => stems.includes(group.id));
    this.problem = "";
    if (fresh.length && rows[0]) void this.#load(fresh, { from_ms: rows[0][0] ?? 0 });
  }

  /** Older rows stand in front now, up to `before`. */
  older(rows: readonly Row[], before: number): void {
    if (this.#stems.length && rows[0]) void this.#load(this.#stems, { from_ms: rows[0][0] ?? 0, before_ms: before });
  }

  /** Rows have changed or come. */
  changed(rows: readonly Row[]): void {
    if (!this.#stems.length || !rows.length) return;
    this.#due = Math.min(this.#due, ...rows.map((row) => row[0] ?? Infinity));
    if (!this.#timer && !this.busy) this.#timer = window.setTimeout(() => this.#renew(), EVERY_MS);
  }

  #renew(): void {
    this.#timer = 0;
    const from = this.#due;
    this.#due = Infinity;
    if (document.hidden) this.#due = from; // nobody looks: the next change asks for it
    else if (Number.isFinite(from)) void this.#load(this.#stems, { from_ms: from });
  }

  async #load(stems: readonly string[], span: { from_ms: number; before_ms?: number }): Promise<void> {
    const { signal } = this.#abort;
    this.busy = true;
    try {
      const answer = await ask<Answer>("/api/chart/indicators", { ...this.#place, indicator: stems.join(","), ...span }, signal);
      if (signal.aborted) return;
      this.#take(answer);
    } catch (error) {
      if (signal.aborted) return;
      if (error instanceof Refused && error.status === 400 && stems.length > 1) {
        for (const stem of stems) await this.#load([stem], span); // one of them is at fault, the others are drawn
        return;
      }
      this.problem = error instanceof Refused ? error.message : String(error);
      if (!(error instanceof Refused) || error.status !== 400) {
        this.#due = Math.min(this.#due, span.from_ms);
        this.#timer ||= window.setTimeout(() => this.#renew(), PATIENCE_MS);
      }
      this.onGroups();
    } finally {
      this.busy = false;
    }
    if (Number.isFinite(this.#due)) this.#timer ||= window.setTimeout(() => this.#renew(), EVERY_MS);
  }

  #take({ columns, rows }: Answer): void {
    this.problem = "";
    const found = groupsOf([...Array.from({ length: BAR_WIDTH }, () => ""), ...columns.slice(1)]);
    let more = false;
    for (const group of found) {
      const places = group.lines.map((line) => line.column - BAR_WIDTH + 1);
      const own = this.#values.get(group.id) ?? new Map<number, (number | null)[]>();
      this.#values.set(group.id, own);
      for (const row of rows) {
        const by = group.place === "price" ? this.priceFactor(row[0]!) : 1;
        own.set(row[0]!, places.map((at) => (row[at] === null || row[at] === undefined ? null : row[at] * by)));
      }
      if (this.groups.some((g) => g.id === group.id)) continue;
      more = true;
      this.groups.push(ofValues(group, own));
    }
    this.groups.sort((a, b) => this.#stems.indexOf(a.id) - this.#stems.indexOf(b.id));
    if (more) this.onGroups();
    else this.onValues();
  }
}

/** The same group, its lines numbered as its values are. */
function ofValues(group: Group, values: ReadonlyMap<number, readonly (number | null)[]>): Group {
  const at = (column: number): number => group.lines.findIndex((line) => line.column === column);
  return {
    ...group,
    band: group.band && [at(group.band[0]), at(group.band[1])],
    lines: group.lines.map((line, i) => ({ ...line, column: i })),
    values,
  };
}
