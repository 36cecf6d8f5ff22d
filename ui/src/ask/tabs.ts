/** A row of tabs, each over its panel. */

import { el, set } from "../base/dom.ts";

interface Tab<Id extends string> {
  id: Id;
  name: string;
  panel: HTMLElement;
}

export class Tabs<Id extends string> {
  readonly root = el("div", { class: "tabs", role: "tablist" });
  readonly #buttons = new Map<Id, HTMLButtonElement>();
  readonly #tabs: readonly Tab<Id>[];
  #chosen: Id;

  constructor(label: string, tabs: readonly Tab<Id>[], private readonly onChoose: (id: Id) => void = () => {}) {
    set(this.root, "aria-label", label);
    this.#tabs = tabs;
    this.#chosen = tabs[0]!.id;
    for (const { id, name, panel } of tabs) {
      panel.id ||= `panel-${label.toLowerCase()}-${id}`;
      set(panel, "role", "tabpanel");
      set(panel, "aria-label", name);
      const button = el("button", { type: "button", role: "tab", "aria-controls": panel.id }, name);
      button.addEventListener("click", () => {
        this.choose(id);
        this.onChoose(id);
      });
      this.#buttons.set(id, button);
      this.root.append(button);
    }
    this.root.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
      if (step === undefined) return;
      event.preventDefault();
      const usable = tabs.filter(({ id }) => !this.#buttons.get(id)!.disabled);
      const next = usable[(usable.findIndex(({ id }) => id === this.#chosen) + step + usable.length) % usable.length];
      if (!next) return;
      this.#buttons.get(next.id)!.focus();
      this.#buttons.get(next.id)!.click();
    });
    this.choose(this.#chosen);
  }

  get chosen(): Id {
    return this.#chosen;
  }

  choose(id: Id): void {
    this.#chosen = id;
    for (const tab of this.#tabs) {
      const button = this.#buttons.get(tab.id)!;
      set(button, "aria-selected", String(tab.id === id));
      set(button, "tabindex", tab.id === id ? "0" : "-1");
      tab.panel.hidden = tab.id !== id;
    }
  }
}
