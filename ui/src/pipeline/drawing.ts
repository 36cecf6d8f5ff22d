/** The way of the data as a drawing: boxes in columns, and lines on which it moves. */

import { el, say, set, svg } from "../base/dom.ts";
import { compact, duration } from "../base/format.ts";
import type { Figures } from "../live/protocol.ts";
import type { Picture } from "./protocol.ts";

interface Fact {
  name: string;
  text: string;
}

interface Box {
  id: string;
  /** Where it stands, from the left: 0 to 4. */
  column: number;
  kind: string;
  name: string;
  /** Rows a second, the large figure; null: there is none. */
  rate: number | null;
  facts: Fact[];
  state: "good" | "warn" | "bad" | "idle";
}

interface Line {
  from: string;
  to: string;
  rate: number;
}

const COLUMNS = ["Sources", "Log", "Engine", "Rows", "Stores and pages"];
const LAG_HIGH = 50_000;

export function rateText(rate: number): string {
  return `${compact(rate >= 10 ? Math.round(rate) : Math.round(rate * 10) / 10)}/s`;
}

/** What is drawn of a picture. Pure. */
export function boxesOf(p: Picture, f: Figures): { boxes: Box[]; lines: Line[] } {
  const trouble = (start: string): boolean => p.processes.some((one) => one.name.startsWith(start) && one.trouble !== null);
  const boxes: Box[] = [];
  const lines: Line[] = [];
  for (const s of p.sources) {
    const facts = s.watermark_delay_ms === null ? [] : [{ name: "Watermark behind", text: duration(s.watermark_delay_ms) }];
    const state = s.rows_per_s > 0 ? (s.watermark_delay_ms ?? 0) > 60_000 ? "warn" : "good" : "idle";
    boxes.push({ id: `source ${s.source}`, column: 0, kind: "Source", name: s.source, rate: s.rows_per_s, facts, state });
    lines.push({ from: `source ${s.source}`, to: "market", rate: s.rows_per_s });
  }
  const events = f.events_per_s ?? 0;
  boxes.push({
    id: "market", column: 1, kind: "Kafka topic", name: "market", rate: events,
    facts: [{ name: "Lag", text: `${compact(f.lag_records)} records` }, { name: "Dead letters", text: compact(f.dead_letters) }],
    state: f.broker_reachable === false ? "bad" : (f.lag_records ?? 0) > LAG_HIGH ? "warn" : "good",
  });
  lines.push({ from: "market", to: "engine", rate: p.engine.records_per_s });
  const hop = p.hops[0];
  boxes.push({
    id: "engine", column: 2, kind: p.engine.workers === 1 ? "1 worker" : `${p.engine.workers} workers`, name: "Engine", rate: p.engine.records_per_s,
    facts: [
      { name: "p50", text: duration(hop?.p50_ms) },
      { name: "p99", text: duration(hop?.p99_ms) },
      { name: "Symbols", text: compact(p.engine.symbols) },
    ],
    state: trouble("process-") || p.engine.workers === 0 ? "bad" : "good",
  });
  for (const [topic, rate] of Object.entries(p.engine.rows_out_per_s)) {
    boxes.push({ id: topic, column: 3, kind: "Kafka topic", name: topic, rate, facts: [], state: rate > 0 ? "good" : "idle" });
    lines.push({ from: "engine", to: topic, rate });
  }
  const stored = Object.keys(p.engine.rows_out_per_s);
  for (const s of p.sinks) {
    const facts = [{ name: "Lag", text: compact(s.lag_records) }, { name: "Flush p99", text: duration(s.p99_ms) }];
    const state = trouble(`sink-${s.sink}`) ? "bad" : s.lag_records > LAG_HIGH ? "warn" : "good";
    boxes.push({ id: `sink ${s.sink}`, column: 4, kind: "Store", name: s.sink, rate: s.rows_per_s, facts, state });
    for (const topic of stored) lines.push({ from: topic, to: `sink ${s.sink}`, rate: s.rows_per_s });
  }
  boxes.push({
    id: "page", column: 4, kind: p.page.connected === 1 ? "1 page open" : `${compact(p.page.connected)} pages open`, name: "Pages", rate: p.page.frames_per_s,
    facts: [{ name: "p50", text: duration(f.latency_p50_ms) }, { name: "p99", text: duration(f.latency_p99_ms) }],
    state: "good",
  });
  for (const topic of stored) lines.push({ from: topic, to: "page", rate: p.engine.rows_out_per_s[topic]! });
  return { boxes, lines };
}

