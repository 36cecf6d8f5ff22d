/** The values of the looked-at bar, written into the top left corner of each pane. */

import type { Chart } from "./chart.ts";
import { byId, el } from "../base/dom.ts";
import { barTime, compact, direction, percent, price, revisionText, value } from "../base/format.ts";
import type { Group } from "./indicators.ts";
import { COL } from "../live/protocol.ts";
import type { Row } from "../live/protocol.ts";

function item(label: string, text: string, color = "", extra = ""): HTMLElement {
  const bold = el("b", {}, text);
  const node = el("span", { class: `item ${extra}` }, label, bold);
  if (color) node.style.setProperty("--of", color);
  return node;
}

function bar(row: Row, timeframe: string, decimals: number, pointing: boolean): HTMLElement[] {
  const [open, close] = [row[COL.open] ?? 0, row[COL.close] ?? 0];
  const change = open ? (100 * (close - open)) / open : 0;
  const color = `var(--${direction(change) === "down" ? "down" : "up"})`;
  const of = (column: number): string => price(row[column], decimals);
  const state = revisionText(row[COL.revision] ?? 0);
  return [
    el("span", { class: pointing ? "mark" : "mark quiet" }, barTime(row[0] as number, timeframe)),
    item("O", of(COL.open), color),
    item("H", of(COL.high), color),
    item("L", of(COL.low), color),
    item("C", of(COL.close), color),
    item("", percent(change), color, "quiet"),
    ...(state ? [el("span", { class: (row[COL.revision] ?? 0) > 0 ? "mark revised" : "mark quiet" }, state)] : []),
  ];
}

export function showLegends(chart: Chart, groups: Group[], timeframe: string, decimals: number): void {
  const row = chart.looked;
  const tops = chart.paneTops();
  const root = byId("legends");
  if (!row || !tops.length) {
    root.replaceChildren();
    return;
  }
  const values = (group: Group): HTMLElement =>
  {
    const digits = group.levels.length ? 1 : decimals;
    const node = el("span", { class: "item" }, group.label);
    group.lines.forEach((line, i) => {
      const shown = group.place === "volume" ? compact(row[line.column]) : value(row[line.column], digits);
      const bold = el("b", {}, shown);
      bold.style.setProperty("--of", chart.colorOf(group, i));
      node.append(bold);
    });
    return node;
  };
  const of = (place: Group["place"]): Group[] => groups.filter((g) => g.place === place);
  const contents = [
    [...bar(row, timeframe, decimals, chart.pointing), el("i", { class: "break" }), ...of("price").map(values)],
    [item("Volume", compact(row[COL.volume])), ...of("volume").map(values)],
    ...of("pane").map((group) => [values(group)]),
  ];
  root.replaceChildren(
    ...contents.slice(0, tops.length).map((children, i) => {
      const legend = el("div", { class: "legend" }, ...children);
      legend.style.top = `${tops[i]! + 8}px`;
      return legend;
    }),
  );
}
