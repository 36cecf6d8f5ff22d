/** A result as lines, bars or points: an SVG drawn to the size that there is. */

import { el, say, set, svg } from "../base/dom.ts";
import { compact, price } from "../base/format.ts";
import { SERIES_MAX, along, isTime } from "./choose.ts";
import type { Choice } from "./choose.ts";
import { isAmount, writerOf } from "./columns.ts";
import type { Cell, Column } from "./columns.ts";
import { numberTicks, timeTicks } from "./scale.ts";

interface Point {
  x: number;
  y: number;
  row: readonly Cell[];
}
interface Series {
  name: string;
  points: Point[];
}

const TOP = 14;
const LETTER = 6.6; // px, of the labels

export class Plot {
  readonly root = el("div", { class: "plot" });
  readonly #svg = svg("svg", { role: "img", tabindex: "0" });
  readonly #legend = el("div", { class: "plot-legend" });
  readonly #tip = el("div", { class: "plot-tip", role: "status" });
  #columns: readonly Column[] = [];
  #rows: readonly (readonly Cell[])[] = [];
  #choice: Choice | null = null;
  #series: Series[] = [];
  /** The names along the chart, where these are no numbers or times. */
  #names: string[] = [];
  #toX: (x: number) => number = () => 0;
  #toY: (y: number) => number = () => 0;
  #at: number | null = null;

  constructor() {
    this.#tip.hidden = true;
    this.root.append(this.#legend, this.#svg, this.#tip);
    new ResizeObserver(() => this.#draw()).observe(this.root);
    this.#svg.addEventListener("pointermove", (event) => this.#point(event.offsetX));
    this.#svg.addEventListener("pointerleave", () => this.#leave());
    this.#svg.addEventListener("blur", () => this.#leave());
    this.#svg.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      const places = this.#places();
      const now = this.#at === null ? (step > 0 ? -1 : places.length) : places.indexOf(this.#at);
      const next = places[Math.min(places.length - 1, Math.max(0, now + step))];
      if (next !== undefined) this.#tell(next);
    });
  }

