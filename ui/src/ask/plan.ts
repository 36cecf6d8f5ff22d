/** How a query was run: what it left out, and the plan. */

import { el } from "../base/dom.ts";
import type { Plan, Scan } from "./api.ts";
import { count } from "./words.ts";

export function planOf({ sql, dialect, scans, plan }: Plan): HTMLElement[] {
  return [
    el("h3", {}, "What it read"),
    ...(scans.length ? scans.map(scanOf) : [el("p", { class: "ask-hint" }, "No file was read.")]),
    el("h3", {}, dialect === "athena" ? "The SQL that ran, from Athena's" : "The SQL that ran"),
    el("pre", { tabindex: "0", "aria-label": "The SQL that ran" }, sql),
    el("h3", {}, "DuckDB's plan"),
    el("pre", { class: "plan-tree", tabindex: "0", "aria-label": "DuckDB's plan" }, plan),
  ];
}

/** The share that a scan left out, in percent: of the files, and of the row groups of those that it read. */
export function leftOut(scan: Scan): number {
  const files = scan.files_in_all === 0 ? 1 : scan.files / scan.files_in_all;
  const groups = scan.row_groups_in_all === 0 ? 1 : scan.row_groups / scan.row_groups_in_all;
  return 100 * (1 - files * groups);
}

function scanOf(scan: Scan): HTMLElement {
  const out = leftOut(scan);
  const meter = el("span", { class: "meter", role: "img", "aria-label": `${out.toFixed(0)}% left out` }, el("i"));
  meter.style.setProperty("--share", String(100 - out));
  const said = `${scan.files.toLocaleString("en-US")} of ${count(scan.files_in_all, "file")}, ${scan.row_groups.toLocaleString("en-US")} of ${count(scan.row_groups_in_all, "row group")}, ${count(scan.columns, "column")}`;
  return el(
    "div", { class: "scan" },
    el("code", {}, scan.table), meter,
    el("span", {}, said, ...(out >= 0.5 ? [el("b", {}, ` · ${out.toFixed(0)}% left out`)] : [])),
    ...(scan.condition ? [el("p", {}, "where ", el("code", {}, scan.condition))] : []),
  );
}
