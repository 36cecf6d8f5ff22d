/** The view of the pipeline: what is wrong first, then the way of the data, then each part of it. */

import "./style/pipeline.css";
import "./style/scorecard.css";

import { Refusal, ask } from "../base/ask.ts";
import { el, say, set, svg } from "../base/dom.ts";
import { bytes, compact, duration } from "../base/format.ts";
import { LiveTable } from "../base/live_table.ts";
import { linePath } from "../base/path.ts";
import type { App, View } from "../shell/view.ts";
import { Drawing, rateText } from "./drawing.ts";
import { Letters } from "./letters.ts";
import type { Finding, Hop, Parity, Picture, PipelineAnswer, Process } from "./protocol.ts";
import { Scorecard } from "./scorecard.ts";

const EVERY_MS = 1_000;
const SAMPLES = 60;

export const openPipeline = (root: HTMLElement, app: App): View => new PipelineView(root, app);

class PipelineView implements View {
  readonly #findings = el("section", { class: "findings", "aria-label": "What is wrong" });
  readonly #drawing = new Drawing();
  readonly #letters = new Letters();
  readonly #hops: LiveTable<Hop>;
  readonly #processes: LiveTable<Process>;
  readonly #scorecard = new Scorecard();
  readonly #counts = el("dl", { class: "facts" });
  readonly #parity = el("div", { class: "parity" });
  readonly #past = new Map<string, (number | null)[]>();
  #timer = 0;
  #now = 0;

