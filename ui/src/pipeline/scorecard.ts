/** How good each source is: a row for each, and on asking its symbols minute by minute, its gaps, its differences. */

import { Refusal, ask } from "../base/ask.ts";
import { el, say, set, svg } from "../base/dom.ts";
import { clock, compact, duration } from "../base/format.ts";
import { LiveTable } from "../base/live_table.ts";
import { linePath } from "../base/path.ts";
import { rateText } from "./drawing.ts";
import { missedText, missedTone } from "./missed.ts";
import { bpsText, missedOf, requestsText, rowsOf, shareText, shareTone, stripPath } from "./score.ts";
import type { ScoreRow } from "./score.ts";
import type { Apart, GapScore, ScoresAnswer, Source, SymbolScore, SymbolsAnswer } from "./protocol.ts";

const EVERY_MS = 1_000;
const SYMBOLS_SHOWN = 40;
const STRIP_HEIGHT = 10;
const GAP_WORDS = { found: "asked for", healed: "healed", open: "cannot be had" } as const;
const KEY = [["with", "rows"], ["without", "none"], ["healed", "gap, healed"], ["found", "gap, asked for"], ["open", "gap, cannot be had"]] as const;
const LINE = { width: 160, height: 22 };

export class Scorecard {
  readonly root: HTMLElement;
  readonly #table: LiveTable<ScoreRow>;
  readonly #said = el("p", { class: "said faint", role: "status" });
  readonly #detail = new Detail();
  #answer: ScoresAnswer | null = null;
  #processes: readonly Source[] = [];
  #askedAt = -Infinity;
  #asking = false;
  #chosen: string | null = null;

