/** A small table whose rows stay the same nodes while their texts change. */

import { el, say, set } from "./dom.ts";

export interface Column<T> {
  name: string;
  title?: string;
  /** Numbers stand at the right. */
  number?: boolean;
  text: (row: T) => string;
  /** What kind of text it is: `good`, `warn`, `bad`, `faint`. */
  tone?: (row: T) => string;
  /** Something drawn instead of the text. */
  draw?: (row: T, cell: HTMLElement) => void;
}

export class LiveTable<T> {
  readonly root: HTMLElement;
  readonly #body = el("tbody");
  readonly #rows = new Map<string, HTMLTableRowElement>();
  readonly #none: HTMLElement;

  /** `key` names a row; `none` is said when there is none. */
  constructor(
    label: string,
    private readonly columns: readonly Column<T>[],
    private readonly key: (row: T) => string,
    none: string,
  ) {
    const heads = columns.map((c) => el("th", { scope: "col", ...(c.title ? { title: c.title } : {}), class: c.number ? "number" : "" }, c.name));
    this.#none = el("p", { class: "live-none" }, none);
    const table = el("table", { "aria-label": label }, el("thead", {}, el("tr", {}, ...heads)), this.#body);
    this.root = el("div", { class: "live-table" }, table, this.#none);
  }

  show(rows: readonly T[]): void {
    const left = new Set(this.#rows.keys());
    let after: Element | null = null;
    for (const row of rows) {
      const key = this.key(row);
      left.delete(key);
      const node = this.#rows.get(key) ?? this.#make(key);
      if ((after ? after.nextElementSibling : this.#body.firstElementChild) !== node) {
        if (after) after.after(node);
        else this.#body.prepend(node);
      }
      after = node;
      this.columns.forEach((column, i) => this.#write(column, row, node.cells[i]!));
    }
    for (const key of left) {
      this.#rows.get(key)!.remove();
      this.#rows.delete(key);
    }
    this.#none.hidden = rows.length > 0;
    this.root.querySelector("table")!.hidden = rows.length === 0;
  }

  #make(key: string): HTMLTableRowElement {
    const row = el("tr");
    this.columns.forEach((column, i) => {
      const cell = i === 0 ? el("th", { scope: "row" }) : el("td", { class: column.number ? "number" : "" });
      row.append(cell);
    });
    this.#rows.set(key, row);
    return row;
  }

  #write(column: Column<T>, row: T, cell: HTMLElement): void {
    if (column.draw) column.draw(row, cell);
    else say(cell, column.text(row));
    const tone = column.tone?.(row) ?? "";
    set(cell, "class", [column.number ? "number" : "", tone].filter(Boolean).join(" "));
  }
}