  show(columns: readonly Column[], rows: readonly (readonly Cell[])[], choice: Choice): void {
    [this.#columns, this.#rows, this.#choice] = [columns, rows, choice];
    this.#series = this.#inSeries();
    this.#legend.replaceChildren(
      ...(choice.by === null ? [] : this.#series.map(({ name }, i) => el("span", { class: `s${(i % 6) + 1}` }, el("i", { "aria-hidden": "true" }), name))),
    );
    const what = { line: "Lines", bar: "Bars", point: "Points" }[choice.mark];
    const points = this.#series.reduce((sum, s) => sum + s.points.length, 0);
    set(this.#svg, "aria-label", `${what} of ${columns[choice.y]!.name} by ${columns[choice.x]!.name}, ${points} values`);
    this.#draw();
  }

  /** How many series the columns give beyond those that are drawn. */
  get left(): number {
    const by = this.#choice?.by ?? null;
    return by === null ? 0 : Math.max(0, new Set(this.#rows.map((row) => row[by])).size - SERIES_MAX);
  }

  #inSeries(): Series[] {
    const { x, y, by, mark } = this.#choice!;
    const column = this.#columns[x]!;
    const byName = mark === "bar" || !(isTime(column) || isAmount(column));
    const name = writerOf(column, this.#rows.map((row) => row[x]!));
    this.#names = byName ? [...new Set(this.#rows.map((row) => name(row[x]!)))] : [];
    const place = new Map(this.#names.map((n, i) => [n, i]));
    const series = new Map<string, Series>();
    for (const row of this.#rows) {
      const key = by === null ? "" : String(row[by] ?? "–");
      if (!series.has(key) && series.size === SERIES_MAX) continue;
      const at = byName ? place.get(name(row[x]!))! : along(column, row[x]!);
      const up = row[y] === null ? null : Number(row[y]);
      if (at === null || up === null || !Number.isFinite(up)) continue;
      const own = series.get(key) ?? { name: key, points: [] };
      series.set(key, own);
      own.points.push({ x: at, y: up, row });
    }
    if (mark === "line") series.forEach((own) => own.points.sort((a, b) => a.x - b.x));
    return [...series.values()];
  }

  #draw(): void {
    const choice = this.#choice;
    const box = this.root.getBoundingClientRect();
    const [width, height] = [Math.floor(box.width), Math.floor(box.height - this.#legend.offsetHeight)];
    if (!choice || width < 40 || height < 60) return;
    const points = this.#series.flatMap((s) => s.points);
    set(this.#svg, "viewBox", `0 0 ${width} ${height}`);
    set(this.#svg, "width", String(width));
    set(this.#svg, "height", String(height));
    if (points.length === 0) return this.#svg.replaceChildren();

    const ys = points.map((p) => p.y);
    const [low, high] = [least(ys), most(ys)];
    const { ticks, decimals } = numberTicks(choice.mark === "bar" ? Math.min(0, low) : low, choice.mark === "bar" ? Math.max(0, high) : high, Math.max(2, height / 64));
    const label = (t: number): string => (most(ticks.map(Math.abs)) >= 1e5 ? compact(t) : price(t, decimals));
    const left = Math.ceil(Math.max(...ticks.map((t) => label(t).length)) * LETTER) + 18;
    const [right, bottom] = [width - 16, height - 26];
    const [floor, ceiling] = [ticks[0]!, ticks.at(-1)!];
    this.#toY = (y) => bottom - ((y - floor) / (ceiling - floor)) * (bottom - TOP);

    const parts: SVGElement[] = ticks.map((t) => svg("path", { class: t === 0 ? "axis" : "rule", d: `M${left} ${r(this.#toY(t))}H${right}` }));
    parts.push(...ticks.map((t) => text(left - 8, this.#toY(t) + 3.5, label(t), "end")));
    parts.push(...this.#along(points, left, right, bottom, choice));
    const negative = choice.mark === "bar" && choice.by === null && low < 0;
    this.#series.forEach((own, i) => parts.push(...this.#marks(own, i, choice, left, right, negative)));
    parts.push(svg("g", { class: "at" }));
    this.#svg.replaceChildren(...parts);
    this.#leave();
  }

  #along(points: readonly Point[], left: number, right: number, bottom: number, choice: Choice): SVGElement[] {
    const room = right - left;
    if (this.#names.length) {
      const step = room / this.#names.length;
      this.#toX = (x) => left + (x + 0.5) * step;
      const longest = Math.max(...this.#names.map((n) => Math.min(n.length, 18)));
      const every = Math.max(1, Math.ceil((longest * LETTER + 12) / step));
      return this.#names.flatMap((name, i) => (i % every === 0 ? [text(this.#toX(i), bottom + 18, name.length > 18 ? `${name.slice(0, 17)}…` : name, "middle")] : []));
    }
    const xs = points.map((p) => p.x);
    let [low, high] = [least(xs), most(xs)];
    if (low === high) [low, high] = [low - 1, high + 1];
    const edge = choice.mark === "point" ? 8 : 0;
    this.#toX = (x) => left + edge + ((x - low) / (high - low)) * (room - 2 * edge);
    const column = this.#columns[choice.x]!;
    if (isTime(column)) {
      return timeTicks(low, high, room / 96).flatMap((t) => [
        svg("path", { class: "rule", d: `M${r(this.#toX(t.at))} ${TOP}V${bottom}` }),
        text(Math.min(right - 14, Math.max(left + 14, this.#toX(t.at))), bottom + 18, t.text, "middle"),
      ]);
    }
    const { ticks, decimals } = numberTicks(low, high, room / 110);
    return ticks.filter((t) => t >= low && t <= high).map((t) => text(this.#toX(t), bottom + 18, price(t, decimals), "middle"));
  }

  #marks(own: Series, i: number, choice: Choice, left: number, right: number, negative: boolean): SVGElement[] {
    const color = `s${(i % 6) + 1}`;
    if (choice.mark === "line") {
      const path = own.points.map((p, n) => `${n ? "L" : "M"}${r(this.#toX(p.x))} ${r(this.#toY(p.y))}`).join("");
      if (own.points.length > 1) return [svg("path", { class: `line ${color}${i >= 6 ? " again" : ""}`, d: path })];
    }
    if (choice.mark === "bar") {
      const step = (right - left) / this.#names.length;
      const wide = Math.max(1, Math.min(72, step * 0.72) / this.#series.length);
      return own.points.map((p) => {
        const [y, zero] = [this.#toY(p.y), this.#toY(0)];
        const x = this.#toX(p.x) - (wide * this.#series.length) / 2 + i * wide;
        const kind = negative ? (p.y < 0 ? "falls" : "rises") : color;
        return svg("rect", { class: `bar ${kind}`, x: r(x), y: r(Math.min(y, zero)), width: r(Math.max(1, wide - 1)), height: r(Math.max(1, Math.abs(zero - y))), rx: "2" });
      });
    }
    return own.points.map((p) => svg("circle", { class: `dot ${color}`, cx: r(this.#toX(p.x)), cy: r(this.#toY(p.y)), r: "3.5" }));
  }

  #places(): number[] {
    return [...new Set(this.#series.flatMap((s) => s.points.map((p) => p.x)))].sort((a, b) => a - b);
  }

  #point(px: number): void {
    const places = this.#places();
    let best = places[0];
    for (const x of places) if (Math.abs(this.#toX(x) - px) < Math.abs(this.#toX(best!) - px)) best = x;
    if (best !== undefined) this.#tell(best);
  }

  #tell(x: number): void {
    this.#at = x;
    const group = this.#svg.querySelector(".at");
    const choice = this.#choice;
    if (!group || !choice) return;
    const found = this.#series.flatMap((own, i) => own.points.filter((p) => p.x === x).map((p) => ({ own, i, p })));
    const px = this.#toX(x);
    group.replaceChildren(
      svg("path", { class: "rule", d: `M${r(px)} ${TOP}V${r(Number(this.#svg.getAttribute("height")) - 26)}` }),
      ...(choice.mark === "bar" ? [] : found.map(({ i, p }) => svg("circle", { class: `dot s${(i % 6) + 1}`, cx: r(px), cy: r(this.#toY(p.y)), r: "4.5" }))),
    );
    const column = this.#columns[choice.y]!;
    const write = writerOf(column, this.#rows.map((row) => row[choice.y]!));
    const head = writerOf(this.#columns[choice.x]!, this.#rows.map((row) => row[choice.x]!))(found[0]?.p.row[choice.x] ?? null);
    this.#tip.replaceChildren(
      el("b", {}, head),
      ...found.slice(0, SERIES_MAX).map(({ own, i, p }) => {
        const name = choice.by === null ? column.name : own.name;
        return el("span", { class: `s${(i % 6) + 1}` }, el("i", { "aria-hidden": "true" }), el("span", {}, name), el("em", {}, write(p.row[choice.y]!)));
      }),
    );
    this.#tip.hidden = false;
    const half = this.root.clientWidth / 2;
    this.#tip.style.setProperty("left", px < half ? `${px + 12}px` : "auto");
    this.#tip.style.setProperty("right", px < half ? "auto" : `${this.root.clientWidth - px + 12}px`);
  }

  #leave(): void {
    this.#at = null;
    this.#tip.hidden = true;
    this.#svg.querySelector(".at")?.replaceChildren();
  }
}

const r = (n: number): string => String(Math.round(n * 10) / 10);
const least = (values: readonly number[]): number => values.reduce((a, b) => Math.min(a, b), Infinity);
const most = (values: readonly number[]): number => values.reduce((a, b) => Math.max(a, b), -Infinity);

function text(x: number, y: number, what: string, anchor: string): SVGElement {
  const node = svg("text", { x: r(x), y: r(y), "text-anchor": anchor });
  say(node, what);
  return node;
}
