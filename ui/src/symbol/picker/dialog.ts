/** The dialog that offers every indicator of the catalogue. */

import "./picker.css";

import { Refused, ask } from "../../base/api.ts";
import { el, say, set, svg } from "../../base/dom.ts";
import type { Chosen } from "../link.ts";
import { found } from "./catalogue.ts";
import type { Entry } from "./catalogue.ts";
import { formOf } from "./form.ts";

const FIRST = ["trend", "momentum", "volatility", "volume", "price", "statistics", "quote"];

export class Picker {
  readonly #dialog = el("dialog", { class: "dialog picker", "aria-labelledby": "picker-title" });
  readonly #search = el("input", { type: "search", placeholder: "Search indicators", "aria-label": "Search indicators", autocomplete: "off", spellcheck: "false" });
  readonly #groups = el("div", { class: "picker-groups", role: "group", "aria-label": "Categories" });
  readonly #list = el("ul", { class: "picker-list", "aria-label": "Indicators" });
  readonly #form = el("div", { class: "picker-detail" });
  readonly #count = el("p", { class: "picker-count", role: "status" });
  #entries: Entry[] = [];
  #group = "";
  #chosen = "";

  /** `isOn`: whether an indicator of this name is on the chart already. */
  constructor(
    private readonly isOn: (name: string) => boolean,
    private readonly onAdd: (chosen: Chosen) => void,
  ) {
    const close = el("button", { type: "button", class: "icon-button", "aria-label": "Close" }, svg("svg", { viewBox: "0 0 20 20", "aria-hidden": "true" }, svg("path", { d: "m5 5 10 10M15 5 5 15" })));
    close.addEventListener("click", () => this.#dialog.close());
    this.#dialog.addEventListener("click", (event) => event.target === this.#dialog && this.#dialog.close()); // beside it
    this.#search.addEventListener("input", () => this.#showList());
    this.#search.addEventListener("keydown", (event) => {
      if (event.key !== "ArrowDown" && event.key !== "Enter") return;
      event.preventDefault();
      const first = this.#list.querySelector("button");
      if (event.key === "Enter") first?.click();
      else first?.focus();
    });
    this.#list.addEventListener("keydown", (event) => this.#listKey(event));
    this.#dialog.append(
      el("header", {}, el("h2", { id: "picker-title" }, "Indicators"), close),
      el("div", { class: "picker-top" }, this.#search, this.#groups),
      el("div", { class: "picker-main" }, el("div", { class: "picker-side" }, this.#count, this.#list), this.#form),
    );
    document.body.append(this.#dialog);
  }

  async open(): Promise<void> {
    this.#dialog.showModal();
    this.#search.focus();
    if (this.#entries.length) {
      this.#showList();
      return;
    }
    say(this.#count, "Reading the catalogue …");
    try {
      this.#entries = (await ask<{ indicators: Entry[] }>("/api/catalog")).indicators;
    } catch (error) {
      say(this.#count, error instanceof Refused ? error.message : String(error));
      return;
    }
    this.#showGroups();
    this.#showList();
  }

  #showGroups(): void {
    const rank = (group: string): number => (FIRST.indexOf(group) + 99) % 99;
    const groups = [...new Set(this.#entries.map((entry) => entry.group))].sort((a, b) => rank(a) - rank(b));
    this.#groups.replaceChildren(
      ...["", ...groups].map((group) => {
        const button = el("button", { type: "button", "aria-pressed": String(group === this.#group) }, group ? group.charAt(0).toUpperCase() + group.slice(1) : "All");
        button.addEventListener("click", () => {
          this.#group = group;
          for (const other of this.#groups.children) set(other, "aria-pressed", String(other === button));
          this.#showList();
        });
        return button;
      }),
    );
  }

  #showList(): void {
    const entries = found(this.#entries, this.#search.value, this.#group);
    say(this.#count, entries.length ? `${entries.length} of ${this.#entries.length}` : `No indicator has “${this.#search.value.trim()}” in its name or formula.`);
    this.#list.replaceChildren(...entries.map((entry) => el("li", {}, this.#entry(entry))));
    const shown = entries.find((entry) => entry.name === this.#chosen) ?? entries[0];
    if (shown) this.#choose(shown);
    else this.#form.replaceChildren();
  }

  #entry(entry: Entry): HTMLElement {
    const on = this.isOn(entry.name) ? [el("span", { class: "on" }, "on the chart")] : [];
    const button = el("button", { type: "button", "data-name": entry.name, "aria-pressed": "false" }, el("b", {}, entry.title), el("code", {}, entry.name), ...on);
    button.addEventListener("click", () => {
      this.#choose(entry);
      this.#form.querySelector<HTMLElement>("input:not([type=radio]), button")?.focus();
    });
    return button;
  }

  #choose(entry: Entry): void {
    this.#chosen = entry.name;
    for (const button of this.#list.querySelectorAll<HTMLElement>("button")) set(button, "aria-pressed", String(button.dataset["name"] === entry.name));
    this.#form.replaceChildren(
      formOf(entry, (chosen) => {
        this.onAdd(chosen);
        this.#dialog.close();
      }),
    );
  }

  #listKey(event: KeyboardEvent): void {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    const buttons = [...this.#list.querySelectorAll("button")];
    const at = buttons.indexOf(document.activeElement as HTMLButtonElement) + by;
    if (at < 0) this.#search.focus();
    else buttons[Math.min(at, buttons.length - 1)]?.focus();
  }
}
