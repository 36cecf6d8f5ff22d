/** What is marked at bars: that they were revised, and the alerts on them. */

import { createSeriesMarkers } from "lightweight-charts";
import type { ISeriesApi, ISeriesMarkersPluginApi, SeriesMarker, SeriesType, Time } from "lightweight-charts";

import type { Change } from "../live/alert_book.ts";
import type { Palette } from "../base/palette.ts";
import { COL } from "../live/protocol.ts";
import type { Row } from "../live/protocol.ts";
import { tellAction } from "./adjusting.ts";
import type { Action } from "./adjusting.ts";
import { placeOf } from "./bars.ts";
import { timeOf } from "./price.ts";

const NAMED_MOST = 12; // more names than these would hide each other

export class Marks {
  readonly #plugin: ISeriesMarkersPluginApi<Time>;
  #told = "";

  constructor(
    series: ISeriesApi<SeriesType>,
    public alerts: readonly Change[],
    public actions: readonly Action[],
    private readonly timeframe: string,
  ) {
    this.#plugin = createSeriesMarkers<Time>(series, []);
  }

  /** The alerts that stand at a bar. */
  at(row: Row): Change[] {
    return this.alerts.filter((alert) => this.#openOf(alert) === row[0] || this.#isWithin(alert, row));
  }

  /** What was split or paid at a bar: its ex time lies in it, or between the bar before and this one. */
  actionsAt(row: Row, before: Row | undefined): Action[] {
    const from = before?.[1] ?? row[0] ?? 0;
    return this.actions.filter((action) => action.ex_ms >= Math.min(from, row[0] ?? 0) && action.ex_ms < (row[1] ?? 0));
  }

  show(rows: readonly Row[], palette: Palette): void {
    const revised = rows.filter((row) => (row[COL.revision] ?? 0) > 0);
    const first = rows[0]?.[0] ?? Infinity;
    const alerts = this.alerts.filter((alert) => this.#openOf(alert) >= first);
    const told = `${rows[0]?.[0]} ${revised.length} ${revised.at(-1)?.[0]} ${alerts.length} ${alerts.at(-1)?.id} ${alerts.reduce((sum, alert) => sum + alert.revision, 0)} ${this.actions.length} ${palette.warn}`;
    if (told === this.#told) return; // setting them costs as much as drawing all
    this.#told = told;
    const marks: SeriesMarker<Time>[] = revised.map((row) => ({
      time: timeOf(row), position: "belowBar", shape: "circle", color: palette.warn, size: 0.6, id: `revised ${row[0]}`,
    }));
    for (const alert of alerts) {
      const row = rows[placeOf(rows, this.#openOf(alert))];
      if (!row) continue;
      const raised = alert.state === "raised";
      marks.push({
        time: timeOf(row), position: "aboveBar", shape: raised ? "arrowDown" : "circle", size: raised ? 1.2 : 0.7,
        color: raised ? (alert.severity === "critical" ? palette.down : palette.accent) : palette.faint,
        ...(raised && alerts.length <= NAMED_MOST ? { text: alert.rule } : {}), id: `alert ${alert.rule} ${alert.atMs}`,
      });
    }
    for (const action of this.actions) {
      const at = rows.findIndex((row) => (row[1] ?? 0) > action.ex_ms);
      const row = rows[at];
      if (!row || (at === 0 && action.ex_ms < (row[0] ?? 0))) continue;
      marks.push({
        time: timeOf(row), position: "belowBar", shape: "square", size: 0, color: palette.text,
        text: action.type === "split" ? "S" : "D", id: `${tellAction(action)} ${action.ex_ms}`,
      });
    }
    marks.sort((a, b) => (a.time as number) - (b.time as number));
    this.#plugin.setMarkers(marks);
  }

  /** An alert on bars of another length stands at the bar in which it happened. */
  #openOf(alert: Change): number {
    return alert.timeframe === this.timeframe ? alert.openMs : alert.atMs - 1;
  }

  #isWithin(alert: Change, row: Row): boolean {
    const at = this.#openOf(alert);
    return at >= (row[0] ?? 0) && at < (row[1] ?? 0);
  }
}
