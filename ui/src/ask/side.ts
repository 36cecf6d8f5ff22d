/** Beside the editor: the library, the tables, and what was asked before. */

import { el, set } from "../base/dom.ts";
import type { NamedQuery, Table } from "./api.ts";
import { typeWord } from "./columns.ts";
import type { Asked } from "./link.ts";
import { matching, textOf } from "./past.ts";
import type { PastQuery } from "./past.ts";
import { Tabs } from "./tabs.ts";
import { count, span } from "./words.ts";

export interface SideHooks {
  choose(asked: Asked): void;
  insert(word: string): void;
  forget(): void;
}

export class Side {
  readonly root = el("aside", { class: "ask-side", "aria-label": "Queries, tables and history" });
  readonly #queries = el("div", { class: "ask-list" });
  readonly #tables = el("div", { class: "ask-list" });
  readonly #past = el("div", { class: "ask-list" });
  readonly #search = el("input", { type: "search", placeholder: "Search history", "aria-label": "Search history", autocomplete: "off", spellcheck: "false" });
  readonly #pastList = el("div");
  readonly #buttons = new Map<string, HTMLElement>();
  #runs: readonly PastQuery[] = [];
  #listed = "";

  constructor(private readonly hooks: SideHooks) {
    const forget = el("button", { type: "button", class: "quiet" }, "Forget all");
    forget.addEventListener("click", () => hooks.forget());
    this.#search.addEventListener("input", () => this.#drawPast());
    this.#past.append(el("div", { class: "ask-search" }, this.#search, forget), this.#pastList);
    const tabs = new Tabs("Library", [
      { id: "queries", name: "Queries", panel: this.#queries },
      { id: "tables", name: "Tables", panel: this.#tables },
      { id: "history", name: "History", panel: this.#past },
    ]);
    this.#wait(this.#queries, "Reading the library …");
    this.#wait(this.#tables, "Reading the tables …");
    this.root.append(tabs.root, this.#queries, this.#tables, this.#past);
    arrows(this.#queries);
    arrows(this.#past);
  }

  library(queries: readonly NamedQuery[]): void {
    this.#buttons.clear();
    this.#queries.replaceChildren(
      ...queries.map(({ name, title, meaning }) => {
        const button = el("button", { type: "button", class: "ask-item" }, el("b", {}, title), el("span", {}, meaning));
        button.addEventListener("click", () => this.hooks.choose({ named: name, params: {}, sql: "", dialect: "auto" }));
        this.#buttons.set(name, button);
        return button;
      }),
    );
  }

  /** The same tables leave the list as it is: one that is open stays open. */
  tables(tables: readonly Table[]): void {
    const text = JSON.stringify(tables);
    if (text === this.#listed) return;
    this.#listed = text;
    this.#tables.replaceChildren(
      ...tables.map(({ name, meaning, columns }) => {
        const look = el("button", { type: "button", class: "quiet" }, "Look at 100 rows");
        look.addEventListener("click", () => this.hooks.choose({ named: null, params: {}, sql: `SELECT *\nFROM ${name}\nLIMIT 100`, dialect: "auto" }));
        const list = el("ul", {}, ...columns.map((column) => {
          const button = el("button", { type: "button", title: `${column.type}: put it into the query` }, el("code", {}, column.name), el("small", {}, typeWord(column.type)));
          button.addEventListener("click", () => this.hooks.insert(/^[a-z_][a-z0-9_]*$/.test(column.name) && !RESERVED.has(column.name) ? column.name : `"${column.name}"`));
          return el("li", {}, button);
        }));
        const head = el("summary", {}, el("code", {}, name), el("small", {}, count(columns.length, "column")));
        return el("details", { class: "ask-table" }, head, el("p", {}, meaning), look, list);
      }),
    );
  }

  /** What could not be read, in words. */
  failed(which: "library" | "tables", why: string): void {
    if (which === "tables") this.#listed = "";
    this.#wait(which === "library" ? this.#queries : this.#tables, why);
  }

  past(runs: readonly PastQuery[]): void {
    this.#runs = runs;
    this.#drawPast();
  }

  choose(named: string | null): void {
    for (const [name, button] of this.#buttons) {
      if (name === named) set(button, "aria-current", "true");
      else button.removeAttribute("aria-current");
    }
  }

  #drawPast(): void {
    const found = matching(this.#runs, this.#search.value);
    if (found.length === 0) return this.#wait(this.#pastList, this.#runs.length ? "No query holds these words." : "What you run is kept here, in this browser only.");
    this.#pastList.replaceChildren(
      ...found.map((run) => {
        const how = run.error ?? `${count(run.rows ?? 0, "row")}${run.tookMs === null ? "" : ` in ${(run.tookMs / 1_000).toFixed(2)} s`}`;
        const button = el("button", { type: "button", class: run.error === null ? "ask-item" : "ask-item failed", title: "Run it again" }, el("code", {}, textOf(run.asked)), el("span", {}, `${span(Date.now() - run.atMs)} ago · ${how}`));
        button.addEventListener("click", () => this.hooks.choose(run.asked));
        return button;
      }),
    );
  }

  #wait(where: HTMLElement, why: string): void {
    where.replaceChildren(el("p", { class: "ask-hint" }, why));
  }
}

const RESERVED = new Set(["offset", "partition"]); // names of columns that are words of SQL

/** Up and down go from one button of a list to the next. */
function arrows(list: HTMLElement): void {
  list.addEventListener("keydown", (event) => {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (step === undefined) return;
    const buttons = [...list.querySelectorAll<HTMLElement>(".ask-item")];
    const next = buttons[buttons.indexOf(document.activeElement as HTMLElement) + step];
    if (!next) return;
    event.preventDefault();
    next.focus();
  });
}
