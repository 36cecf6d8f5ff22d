/** The values of the looked-at bar, written into the top left corner of each pane. Each is the way to its receipt. */

import { byId, el, say, set } from "../base/dom.ts";
import { barTime, compact, direction, percent, price, revisionText, value } from "../base/format.ts";
import { COL } from "../live/protocol.ts";
import type { Row } from "../live/protocol.ts";
import type { Chart } from "./chart.ts";
import type { Group } from "./indicators.ts";
import { phaseOf } from "./session.ts";

type Update = (row: Row) => void;

const OF_BAR = [["O", "open", COL.open], ["H", "high", COL.high], ["L", "low", COL.low], ["C", "close", COL.close]] as const;
const PHASES = { before: "pre-market", after: "post-market", regular: "", closed: "" } as const;

export interface Looked {
  symbol: string;
  timeframe: string;
  decimals: number;
  /** The names of the columns of rows. */
  columns: readonly string[];
  /** Symbols compared with, and their colours. */
  compared: readonly { symbol: string; color: string }[];
}

export class Legends {
  readonly #root = byId("legends");
  #nodes: HTMLElement[] = [];
  #updates: Update[] = [];
  #built = "";

  /** `onReceipt`: a value was chosen, by its name. */
  constructor(
    private readonly chart: Chart,
    private readonly onReceipt: (name: string) => void,
  ) {}

  /** Colours or columns are others: begin anew at the next look. */
  forget(): void {
    this.#built = "";
  }

  show(looked: Looked): void {
    const row = this.chart.looked;
    const tops = this.chart.paneTops();
    this.#root.hidden = !row || !tops.length;
    if (!row) return;
    const groups = this.chart.groups.filter((g) => !looked.compared.length || g.place !== "price");
    const built = [looked.symbol, looked.timeframe, looked.decimals, ...groups.map((g) => `${g.id} ${g.color}`), ...looked.compared.map((c) => c.symbol)].join();
    if (built !== this.#built) this.#build(groups, looked);
    this.#built = built;
    this.#nodes.forEach((node, i) => {
      node.hidden = tops[i] === undefined;
      const top = `${(tops[i] ?? 0) + 8}px`;
      if (node.style.top !== top) node.style.top = top;
    });
    for (const update of this.#updates) update(row);
  }

  #build(groups: readonly Group[], looked: Looked): void {
    this.#updates = [];
    const of = (place: Group["place"]): Group[] => groups.filter((g) => g.place === place);
    const values = (group: Group): HTMLElement => this.#values(group, looked);
    const first = looked.compared.length ? this.#compared(looked) : this.#bar(looked);
    const contents = [
      [...first, el("i", { class: "break" }), ...of("price").map(values)],
      [this.#item("Volume", "volume", (row) => compact(row[COL.volume])), ...of("volume").map(values)],
      ...of("pane").map((group) => [values(group)]),
    ];
    this.#nodes = contents.map((children) => el("div", { class: "legend" }, ...children));
    this.#root.replaceChildren(...this.#nodes);
  }

  #item(label: string, name: string, text: (row: Row) => string): HTMLElement {
    const bold = el("b");
    const node = el("button", { type: "button", class: "item", title: `Receipt of ${name}` }, label, bold);
    node.addEventListener("click", () => this.onReceipt(name));
    this.#updates.push((row) => say(bold, text(row)));
    return node;
  }

  #bar({ timeframe, decimals }: Looked): HTMLElement[] {
    const time = el("span", { class: "mark" });
    const change = el("span", { class: "item quiet" }, el("b"));
    const state = el("span", { class: "mark" });
    const items = OF_BAR.map(([label, name, column]) => this.#item(label, name, (row) => price(row[column], decimals)));
    this.#updates.push((row) => {
      const [open, close] = [row[COL.open] ?? 0, row[COL.close] ?? 0];
      const moved = open ? (100 * (close - open)) / open : 0;
      const color = `var(--${direction(moved) === "down" ? "down" : "up"})`;
      for (const node of [...items, change]) node.style.setProperty("--of", color);
      say(time, barTime(row[0] as number, timeframe));
      set(time, "class", this.chart.pointing ? "mark" : "mark quiet");
      say(change.firstChild!, percent(moved));
      const revision = row[COL.revision] ?? 0;
      const session = this.chart.sessionOf(row);
      const words = [
        revisionText(revision), PHASES[phaseOf(session, row[0] as number)], session?.half_day ? "half-day" : "",
        ...this.chart.alertsAt(row).map((alert) => `${alert.rule} ${alert.state}`),
      ].filter(Boolean);
      say(state, words.join(" · "));
      set(state, "class", revision > 0 ? "mark revised" : "mark quiet");
    });
    return [time, ...items, change, state];
  }

  #compared({ symbol, timeframe, compared }: Looked): HTMLElement[] {
    const time = el("span", { class: "mark" });
    const since = el("span", { class: "mark quiet" });
    const names = [{ symbol, color: "var(--accent)" }, ...compared];
    const nodes = names.map((one) => {
      const node = el("span", { class: "item" }, one.symbol, el("b"));
      node.style.setProperty("--of", one.color);
      return node;
    });
    this.#updates.push((row) => {
      const { comparison } = this.chart;
      const found = [comparison.percentOf(row[COL.close] ?? 0), ...comparison.at(row[0] as number)];
      say(time, barTime(row[0] as number, timeframe));
      nodes.forEach((node, i) => say(node.lastChild!, found[i] === null || found[i] === undefined ? "–" : percent(found[i])));
      say(since, comparison.start === null ? "no common bar in view" : `since ${barTime(comparison.start, timeframe)}`);
    });
    return [time, ...nodes, since];
  }

  #values(group: Group, { decimals, columns }: Looked): HTMLElement {
    const digits = group.levels.length ? 1 : decimals;
    const node = el("span", { class: "item" }, group.label);
    group.lines.forEach((line, i) => {
      const name = group.values ? group.id : (columns[line.column] ?? group.id);
      const what = `${group.label}${line.label ? ` ${line.label}` : ""}`;
      const bold = el("button", { type: "button", class: "number", title: `Receipt of ${what}` });
      bold.style.setProperty("--of", this.chart.colorOf(group, i));
      bold.addEventListener("click", () => this.onReceipt(name));
      node.append(bold);
      this.#updates.push((row) => {
        const number = this.chart.valueOf(group, line.column, row);
        say(bold, group.place === "volume" || group.large ? compact(number) : value(number, digits));
      });
    });
    return node;
  }
}
