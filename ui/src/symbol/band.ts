/** Fills the space between the two edges of a band, under the candles. */

import type {
  IPrimitivePaneRenderer,
  IPrimitivePaneView,
  ISeriesApi,
  ISeriesPrimitive,
  SeriesAttachedParameter,
  SeriesType,
  Time,
} from "lightweight-charts";

export interface BandPoint {
  time: Time;
  upper: number;
  lower: number;
}

type Target = Parameters<IPrimitivePaneRenderer["draw"]>[0];

export class Band implements ISeriesPrimitive<Time> {
  #attached: SeriesAttachedParameter<Time> | null = null;
  #points: BandPoint[] = [];
  readonly #views: IPrimitivePaneView[];

  constructor(private readonly color: string) {
    const renderer: IPrimitivePaneRenderer = { draw: () => undefined, drawBackground: (t) => this.#draw(t) };
    this.#views = [{ zOrder: () => "bottom", renderer: () => renderer }];
  }

  setPoints(points: BandPoint[]): void {
    this.#points = points;
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
    const scale = this.#attached.chart.timeScale();
    const series: ISeriesApi<SeriesType> = this.#attached.series;
    const upper: [number, number][] = [];
    const lower: [number, number][] = [];
    for (const point of this.#points) {
      const x = scale.timeToCoordinate(point.time);
      const high = series.priceToCoordinate(point.upper);
      const low = series.priceToCoordinate(point.lower);
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
