/** The switches above the chart: its style, indicators, and the symbols beside it. */

import { byId, el, set } from "../base/dom.ts";
import { ADJUSTMENTS } from "./adjusting.ts";
import type { Action, Adjustment } from "./adjusting.ts";
import type { Group } from "./indicators.ts";
import { STYLES } from "./link.ts";
import type { Style } from "./link.ts";

const STYLE_NAMES: Record<Style, string> = { candles: "Candles", line: "Line", heikin: "Heikin-Ashi" };
const ADJUSTMENT_NAMES: Record<Adjustment, string> = { none: "Raw", split: "Split-adjusted", all: "Total return" };

/** A radio group that arrow keys move in. */
class Switch<Value extends string> {
  readonly root: HTMLElement;

  constructor(
    id: string,
    private readonly values: readonly Value[],
    names: Record<Value, string>,
    private readonly onChoose: (value: Value) => void,
  ) {
    this.root = byId(id);
    this.root.append(
      ...values.map((value) => {
        const button = el("button", { type: "button", role: "radio", "data-value": value }, names[value]);
        button.addEventListener("click", () => this.onChoose(value));
        return button;
      }),
    );
    this.root.addEventListener("keydown", (event) => {
      const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      const at = [...this.root.children].indexOf(document.activeElement as Element);
      if (!by || at < 0) return;
      event.preventDefault();
      const next = (at + by + this.values.length) % this.values.length;
      this.onChoose(this.values[next]!);
      (this.root.children[next] as HTMLElement).focus();
    });
  }

  show(value: Value): void {
    for (const button of this.root.children) {
      const on = (button as HTMLElement).dataset["value"] === value;
      set(button, "aria-checked", String(on));
      set(button, "tabindex", on ? "0" : "-1");
    }
  }
}

/** The style of the chart. */
export class StyleSwitch extends Switch<Style> {
  constructor(onChoose: (style: Style) => void) {
    super("styles", STYLES, STYLE_NAMES, onChoose);
  }
}

/** What prices are adjusted for. It is there where there is something to adjust for. */
export class AdjustSwitch extends Switch<Adjustment> {
  constructor(onChoose: (adjustment: Adjustment) => void) {
    super("adjust", ADJUSTMENTS, ADJUSTMENT_NAMES, onChoose);
  }

  offer(actions: readonly Action[]): void {
    this.root.hidden = actions.length === 0;
  }
}

export interface Chips {
  /** What the engine computes: switched on and off. */
  engine: readonly Group[];
  /** What a person chose beside: taken away. */
  computed: readonly Group[];
  /** Asked for, and without values so far. */
  awaited: readonly string[];
  compared: readonly { symbol: string; color: string }[];
  isOn(group: Group): boolean;
  color(group: Group): string;
  toggle(stem: string): void;
  uncompare(symbol: string): void;
}

export function showChips(chips: Chips): void {
  const dot = (color: string): HTMLElement => {
    const node = el("i", { "aria-hidden": "true" });
    node.style.setProperty("--of", color);
    return node;
  };
  const chip = (label: string, color: string, attributes: Record<string, string>, act: () => void): HTMLElement => {
    const node = el("button", { type: "button", ...attributes }, dot(color), label);
    if (attributes["class"]) node.append(el("span", { class: "cross", "aria-hidden": "true" }, "×"));
    node.addEventListener("click", act);
    return node;
  };
  const chosen = "chosen";
  byId("chips").replaceChildren(
    ...chips.compared.map(({ symbol, color }) =>
      chip(symbol, color, { class: chosen, "aria-pressed": "true", "aria-label": `Remove ${symbol} from the comparison` }, () => chips.uncompare(symbol))),
    ...chips.computed.map((group) =>
      chip(group.label, chips.color(group), { class: chosen, "aria-pressed": "true", "aria-label": `Remove ${group.label}` }, () => chips.toggle(group.id))),
    ...chips.awaited.map((stem) =>
      chip(stem, "var(--text-faint)", { class: chosen, "aria-pressed": "true", "aria-label": `Remove ${stem}` }, () => chips.toggle(stem))),
    ...chips.engine.map((group) => chip(group.label, chips.color(group), { "aria-pressed": String(chips.isOn(group)) }, () => chips.toggle(group.id))),
  );
}

/** The field that adds a symbol to the comparison. */
export class CompareField {
  readonly #field = byId("compare") as HTMLInputElement;
  readonly #names = byId("compare-names");

  /** `known`: the symbols there are now, asked for whenever the field is used. */
  constructor(private readonly known: () => string[], private readonly onAdd: (symbol: string) => void) {
    this.#field.addEventListener("focus", () => this.#offer());
    this.#field.addEventListener("change", () => this.#add(false));
    this.#field.addEventListener("keydown", (event) => {
      if (event.key === "Enter") this.#add(true);
      else if (event.key === "Escape") this.#field.blur();
      else return;
      event.preventDefault();
    });
    this.#field.addEventListener("input", () => this.#field.setCustomValidity(""));
  }

  #offer(): void {
    this.#names.replaceChildren(...this.known().sort().map((symbol) => el("option", { value: symbol })));
  }

  #add(loud: boolean): void {
    const typed = this.#field.value.trim().toUpperCase();
    if (!typed) return;
    const known = this.known();
    const begun = known.filter((symbol) => symbol.toUpperCase().startsWith(typed));
    const found = known.find((symbol) => symbol.toUpperCase() === typed) ?? (loud && begun.length === 1 ? begun[0] : undefined);
    if (found) {
      this.#field.value = "";
      this.onAdd(found);
    } else if (loud) {
      this.#field.setCustomValidity(begun.length ? `${begun.length} symbols begin with ${typed}: write one of them whole.` : `There is no symbol ${typed}.`);
      this.#field.reportValidity();
    }
  }
}
