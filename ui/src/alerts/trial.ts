/** What a rule would have told on stored history: a sentence, a chart of the series with its firings, the firings. */

import { el, say, svg } from "../base/dom.ts";
import { clock, compact, day, value } from "../base/format.ts";
import { ask } from "./api.ts";
import type { Tried, TriedChart, TriedFiring } from "./api.ts";
import { stoodText } from "./model.ts";

const RANGES: readonly [string, string, number | null][] = [
  ["all", "All that is stored", null], ["1y", "The last year", 365 * 86_400_000], ["1mo", "The last 30 days", 30 * 86_400_000],
  ["1w", "The last week", 7 * 86_400_000], ["1d", "The last day", 86_400_000], ["1h", "The last hour", 3_600_000],
];
const FUTURE_MS = 4_102_444_800_000; // 2100: all that is stored lies before
const PROGRESS_MS = 300;
const LISTED = 100;
const WIDTH = 640;
const HEIGHT = 180;

export class Trial {
  readonly root = el("section", { class: "trial", "aria-label": "Trial on stored history" });
  readonly #range = el("select", { id: "trial-range", "aria-label": "Range" }, ...RANGES.map(([name, text]) => el("option", { value: name }, text)));
  readonly #symbols = el("input", { id: "trial-symbols", "aria-label": "Only symbols", type: "text", placeholder: "Those of the rule", list: "alerts-symbols", autocomplete: "off", spellcheck: "false" });
  readonly #run = el("button", { type: "button", class: "button" }, "Try on stored history");
  readonly #stop = el("button", { type: "button", class: "quiet-button", hidden: "" }, "Stop");
  readonly #progress = el("progress", { max: "1", value: "0", "aria-label": "Progress of the trial", hidden: "" });
  readonly #said = el("p", { class: "trial-said", role: "status", "aria-live": "polite" }, "Try the rule before you save it: it is run over the bars that are stored, by the engine's own operator.");
  readonly #result = el("div", { class: "trial-result" });
  #running: { id: string; abort: AbortController } | null = null;

