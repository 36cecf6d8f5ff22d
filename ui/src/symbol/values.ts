/** On wide screens: every indicator's value of the looked-at bar, as a list. Each is the way to its receipt. */

import { byId, el, say } from "../base/dom.ts";
import { compact, value } from "../base/format.ts";
import type { Chart } from "./chart.ts";
import type { Group } from "./indicators.ts";

export class Values {
  #lines: { column: number; text: HTMLElement; group: Group; meter: HTMLElement | null }[] = [];

  constructor(private readonly onReceipt: (name: string) => void) {}

  /** Lay the list out anew, in the colours of the chart. */
  arrange(groups: Group[], chart: Chart, columns: readonly string[]): void {
    this.#lines = [];
    byId("values").replaceChildren(...groups.flatMap((group) => this.#block(group, chart, columns)));
  }

  show(chart: Chart, decimals: number): void {
    const row = chart.looked;
    for (const { column, text, group, meter } of this.#lines) {
      const number = row ? chart.valueOf(group, column, row) : null;
      const digits = group.levels.length ? 1 : decimals;
      say(text, group.place === "volume" || group.large ? compact(number) : value(number, digits));
      if (meter && number !== null) meter.style.setProperty("--at", String(Math.min(100, Math.max(0, number))));
    }
  }

  #block(group: Group, chart: Chart, columns: readonly string[]): HTMLElement[] {
    return group.lines.map((line, i) => {
      const text = el("b");
      const dot = el("i", { "aria-hidden": "true" });
      const label = i === 0 ? [dot, group.label] : [line.label];
      const node = el("button", { type: "button", class: i === 0 ? "value" : "value part", title: "Show its receipt" }, el("span", {}, ...label), text);
      node.addEventListener("click", () => this.onReceipt(group.values ? group.id : (columns[line.column] ?? group.id)));
      node.style.setProperty("--of", chart.colorOf(group, i));
      let meter: HTMLElement | null = null;
      if (i === 0 && group.levels.length) {
        meter = el("span", { class: "meter", "aria-hidden": "true" }, el("i"));
        node.append(meter);
      }
      this.#lines.push({ column: line.column, text, group, meter });
      return node;
    });
  }
}
