/** On wide screens, beside the chart: the pipeline's figures as graphs. */

import { byId, el, say, set, svg } from "../base/dom.ts";
import { compact, duration } from "../base/format.ts";
import { linePath } from "../base/path.ts";
import type { Store } from "../live/store.ts";
import { FIGURES, pair, round, write } from "../shell/figures.ts";

const BESIDE = 3; // the first three have graphs, the others a list

export class Flow {
  readonly #list = FIGURES.slice(BESIDE).map((figure) => pair(figure));
  readonly #events = graph("Events", "a second", false);
  readonly #latency = graph("Latency", "median; dashed: 99 of 100", true);

  constructor() {
    byId("flow").append(
      this.#events.root,
      this.#latency.root,
      el("dl", { class: "flow-list" }, ...this.#list.map((p) => p.root)),
    );
  }

  show({ figures, samples }: Store): void {
    if (!figures) return;
    FIGURES.slice(BESIDE).forEach((figure, i) => write(this.#list[i]!, figure, figures, samples[0]!));
    say(this.#events.value, compact(round(figures.events_per_s)));
    draw(this.#events, samples.map((s) => s.eventsPerS), null);
    say(this.#latency.value, duration(figures.latency_p50_ms));
    draw(this.#latency, samples.map((s) => s.p50), samples.map((s) => s.p99));
  }
}

interface Graph {
  root: HTMLElement;
  value: HTMLElement;
  line: SVGPathElement;
  area: SVGPathElement;
  second: SVGPathElement;
}

const GRAPH = { width: 280, height: 52 };

function graph(name: string, unit: string, two: boolean): Graph {
  const value = el("b", {}, "–");
  const [line, area, second] = [svg("path"), svg("path", { class: "area" }), svg("path", { class: "second" })];
  const drawing = svg(
    "svg",
    { viewBox: `0 0 ${GRAPH.width} ${GRAPH.height}`, preserveAspectRatio: "none", "aria-hidden": "true" },
    area,
    ...(two ? [second] : []),
    line,
  );
  const head = el("div", { class: "flow-head" }, el("span", {}, `${name} `, el("small", {}, unit)), value);
  return { root: el("div", { class: "flow-graph" }, head, drawing), value, line, area, second };
}

function draw(graph: Graph, values: (number | null)[], upper: (number | null)[] | null): void {
  const top = Math.max(1, ...[...values, ...(upper ?? [])].map((v) => v ?? 0)) * 1.3;
  const path = linePath(values, GRAPH.width, GRAPH.height, top);
  set(graph.line, "d", path);
  set(graph.area, "d", path && !values.includes(null) ? `${path}L${GRAPH.width} ${GRAPH.height}L0 ${GRAPH.height}Z` : "");
  if (upper) set(graph.second, "d", linePath(upper, GRAPH.width, GRAPH.height, top));
}