  constructor(
    private readonly fields: () => Record<string, unknown>,
    private readonly newestMs: () => number,
    private readonly onFault: () => void,
  ) {
    const controls = el(
      "div", { class: "trial-controls" },
      el("label", { class: "field-inline" }, el("span", {}, "Range"), this.#range),
      el("label", { class: "field-inline" }, el("span", {}, "Only symbols"), this.#symbols),
      this.#run, this.#stop,
    );
    this.root.append(el("h3", {}, "Trial"), controls, this.#progress, this.#said, this.#result);
    this.#run.addEventListener("click", () => void this.run());
    this.#stop.addEventListener("click", () => this.stop());
  }

  reset(): void {
    this.stop();
    this.#result.replaceChildren();
    this.#said.classList.remove("answer");
    say(this.#said, "Try the rule before you save it: it is run over the bars that are stored, by the engine's own operator.");
  }

  /** The rule is another one than what was tried. */
  stale(): void {
    this.#result.classList.add("stale");
  }

  stop(): void {
    if (!this.#running) return;
    void ask(`/api/alerts/try/${this.#running.id}`, { method: "DELETE" }).catch(() => undefined);
    this.#running.abort.abort();
    this.#running = null;
  }

  async run(): Promise<void> {
    this.stop();
    const running = { id: crypto.randomUUID?.() ?? `t${Date.now()}${Math.random().toString(36).slice(2)}`, abort: new AbortController() };
    this.#running = running;
    const back = RANGES.find(([name]) => name === this.#range.value)?.[2] ?? null;
    const to = back === null ? FUTURE_MS : this.newestMs() + 1;
    const symbols = this.#symbols.value.split(/[\s,]+/).filter(Boolean);
    this.#busy(true);
    this.#said.classList.remove("answer");
    say(this.#said, "Trying …");
    const timer = window.setInterval(() => void this.#follow(running.id), PROGRESS_MS);
    try {
      const body = { id: running.id, rule: this.fields(), symbols, from_ms: back === null ? 0 : Math.max(0, to - back), to_ms: to };
      const found = await ask<Tried>("/api/alerts/try", { method: "POST", body, signal: running.abort.signal });
      if (this.#running === running) this.#show(found);
    } catch (error) {
      if (this.#running === running || this.#running === null) {
        const stopped = error instanceof DOMException;
        say(this.#said, stopped ? "Stopped: nothing was changed." : (error as Error).message.split("\n")[0]!);
        this.#result.replaceChildren();
        if (!stopped) this.onFault();
      }
    } finally {
      window.clearInterval(timer);
      if (this.#running === running || this.#running === null) this.#busy(false);
      if (this.#running === running) this.#running = null;
    }
  }

  async #follow(id: string): Promise<void> {
    try {
      const { done = 0, total = 0 } = await ask<{ done?: number; total?: number }>(`/api/alerts/try/${id}`);
      if (this.#running?.id !== id || total === 0) return;
      this.#progress.value = done / total;
      say(this.#said, `Trying … ${compact(done)} of ${compact(total)} bars`);
    } catch {
      // it has ended, or is still to begin
    }
  }

  #busy(busy: boolean): void {
    this.#run.disabled = busy;
    this.#stop.hidden = !busy;
    this.#progress.hidden = !busy;
    this.#progress.value = 0;
  }

  #show(found: Tried): void {
    this.#result.classList.remove("stale");
    say(this.#said, sentence(found));
    this.#said.classList.add("answer");
    const parts: Node[] = [];
    if (found.from_ms !== null && found.to_ms !== null) {
      parts.push(el("p", { class: "trial-range" }, `${compact(found.rows)} bars of ${found.timeframe}, ${found.symbols === 1 ? "1 symbol" : `${found.symbols} symbols`}, ${day(found.from_ms)} ${clock(found.from_ms)} to ${day(found.to_ms)} ${clock(found.to_ms)}`));
    }
    if (found.computed.length) {
      parts.push(el("p", { class: "trial-note" }, `Computed for this trial, since it is not stored: ${found.computed.join(", ")}. Add it to engine.indicators before you save the rule.`));
    }
    if (found.charts.length) parts.push(this.#charts(found));
    if (found.list.length) parts.push(table(found));
    this.#result.replaceChildren(...parts);
  }

  #charts(found: Tried): HTMLElement {
    const place = el("div", { class: "trial-chart" });
    const draw = (chart: TriedChart): void => place.replaceChildren(chartOf(chart, found.list.filter((f) => f.symbol === chart.symbol)));
    const root = el("div", { class: "trial-charts" });
    if (found.charts.length > 1) {
      const tabs = el("div", { class: "segments", role: "radiogroup", "aria-label": "Symbol of the chart" });
      found.charts.forEach((chart, i) => {
        const input = el("input", { type: "radio", name: "trial-symbol", ...(i === 0 ? { checked: "" } : {}) });
        input.addEventListener("change", () => draw(chart));
        tabs.append(el("label", { class: "segment" }, input, el("span", {}, chart.symbol)));
      });
      root.append(tabs);
    }
    draw(found.charts[0]!);
    root.append(place);
    return root;
  }
}

/** "Would have fired 14 times; 3 flaps": the whole trial in words. */
export function sentence(found: Pick<Tried, "firings" | "flaps" | "standing" | "rows" | "flap_bars">): string {
  if (found.rows === 0) return "No bars are stored in this range: choose a longer range, other symbols or another timeframe.";
  const times = (n: number): string => (n === 1 ? "once" : `${n.toLocaleString("en-GB")} times`);
  if (found.firings === 0) return "Would not have fired.";
  const flaps = found.flaps === 0 ? "no flaps" : found.flaps === 1 ? "1 flap" : `${found.flaps} flaps`;
  const stands = found.standing ? `; ${found.standing} would still stand at the end` : "";
  return `Would have fired ${times(found.firings)}; ${flaps}${stands}.`;
}

function table(found: Tried): HTMLElement {
  const rows = found.list.slice(0, LISTED).map((f) =>
    el(
      "tr", {},
      el("td", {}, el("a", { href: `#${encodeURIComponent(f.symbol)}/${found.timeframe}?receipt=${f.open_ms}~bar` }, f.symbol)),
      el("td", {}, `${day(f.raised_ms)} ${clock(f.raised_ms)}`),
      el("td", { class: "number" }, value(f.value, 2)),
      el("td", {}, f.held_ms === null ? "to the end" : stoodText(f.held_ms), ...(f.flap ? [" ", el("span", { class: "tag", title: `Raised again within ${found.flap_bars} bars of its clearing` }, "flap")] : [])),
    ),
  );
  const head = el("tr", {}, ...["Symbol", "Raised", "Value", "Stood"].map((name) => el("th", { scope: "col", ...(name === "Value" ? { class: "number" } : {}) }, name)));
  const hidden = found.firings - rows.length;
  return el(
    "div", { class: "trial-list", tabindex: "0", role: "region", "aria-label": "Firings of the trial" },
    el("table", { class: "grid", "aria-label": "Firings of the trial" }, el("thead", {}, head), el("tbody", {}, ...rows)),
    ...(hidden > 0 ? [el("p", { class: "alerts-none" }, `${hidden.toLocaleString("en-GB")} earlier ones are not listed.`)] : []),
  );
}

/** Lines of one scale in the upper part; where the rule compares another series (an RSI), that below it. */
export function chartOf(chart: TriedChart, firings: readonly TriedFiring[]): SVGSVGElement {
  const [first = 0] = chart.times_ms;
  const last = chart.times_ms.at(-1) ?? first + 1;
  const x = (ms: number): number => ((ms - first) / (last - first || 1)) * WIDTH;
  const close = chart.lines.filter((line) => line.name === "close");
  const others = chart.lines.filter((line) => line.name !== "close");
  const same = others.filter((line) => alike(line.values, close[0]?.values ?? []));
  const apart = others.filter((line) => !same.includes(line));
  const panes = apart.length ? [{ lines: [...close, ...same], levels: [] as number[] }, { lines: apart, levels: chart.levels }] : [{ lines: [...close, ...same], levels: chart.levels }];
  const drawing = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "trial-svg", role: "img", preserveAspectRatio: "none", "aria-label": `${chart.symbol}: ${chart.lines.map((l) => l.name).join(", ")}, with ${firings.length} firings` });
  for (const firing of firings) {
    const from = x(firing.raised_ms);
    const width = Math.max(1.5, x(firing.cleared_ms ?? last) - from);
    const rect = svg("rect", { x: from.toFixed(1), y: "0", width: width.toFixed(1), height: String(HEIGHT), class: "held" });
    rect.append(svg("title"));
    rect.firstElementChild!.textContent = `${clock(firing.raised_ms)}: ${firing.message}`;
    drawing.append(rect);
  }
  const room = HEIGHT / panes.length;
  panes.forEach((pane, i) => {
    const known = [...pane.lines.flatMap((l) => l.values.filter((v): v is number => v !== null)), ...pane.levels];
    const low = known.reduce((a, b) => Math.min(a, b), Infinity);
    const high = known.reduce((a, b) => Math.max(a, b), -Infinity);
    const y = (v: number): number => room * i + room * (0.92 - 0.84 * ((v - low) / (high - low || 1)));
    for (const level of pane.levels) drawing.append(svg("line", { x1: "0", x2: String(WIDTH), y1: y(level).toFixed(1), y2: y(level).toFixed(1), class: "level" }));
    pane.lines.forEach((line, k) => drawing.append(svg("path", { d: pathOf(chart.times_ms, line.values, x, y), class: `line line-${i * 2 + k + 1}` })));
    if (i === 0) for (const firing of firings) {
      const at = chart.times_ms.findIndex((t) => Math.abs(t - firing.raised_ms) < 1);
      const v = at < 0 ? null : (close[0]?.values[at] ?? null);
      if (v !== null) drawing.append(svg("circle", { cx: x(firing.raised_ms).toFixed(1), cy: y(v).toFixed(1), r: "2.6", class: firing.flap ? "fired flap" : "fired" }));
    }
  });
  return drawing;
}

/** Whether a line can share the price's scale. */
function alike(line: readonly (number | null)[], price: readonly (number | null)[]): boolean {
  const span = (all: readonly (number | null)[]): [number, number] => all.reduce<[number, number]>(([a, b], v) => (v === null ? [a, b] : [Math.min(a, v), Math.max(b, v)]), [Infinity, -Infinity]);
  const [low, high] = span(price);
  const [from, to] = span(line);
  const room = (high - low || Math.abs(high) * 0.01) * 1.5;
  return from > low - room && to < high + room;
}

function pathOf(times: readonly number[], values: readonly (number | null)[], x: (ms: number) => number, y: (v: number) => number): string {
  let path = "";
  let pen = "M";
  values.forEach((v, i) => {
    if (v === null) {
      pen = "M";
      return;
    }
    path += `${pen}${x(times[i]!).toFixed(1)} ${y(v).toFixed(1)}`;
    pen = "L";
  });
  return path;
}
