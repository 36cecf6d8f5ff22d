/** A table of many rows: only those in sight are in the document, and a click on a heading sorts. */

import { el, say, set } from "./dom.ts";

export interface GridColumn {
  name: string;
  /** A word under the name; `title` stands beside it on hovering. */
  note: string;
  title: string;
  toRight: boolean;
  /** In characters. */
  width: number;
}

export interface GridRows {
  count: number;
  text(row: number, column: number): string;
  /** In whole; empty: the text says all. */
  exact(row: number, column: number): string;
}

export interface Sort {
  column: number;
  down: boolean;
}

const BEYOND = 12; // rows kept above and below what is in sight

export class Grid {
  readonly root = el("div", { class: "grid", tabindex: "0", role: "region" });
  readonly #table = el("table");
  readonly #head = el("thead");
  readonly #above = el("tr", { "aria-hidden": "true" });
  readonly #below = el("tr", { "aria-hidden": "true" });
  readonly #body = el("tbody");
  #columns: GridColumn[] = [];
  #rows: GridRows = { count: 0, text: () => "", exact: () => "" };
  #sort: Sort | null = null;
  #shown = "";

  /** `onSort` is told which order a person wants; it gives the rows in it to `order`. */
  constructor(label: string, private readonly onSort: (sort: Sort | null) => void) {
    set(this.root, "aria-label", label);
    this.#table.append(this.#head, this.#body);
    this.root.append(this.#table);
    this.root.addEventListener("scroll", () => this.#draw(), { passive: true });
    new ResizeObserver(() => this.#draw()).observe(this.root);
  }

  show(columns: GridColumn[], rows: GridRows): void {
    this.#columns = columns;
    this.#sort = null;
    this.#table.querySelector("colgroup")?.remove();
    const widths = columns.map(({ width }) => `calc(${width}ch + 1.75rem)`);
    const cols = [...widths.map((width) => sized("col", "width", width)), el("col")]; // the last takes what is left
    this.#table.prepend(el("colgroup", {}, ...cols));
    this.#table.style.setProperty("width", `max(100%, calc(${widths.join(" + ") || "0px"}))`);
    this.#head.replaceChildren(el("tr", {}, ...columns.map((column, i) => this.#heading(column, i)), el("th", { class: "filler", scope: "col", "aria-hidden": "true" })));
    set(this.#table, "aria-colcount", String(columns.length));
    this.root.scrollTo(0, 0);
    this.order(rows);
  }

  /** The same rows in another order. */
  order(rows: GridRows): void {
    this.#rows = rows;
    set(this.#table, "aria-rowcount", String(rows.count + 1));
    this.#shown = "";
    this.#draw();
  }

  #heading(column: GridColumn, i: number): HTMLElement {
    const button = el("button", { type: "button", title: column.title }, el("span", {}, column.name), el("small", {}, column.note));
    button.addEventListener("click", () => {
      const now = this.#sort?.column === i ? this.#sort : null;
      // amounts are looked at from the top, names from the first letter; the third click gives the query's own order
      const first = column.toRight;
      this.#sort = now === null ? { column: i, down: first } : now.down === first ? { column: i, down: !first } : null;
      this.#head.querySelectorAll("th").forEach((th, j) => set(th, "aria-sort", this.#sort?.column === j ? (this.#sort.down ? "descending" : "ascending") : "none"));
      this.onSort(this.#sort);
    });
    return el("th", { scope: "col", "aria-sort": "none", ...(column.toRight ? { class: "right" } : {}) }, button);
  }

  #draw(): void {
    const height = this.root.clientHeight;
    if (height === 0) return;
    const rowPx = 1.75 * parseFloat(getComputedStyle(document.documentElement).fontSize);
    const from = Math.max(0, Math.floor(this.root.scrollTop / rowPx) - BEYOND);
    const to = Math.min(this.#rows.count, from + Math.ceil(height / rowPx) + 2 * BEYOND);
    const shown = `${from} ${to} ${rowPx}`;
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#above.style.setProperty("height", `${from * rowPx}px`);
    this.#below.style.setProperty("height", `${(this.#rows.count - to) * rowPx}px`);
    const rows = [];
    for (let i = from; i < to; i++) rows.push(this.#row(i));
    this.#body.replaceChildren(this.#above, ...rows, this.#below);
  }

  #row(i: number): HTMLElement {
    const cells = this.#columns.map((column, j) => {
      const cell = el("td", column.toRight ? { class: "right" } : {});
      const text = this.#rows.text(i, j);
      say(cell, text === "" ? "–" : text);
      if (text === "") cell.classList.add("none");
      const exact = this.#rows.exact(i, j);
      if (exact) cell.title = exact;
      return cell;
    });
    return el("tr", { "aria-rowindex": String(i + 2) }, ...cells, el("td", { class: "filler", "aria-hidden": "true" }));
  }
}

function sized(tag: "col", name: string, value: string): HTMLElement {
  const node = el(tag);
  node.style.setProperty(name, value);
  return node;
}