interface BoxNode {
  root: HTMLElement;
  kind: HTMLElement;
  rate: HTMLElement;
  facts: HTMLElement;
}

export class Drawing {
  readonly root = el("div", { class: "way", role: "group", "aria-label": "The way of the data" });
  readonly #lines = svg("svg", { class: "way-lines", "aria-hidden": "true" });
  readonly #columns = COLUMNS.map((name) => el("div", { class: "way-column" }, el("h4", {}, name)));
  readonly #boxes = new Map<string, BoxNode>();
  #drawn: Line[] = [];

  constructor() {
    this.root.append(this.#lines, ...this.#columns);
    new ResizeObserver(() => this.#layLines()).observe(this.root);
  }

  show(picture: Picture, figures: Figures): void {
    const { boxes, lines } = boxesOf(picture, figures);
    const left = new Set(this.#boxes.keys());
    for (const box of boxes) {
      left.delete(box.id);
      this.#write(this.#boxes.get(box.id) ?? this.#make(box), box);
    }
    for (const id of left) {
      this.#boxes.get(id)!.root.remove();
      this.#boxes.delete(id);
    }
    this.#drawn = lines;
    this.#layLines();
  }

  #make(box: Box): BoxNode {
    const node = { kind: el("span", { class: "way-kind" }), rate: el("b", { class: "way-rate" }), facts: el("dl") };
    const root = el("section", { class: "way-box", "aria-label": box.name }, node.kind, el("h5", {}, box.name), node.rate, node.facts);
    const made = { root, ...node };
    this.#boxes.set(box.id, made);
    this.#columns[box.column]!.append(root);
    return made;
  }

  #write(node: BoxNode, box: Box): void {
    set(node.root, "data-state", box.state);
    say(node.kind, box.kind);
    say(node.rate, box.rate === null ? "" : rateText(box.rate));
    while (node.facts.childElementCount > box.facts.length) node.facts.lastElementChild!.remove();
    box.facts.forEach((fact, i) => {
      if (!node.facts.children[i]) node.facts.append(el("div", {}, el("dt"), el("dd")));
      say(node.facts.children[i]!.children[0]!, fact.name);
      say(node.facts.children[i]!.children[1]!, fact.text);
    });
  }

  /** From the right edge of a box to the left edge of the next; on narrow screens, where the columns stand under each other, none. */
  #layLines(): void {
    const around = this.root.getBoundingClientRect();
    const flat = getComputedStyle(this.root).getPropertyValue("--flow") !== "down";
    while (this.#lines.childElementCount > this.#drawn.length) this.#lines.lastElementChild!.remove();
    this.#drawn.forEach((line, i) => {
      if (!this.#lines.children[i]) this.#lines.append(svg("path"));
      const path = this.#lines.children[i]! as SVGPathElement;
      const from = this.#boxes.get(line.from)?.root.getBoundingClientRect();
      const to = this.#boxes.get(line.to)?.root.getBoundingClientRect();
      if (!from || !to || !flat) {
        set(path, "d", "");
        return;
      }
      const [x1, y1] = [from.right - around.left, from.top + from.height / 2 - around.top];
      const [x2, y2] = [to.left - around.left, to.top + to.height / 2 - around.top];
      const bend = (x2 - x1) / 2;
      set(path, "d", `M${x1} ${y1}C${x1 + bend} ${y1} ${x2 - bend} ${y2} ${x2} ${y2}`);
      set(path, "class", line.rate > 0 ? "moves" : "");
      path.style.setProperty("--lap", `${speedOf(line.rate)}s`);
    });
  }
}

/** Seconds for a step of the dashes: the more there is, the quicker, from 2.4 to 0.3. */
export function speedOf(rate: number): number {
  return Math.round(10 * Math.max(0.3, 2.4 - 0.42 * Math.log10(1 + rate))) / 10;
}
