/** The exchange's day on the chart: hours before and after the session are shaded, each session begins with a line. */

import type { IPrimitivePaneRenderer, IPrimitivePaneView, ISeriesPrimitive, SeriesAttachedParameter, Time } from "lightweight-charts";

import type { Palette } from "../base/palette.ts";
import type { Row } from "../live/protocol.ts";
import { phaseOf, sessionAt } from "./session.ts";
import type { Session } from "./session.ts";

type Target = Parameters<IPrimitivePaneRenderer["draw"]>[0];

export class SessionShade implements ISeriesPrimitive<Time> {
  #attached: SeriesAttachedParameter<Time> | null = null;
  #rows: readonly Row[] = [];
  #sessions: readonly Session[] = [];
  #palette: Palette | null = null;
  #intraday = true;
  #marked: number | null = null;
  readonly #views: IPrimitivePaneView[];

  constructor() {
    const renderer: IPrimitivePaneRenderer = { draw: () => undefined, drawBackground: (t) => this.#draw(t) };
    this.#views = [{ zOrder: () => "bottom", renderer: () => renderer }];
  }

  setRows(rows: readonly Row[]): void {
    this.#rows = rows;
    this.#attached?.requestUpdate();
  }

  setSessions(sessions: readonly Session[]): void {
    this.#sessions = sessions;
    this.#attached?.requestUpdate();
  }

  /** The bar that opens at this time stands out: its receipt is open. */
  mark(time: number | null): void {
    this.#marked = time;
    this.#attached?.requestUpdate();
  }

  setLook(palette: Palette, timeframe: string): void {
    this.#palette = palette;
    this.#intraday = !timeframe.endsWith("d");
  }

  sessionOf(time: number): Session | null {
    return this.#intraday ? sessionAt(this.#sessions, time) : (this.#sessions.find((s) => s.open_ms <= time && time < s.close_ms) ?? null);
  }

  attached(parameter: SeriesAttachedParameter<Time>): void {
    this.#attached = parameter;
  }

  detached(): void {
    this.#attached = null;
  }

  paneViews(): readonly IPrimitivePaneView[] {
    return this.#views;
  }

  #draw(target: Target): void {
    const palette = this.#palette;
    if (!this.#attached || !palette) return;
    const scale = this.#attached.chart.timeScale();
    const range = scale.getVisibleLogicalRange();
    if (!range) return;
    const half = scale.options().barSpacing / 2;
    type Logical = Parameters<typeof scale.logicalToCoordinate>[0];
    const first = Math.max(0, Math.floor(range.from));
    const last = Math.min(this.#rows.length - 1, Math.ceil(range.to));
    target.useMediaCoordinateSpace(({ context, mediaSize }) => {
      let date = first > 0 ? (sessionAt(this.#sessions, this.#rows[first - 1]![0] as number)?.date ?? null) : null;
      for (let at = first; at <= last; at++) {
        const time = this.#rows[at]![0] as number;
        const x = scale.logicalToCoordinate(at as Logical);
        if (x === null) continue;
        if (time === this.#marked) {
          context.fillStyle = palette.accentSoft;
          context.fillRect(x - half - 1, 0, 2 * half + 2, mediaSize.height);
        }
        if (!this.#intraday || !this.#sessions.length) continue;
        const session = sessionAt(this.#sessions, time);
        if (phaseOf(session, time) !== "regular") {
          context.fillStyle = palette.shade;
          context.fillRect(x - half, 0, 2 * half, mediaSize.height);
        }
        if (session && session.date !== date) {
          date = session.date;
          context.fillStyle = palette.line;
          context.fillRect(Math.round(x - half), 0, 1, mediaSize.height);
          if (session.half_day) {
            context.fillStyle = palette.warn;
            context.font = `${palette.fontPx}px ${palette.font}`;
            context.fillText("Half-day", Math.round(x - half) + 5, mediaSize.height - 8);
          }
        }
      }
    });
  }
}