  constructor() {
    const faint = (n: number | null | undefined): string => (n ? "warn" : "faint");
    this.#table = new LiveTable<ScoreRow>(
      "Feed quality",
      [
        { name: "Source", text: (r) => r.source, draw: (r, cell) => this.#drawName(r, cell) },
        { name: "State", text: (r) => r.score?.state ?? "–", tone: (r) => ({ live: "good", silent: "warn", ended: "faint" })[r.score?.state ?? "ended"] },
        { name: "Symbols", number: true, text: (r) => compact(r.score?.symbols) },
        { name: "Rows", number: true, title: "A second", text: (r) => rateText(r.score?.rows_per_s ?? r.process?.rows_per_s ?? 0) },
        { name: "Lag p50", number: true, title: "From event time to the log: half of the rows took less", text: (r) => duration(r.score?.lag_p50_ms) },
        { name: "p99", number: true, title: "99 of 100 rows took less", text: (r) => duration(r.score?.lag_p99_ms) },
        { name: "Behind", number: true, title: "From the newest event to the log's time now", text: (r) => duration(r.score?.behind_ms) },
        { name: "Coverage", number: true, title: "The part of its venues' open minutes in which its symbols had rows", text: (r) => shareText(r.score?.coverage), draw: (r, cell) => drawShare(r, cell), tone: (r) => shareTone(r.score?.coverage) },
        { name: "Missed", number: true, title: "Trades that the feed did not bring in their turn, and what became of them", text: (r) => missedText(missed(r)), tone: (r) => missedTone(missed(r)) },
        { name: "Reconnects", number: true, title: "Connections that ended", text: (r) => compact(r.process?.reconnects), tone: (r) => faint(r.process?.reconnects) },
        { name: "Set aside", number: true, title: "Rows and records that went to the dead letters", text: (r) => compact(aside(r)), tone: (r) => faint(aside(r)) },
        { name: "Doubled", number: true, title: "Rows that the engine had already: ignored", text: (r) => compact(r.process?.engine.duplicates), tone: (r) => faint(r.process?.engine.duplicates) },
        { name: "Suspect", number: true, title: "Rows that a rule of data quality marked", text: (r) => compact(sum(r.score?.quality)), tone: (r) => faint(sum(r.score?.quality)) },
        { name: "Apart", number: true, title: "How far it is from other sources of the same instrument: the median in basis points", text: (r) => bpsText(r.score?.disagreement_p50_bps) },
        { name: "Requests", number: true, title: "Asked by REST; where the vendor counts them, today's of those that it allows", text: (r) => requestsText(r.score?.requests ?? null) },
        { name: "On disk", number: true, title: "Rows that wait on the disk for the broker, and for how long", text: diskText, tone: (r) => faint(r.process?.rows_on_disk) },
        { name: "Faults", number: true, title: "Of its far end", text: (r) => compact(r.process?.faults), tone: (r) => faint(r.process?.faults) },
      ],
      (r) => r.source,
      "No source runs here.",
    );
    this.#table.root.classList.add("scores");
    this.root = el("div", {}, this.#said, this.#table.root, this.#detail.root);
  }

  /** The processes as they are now; asks for the scores when it is time. */
  show(processes: readonly Source[]): void {
    this.#processes = processes;
    this.#draw();
    if (performance.now() - this.#askedAt > EVERY_MS) void this.#ask();
  }

  async #ask(): Promise<void> {
    if (this.#asking) return;
    this.#asking = true;
    this.#askedAt = performance.now();
    try {
      const chosen = this.#chosen;
      const wanted = [ask<ScoresAnswer>("/api/sources"), chosen === null ? null : ask<SymbolsAnswer>(`/api/sources/symbols?source=${encodeURIComponent(chosen)}&limit=${SYMBOLS_SHOWN}`)] as const;
      const [scores, symbols] = await Promise.all(wanted);
      this.#answer = scores;
      say(this.#said, scores.catching_up ? `The log's last ${scores.hours} hours are still being read: the figures grow.` : "");
      if (symbols !== null && chosen === this.#chosen) this.#detail.show(chosen!, scores, symbols);
    } catch (error) {
      say(this.#said, error instanceof Refusal ? `Without scores now: ${error.message}.` : String(error));
    } finally {
      this.#asking = false;
    }
    this.#draw();
  }

  #draw(): void {
    this.#table.show(rowsOf(this.#answer?.sources ?? [], this.#processes));
  }

  #drawName(row: ScoreRow, cell: HTMLElement): void {
    let button = cell.querySelector("button");
    if (!button) {
      button = el("button", { type: "button", class: "disclose" }, svg("svg", { viewBox: "0 0 20 20", class: "chevron", "aria-hidden": "true" }, svg("path", { d: "m7.5 5 5 5-5 5" })), el("span"), el("small", { class: "faint" }));
      button.addEventListener("click", () => this.#choose(row.source));
      cell.append(button);
    }
    say(button.children[1]!, row.source);
    say(button.children[2]!, kindText(row));
    set(button, "aria-expanded", String(this.#chosen === row.source));
    set(button, "aria-controls", "score-detail");
    button.disabled = row.score === null;
  }

  #choose(source: string): void {
    this.#chosen = this.#chosen === source ? null : source;
    this.#detail.root.hidden = this.#chosen === null;
    this.#detail.begin(this.#chosen);
    this.#draw();
    void this.#ask();
  }
}

/** The symbols of one source. Rows keep their nodes while their contents change. */
class Detail {
  readonly root = el("div", { class: "score-detail", id: "score-detail", role: "region", "aria-label": "Symbols of a source" });
  readonly #head = el("h4");
  readonly #times = el("div", { class: "strip-times faint", "aria-hidden": "true" }, el("span"), el("span"), el("span"));
  readonly #strips = el("ul", { class: "strips" });
  readonly #more = el("p", { class: "faint" });
  readonly #gaps: LiveTable<GapScore>;
  readonly #apart: LiveTable<Apart>;
  readonly #gapsHead = el("h4", {}, "Gaps");
  readonly #apartHead = el("h4", {}, "Against other sources");
  readonly #rows = new Map<string, HTMLElement>();

  constructor() {
    this.#gaps = new LiveTable<GapScore>(
      "Gaps",
      [
        { name: "Symbol", text: (g) => g.symbol },
        { name: "State", text: (g) => GAP_WORDS[g.state], tone: (g) => ({ found: "warn", healed: "good", open: "bad" })[g.state] },
        { name: "From (UTC)", number: true, text: (g) => clock(g.from_ms) },
        { name: "To", number: true, text: (g) => clock(g.to_ms) },
        { name: "Trades", number: true, text: (g) => compact(g.trades) },
        { name: "Told", number: true, text: (g) => clock(g.told_ms) },
        { name: "Why", text: (g) => g.reason, tone: () => "faint" },
      ],
      (g) => `${g.symbol} ${g.from_ms} ${g.to_ms}`,
      "No gap in these hours.",
    );
    this.#gaps.root.classList.add("gaps");
    this.#apart = new LiveTable<Apart>(
      "Against other sources",
      [
        { name: "Instrument", text: (a) => a.instrument },
        { name: "Other source", text: (a) => a.other_source },
        { name: "Minutes", number: true, title: "Those that both have a trade in", text: (a) => compact(a.minutes) },
        { name: "Median bps", number: true, text: (a) => bpsText(a.p50_bps) },
        { name: "p99 bps", number: true, text: (a) => bpsText(a.p99_bps) },
        { name: "Last hour", number: true, title: "By minute; above the line where this source's price is the higher one", text: () => "", draw: drawLine },
      ],
      (a) => `${a.symbol} ${a.other_source} ${a.other_symbol}`,
      "",
    );
    this.root.hidden = true;
    const key = el("p", { class: "strip-key faint" }, ...KEY.map(([kind, text]) => el("span", {}, el("span", { class: `strip-mark ${kind}` }), text)));
    this.root.append(this.#head, key, this.#strips, this.#times, this.#more, this.#gapsHead, this.#gaps.root, this.#apartHead, this.#apart.root);
  }

  /** Nothing of the one before stays. */
  begin(source: string | null): void {
    say(this.#head, source === null ? "" : `${source}: its symbols are being asked for …`);
    this.#strips.replaceChildren();
    this.#rows.clear();
    this.#gaps.show([]);
    this.#apart.show([]);
    this.#apartHead.hidden = this.#apart.root.hidden = true;
    say(this.#more, "");
  }

  show(source: string, { sources, hours }: ScoresAnswer, told: SymbolsAnswer): void {
    const all = sources.find((s) => s.source === source)?.symbols ?? told.symbols.length;
    say(this.#head, `${source}, ${hours} hours by symbol`);
    const minutes = Math.max(1, Math.round((told.to_ms - told.from_ms) / 60_000));
    const left = new Set(this.#rows.keys());
    told.symbols.forEach((symbol, i) => {
      left.delete(symbol.symbol);
      const node = this.#rows.get(symbol.symbol) ?? this.#make(symbol.symbol);
      if (this.#strips.children[i] !== node) this.#strips.insertBefore(node, this.#strips.children[i] ?? null);
      writeStrip(node, symbol, told.gaps.filter((g) => g.symbol === symbol.symbol), told.from_ms, minutes);
    });
    for (const name of left) {
      this.#rows.get(name)!.remove();
      this.#rows.delete(name);
    }
    [told.from_ms, (told.from_ms + told.to_ms) / 2, told.to_ms].forEach((ms, i) => say(this.#times.children[i]!, clock(ms).slice(0, 5)));
    say(this.#more, all > told.symbols.length ? `The ${told.symbols.length} of its ${compact(all)} symbols that are covered worst.` : "");
    this.#gaps.show(told.gaps);
    this.#apart.show(told.disagreements);
    this.#apartHead.hidden = this.#apart.root.hidden = told.disagreements.length === 0;
  }

  #make(symbol: string): HTMLElement {
    const strip = svg("svg", { class: "minute-strip", preserveAspectRatio: "none", "aria-hidden": "true" }, ...["with", "without", "healed", "found", "open"].map((kind) => svg("path", { class: kind })));
    const node = el("li", {}, el("span", { class: "strip-name" }, symbol), strip, el("span", { class: "strip-share number" }));
    this.#rows.set(symbol, node);
    return node;
  }
}

function writeStrip(node: HTMLElement, symbol: SymbolScore, gaps: readonly GapScore[], fromMs: number, minutes: number): void {
  const strip = node.children[1]!;
  set(strip, "viewBox", `0 0 ${minutes} ${STRIP_HEIGHT}`);
  set(strip.children[0]!, "d", stripPath(symbol.minutes, "1", STRIP_HEIGHT));
  set(strip.children[1]!, "d", stripPath(symbol.minutes, "0", STRIP_HEIGHT));
  (["healed", "found", "open"] as const).forEach((state, i) => {
    const marks = gaps.filter((g) => g.state === state && g.to_ms >= fromMs).map((g) => {
      const from = Math.max(0, (g.from_ms - fromMs) / 60_000);
      const to = Math.max((g.to_ms - fromMs) / 60_000, from + minutes / 200); // wide enough to be seen
      return `M${from.toFixed(2)} 0H${to.toFixed(2)}V${STRIP_HEIGHT}H${from.toFixed(2)}Z`;
    });
    set(strip.children[2 + i]!, "d", marks.join(""));
  });
  say(node.children[2]!, shareText(symbol.coverage));
  set(node.children[2]!, "class", `strip-share number ${shareTone(symbol.coverage)}`);
  set(node, "title", `${symbol.symbol}: ${compact(symbol.rows)} rows, calendar ${symbol.calendar}`);
}

function drawShare(row: ScoreRow, cell: HTMLElement): void {
  if (!cell.firstChild) cell.append(el("span"), svg("svg", { viewBox: "0 0 40 3", class: "share-bar", "aria-hidden": "true" }, svg("path", { d: "M0 0H40V3H0Z" }), svg("path", { class: "part" })));
  const share = row.score?.coverage ?? null;
  say(cell.firstChild!, shareText(share));
  const bar = cell.lastElementChild!;
  set(bar, "visibility", share === null ? "hidden" : "visible");
  set(bar.lastElementChild!, "d", `M0 0H${(40 * (share ?? 0)).toFixed(1)}V3H0Z`);
}

function drawLine(apart: Apart, cell: HTMLElement): void {
  if (!cell.firstChild) cell.append(svg("svg", { viewBox: `0 0 ${LINE.width} ${LINE.height}`, preserveAspectRatio: "none", class: "apart-line", "aria-hidden": "true" }, svg("path", { class: "zero", d: `M0 ${LINE.height / 2}H${LINE.width}` }), svg("path", { class: "apart" })));
  const most = Math.max(...apart.line_bps.map((v) => Math.abs(v ?? 0)), 1e-9);
  const lifted = apart.line_bps.map((v) => (v === null ? null : v + most));
  set(cell.querySelector(".apart")!, "d", linePath(lifted, LINE.width, LINE.height, 2 * most));
}

function missed(row: ScoreRow): Pick<Source, "missing" | "gaps"> {
  return row.score ? missedOf(row.score.gaps) : (row.process ?? { missing: {}, gaps: 0 });
}

/** Dead letters that name the source, and rows of its input that its process refused. */
function aside(row: ScoreRow): number {
  return sum(row.score?.dead_letters) + sum(row.process?.rejected);
}

export function diskText(row: ScoreRow): string {
  if (!row.process) return "–";
  return row.process.rows_on_disk ? `${compact(row.process.rows_on_disk)}, ${duration(1e3 * row.process.on_disk_s)}` : "0";
}

function kindText({ score }: ScoreRow): string {
  if (score === null) return "";
  return score.simulated ? "simulated" : score.mode === "historical" ? "historical" : score.kind && score.kind !== score.source ? score.kind : "";
}

function sum(counts: Record<string, number> | undefined): number {
  return Object.values(counts ?? {}).reduce((all, one) => all + one, 0);
}
