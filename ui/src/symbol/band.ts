/** Fills the space between the two edges of a band, under the candles. */

import type {
  IPrimitivePaneRenderer,
  IPrimitivePaneView,
  ISeriesPrimitive,
  SeriesAttachedParameter,
  Time,
} from "lightweight-charts";

import type { Row } from "../live/protocol.ts";

type Target = Parameters<IPrimitivePaneRenderer["draw"]>[0];
type Edges = (row: Row) => [number | null, number | null];

export class Band implements ISeriesPrimitive<Time> {
  #attached: SeriesAttachedParameter<Time> | null = null;
  #rows: readonly Row[] = [];
  #edges: Edges = () => [null, null];
  readonly #views: IPrimitivePaneView[];

  constructor(private readonly color: string) {
    const renderer: IPrimitivePaneRenderer = { draw: () => undefined, drawBackground: (t) => this.#draw(t) };
    this.#views = [{ zOrder: () => "bottom", renderer: () => renderer }];
  }

  /** The rows as the chart has them, whose changes are seen at the next drawing. */
  setRows(rows: readonly Row[], edges: Edges): void {
    this.#rows = rows;
    this.#edges = edges;
    this.#attached?.requestUpdate();
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
    if (!this.#attached) return;
    const { chart, series } = this.#attached;
    const scale = chart.timeScale();
    const range = scale.getVisibleLogicalRange();
    if (!range) return;
    const upper: [number, number][] = [];
    const lower: [number, number][] = [];
    const last = Math.min(this.#rows.length - 1, Math.ceil(range.to) + 1);
    for (let at = Math.max(0, Math.floor(range.from) - 1); at <= last; at++) {
      const [above, below] = this.#edges(this.#rows[at]!);
      if (above === null || below === null) continue;
      const x = scale.logicalToCoordinate(at as Parameters<typeof scale.logicalToCoordinate>[0]);
      const high = series.priceToCoordinate(above);
      const low = series.priceToCoordinate(below);
      if (x === null || high === null || low === null) continue;
      upper.push([x, high]);
      lower.push([x, low]);
    }
    if (upper.length < 2) return;
    target.useMediaCoordinateSpace(({ context }) => {
      context.beginPath();
      upper.forEach(([x, y], i) => (i === 0 ? context.moveTo(x, y) : context.lineTo(x, y)));
      for (const [x, y] of lower.reverse()) context.lineTo(x, y);
      context.closePath();
      context.fillStyle = this.color;
      context.fill();
    });
  }
}
