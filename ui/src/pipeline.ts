/** The pipeline's figures: the strip at the foot, and on wide screens the graphs at the side. */

import { byId, el, say, set, svg } from "./dom.ts";
import { compact, duration } from "./format.ts";
import { linePath } from "./path.ts";
import type { Figures } from "./protocol.ts";
import type { FigureSample, Store } from "./store.ts";

interface Figure {
  name: string;
  title: string;
  text: (f: Figures) => string;
  warns?: (f: Figures, before: FigureSample) => boolean;
}

const LAG_HIGH = 50_000;
const BESIDE = 3; // the first three have graphs at the side, the others a list

const FIGURES: Figure[] = [
  { name: "Events", title: "Records that came into the log, a second", text: (f) => `${compact(round(f.events_per_s))}/s` },
  { name: "Latency p50", title: "From a trade's arrival to this page: half of them took less", text: (f) => duration(f.latency_p50_ms) },
  {
    name: "p99",
    title: "From a trade's arrival to this page: 99 of 100 took less",
    text: (f) => duration(f.latency_p99_ms),
    warns: (f) => (f.latency_p99_ms ?? 0) > 5_000,
  },
  { name: "Lag", title: "Records in the log that the engine has not taken yet", text: (f) => compact(f.lag_records), warns: (f) => (f.lag_records ?? 0) > LAG_HIGH },
  { name: "Dead letters", title: "Records set aside, each with its reason; marked when there were more in the last two minutes", text: (f) => compact(f.dead_letters), warns: (f, before) => before.deadLetters !== null && (f.dead_letters ?? 0) > before.deadLetters },
  { name: "Bars", title: "Bars closed a second", text: (f) => `${compact(round(f.bars_per_s))}/s` },
  { name: "Symbols", title: "Symbols on this page", text: (f) => compact(f.symbols) },
];

function round(value: number | null): number | null {
  return value === null ? null : value >= 10 ? Math.round(value) : Math.round(value * 10) / 10;
}

export class Pipeline {
  readonly #strip = FIGURES.map((figure) => pair(figure));
  readonly #list = FIGURES.slice(BESIDE).map((figure) => pair(figure));
  readonly #mini = svg("path");
  readonly #events = graph("Events", "a second", false);
  readonly #latency = graph("Latency", "median; dashed: 99 of 100", true);

  constructor() {
    this.#strip[0]!.root.append(svg("svg", { viewBox: "0 0 56 16", preserveAspectRatio: "none", "aria-hidden": "true" }, this.#mini));
    byId("strip").append(...this.#strip.map((p) => p.root));
    byId("flow").append(
      this.#events.root,
      this.#latency.root,
      el("dl", { class: "flow-list" }, ...this.#list.map((p) => p.root)),
    );
  }

  show(store: Store): void {
    const { figures, samples } = store;
    if (!figures) return;
    FIGURES.forEach((figure, i) => write(this.#strip[i]!, figure, figures, samples[0]!));
    FIGURES.slice(BESIDE).forEach((figure, i) => write(this.#list[i]!, figure, figures, samples[0]!));
    const events = samples.map((s) => s.eventsPerS);
    const [p50, p99] = [samples.map((s) => s.p50), samples.map((s) => s.p99)];
    set(this.#mini, "d", linePath(events.slice(-40), 56, 14, 1));
    say(this.#events.value, compact(round(figures.events_per_s)));
    draw(this.#events, events, null);
    say(this.#latency.value, duration(figures.latency_p50_ms));
    draw(this.#latency, p50, p99);
  }
}

interface Pair {
  root: HTMLElement;
  text: HTMLElement;
}

function pair(figure: Figure): Pair {
  const text = el("dd", {}, "–");
  return { root: el("div", { title: figure.title }, el("dt", {}, figure.name), text), text };
}

function write(into: Pair, figure: Figure, figures: Figures, before: FigureSample): void {
  say(into.text, figure.text(figures));
  into.root.classList.toggle("warns", figure.warns?.(figures, before) ?? false);
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