  constructor(
    root: HTMLElement,
    private readonly app: App,
  ) {
    this.#hops = new LiveTable<Hop>(
      "Latency by hop",
      [
        { name: "Hop", text: (h) => h.hop },
        { name: "p50", number: true, title: "Half of them took less", text: (h) => duration(h.p50_ms) },
        { name: "p99", number: true, title: "99 of 100 took less", text: (h) => duration(h.p99_ms) },
        { name: "A second", number: true, text: (h) => (h.per_s ? rateText(h.per_s) : "–") },
        { name: "p99, last minute", text: () => "", draw: (h, cell) => this.#drawPast(h, cell) },
      ],
      (h) => h.hop,
      "Nothing was measured yet.",
    );
    this.#processes = new LiveTable<Process>(
      "Processes",
      [
        { name: "Process", text: (p) => p.name },
        { name: "State", text: (p) => p.trouble ?? "works", tone: (p) => (p.trouble ? "bad" : "good") },
        { name: "For", number: true, text: (p) => (p.started_ms === null ? "–" : duration(Math.max(0, this.#now - p.started_ms))) },
        { name: "CPU", number: true, title: "Of one core", text: (p) => (p.cpu_cores === null ? "–" : `${Math.round(100 * p.cpu_cores)}%`) },
        { name: "Memory", number: true, text: (p) => bytes(p.memory_bytes) },
        { name: "Restarts", number: true, text: (p) => String(p.restarts), tone: (p) => (p.restarts ? "warn" : "faint") },
      ],
      (p) => p.name,
      "No process of this data directory runs.",
    );
    root.append(
      el("h2", { class: "visually-hidden" }, "Pipeline"),
      this.#findings,
      el("section", { class: "card wide" }, el("h3", {}, "The way of the data"), this.#drawing.root),
      el("section", { class: "card wide" }, el("h3", {}, "Feed quality"), this.#scorecard.root),
      el("div", { class: "cards" },
        card("Latency by hop", this.#hops.root),
        card("Processes", this.#processes.root),
        card("The engine's counts", this.#counts),
        card("Stored rows against the log", this.#parity),
      ),
      this.#letters.root,
    );
    this.#showFindings([{ severity: "note", what: "The processes are being asked …", do: "" }], true);
  }

  enter(): void {
    this.app.want({ chart: null, parts: [] });
    this.app.title("Pipeline");
    void this.#ask();
    this.#timer = window.setInterval(() => void this.#ask(), EVERY_MS);
    void this.#letters.refresh();
  }

  leave(): void {
    window.clearInterval(this.#timer);
  }

  draw(): void {} // it asks for itself: nothing of it comes over the WebSocket

  restyle(): void {}

  async #ask(): Promise<void> {
    if (document.hidden) return;
    try {
      const { figures, pipeline } = await ask<PipelineAnswer>("/api/pipeline");
      if (pipeline) this.#show(pipeline, figures);
    } catch (error) {
      const what = error instanceof Refusal ? `The pipeline cannot be seen: ${error.message}.` : String(error);
      this.#showFindings([{ severity: "down", what, do: "What stands below is as it was; this page goes on by itself." }]);
    }
  }

  #show(picture: Picture, figures: PipelineAnswer["figures"]): void {
    this.#now = picture.now_ms;
    const page: Hop = { hop: "From a trade's arrival to this page", per_s: 0, p50_ms: figures.latency_p50_ms, p99_ms: figures.latency_p99_ms };
    const hops = [...picture.hops.slice(0, 1), page, ...picture.hops.slice(1)];
    for (const hop of hops) {
      const past = this.#past.get(hop.hop) ?? [];
      this.#past.set(hop.hop, [...past, hop.p99_ms].slice(-SAMPLES));
    }
    this.#showFindings(picture.findings);
    this.#drawing.show(picture, figures);
    this.#hops.show(hops);
    this.#processes.show(picture.processes);
    this.#scorecard.show(picture.sources);
    this.#showCounts(picture);
    this.#showParity(picture.parity);
    this.#letters.keep(performance.now());
  }

  #showFindings(findings: readonly Finding[], asking = false): void {
    const worst = findings.find((f) => f.severity !== "note")?.severity;
    const kind = asking ? "asking" : worst ? TONES[worst] : "well";
    const text = findings.map((f) => f.what + f.do).join("|");
    if (this.#findings.dataset["text"] === text && this.#findings.dataset["kind"] === kind) return;
    this.#findings.dataset["text"] = text;
    this.#findings.dataset["kind"] = kind;
    const well = el("p", {}, icon("good"), el("strong", {}, "All is well."), " Every process does its work, and nothing waits.");
    this.#findings.replaceChildren(
      ...(kind === "well" ? [well] : []),
      ...findings.map((f) => el("p", { class: f.severity }, icon(asking ? "asking" : TONES[f.severity]), el("strong", {}, f.what), f.do ? ` ${f.do}` : "")),
    );
  }

  #showCounts({ engine, free_bytes }: Picture): void {
    facts(this.#counts, [
      ["Late trades", compact(engine.late_trades)],
      ["Doubled trades", compact(engine.duplicate_trades)],
      ["Out of session", compact(engine.out_of_session)],
      ["Crossed quotes", compact(engine.crossed_quotes)],
      ["Suspect rows", compact(sum(engine.quality))],
      ["Revised bars", compact(engine.bars_revised)],
      ["Set aside", compact(sum(engine.dead_letters))],
      ["Engine's state", bytes(engine.state_bytes)],
      ["Free disk", bytes(free_bytes)],
    ]);
  }

  #showParity(parity: Parity | null): void {
    const text = parity === null ? "none" : JSON.stringify(parity);
    if (this.#parity.dataset["text"] === text) return;
    this.#parity.dataset["text"] = text;
    if (parity === null) {
      this.#parity.replaceChildren(el("p", { class: "faint" }, "Nobody compares what is stored with the log now: ", el("code", {}, "marketpulse verify --follow"), " does."));
      return;
    }
    const drift = parity.drift_rows;
    const list = el("dl", { class: "facts" });
    facts(list, [["Compared", compact(parity.rows_checked)], ["A second", rateText(parity.rows_per_s)], ["Left out to keep up", compact(parity.skipped_records)]]);
    const words = drift === 0 ? (parity.rows_checked ? "No stored row differs from what the log gives." : "It has begun, and compares rows as they are stored.") : `${compact(drift)} stored rows differ from what the log gives.`;
    this.#parity.replaceChildren(el("p", { class: drift ? "bad" : "" }, icon(drift ? "bad" : "good"), words), list);
  }

  #drawPast(hop: Hop, cell: HTMLElement): void {
    if (!cell.firstChild) cell.append(svg("svg", { viewBox: "0 0 96 20", preserveAspectRatio: "none", class: "past", "aria-hidden": "true" }, svg("path")));
    set(cell.querySelector("path")!, "d", linePath(this.#past.get(hop.hop) ?? [], 96, 18, 1));
  }
}

function card(name: string, ...inside: HTMLElement[]): HTMLElement {
  return el("section", { class: "card" }, el("h3", {}, name), ...inside);
}

function facts(list: HTMLElement, pairs: readonly (readonly [string, string])[]): void {
  pairs.forEach(([name, text], i) => {
    if (!list.children[i]) list.append(el("div", {}, el("dt"), el("dd")));
    say(list.children[i]!.children[0]!, name);
    say(list.children[i]!.children[1]!, text);
  });
}

function sum(counts: Record<string, number>): number {
  return Object.values(counts).reduce((all, one) => all + one, 0);
}

const TONES = { down: "bad", degraded: "warn", note: "faint" } as const;
const ICONS = { good: "m4.5 10.5 3.5 3.5 7.5-8", warn: "M10 3 18 17H2ZM10 8.2v4M10 14.4v.2", bad: "M10 2.5a7.5 7.5 0 1 0 0 15 7.5 7.5 0 0 0 0-15ZM10 6v5M10 13.6v.2", faint: "M10 2.5a7.5 7.5 0 1 0 0 15 7.5 7.5 0 0 0 0-15ZM10 9v5M10 6v.2", asking: "M10 2.5a7.5 7.5 0 1 0 7.5 7.5" };

function icon(kind: keyof typeof ICONS): SVGElement {
  return svg("svg", { viewBox: "0 0 20 20", class: `icon ${kind}`, "aria-hidden": "true" }, svg("path", { d: ICONS[kind] }));
}
