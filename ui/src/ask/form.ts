/** The parameters of a query of the library, as fields. */

import { el } from "../base/dom.ts";
import type { NamedQuery, Parameter } from "./api.ts";

const LABELS: Record<string, string> = { symbol: "Symbol", other: "Other symbol", timeframe: "Timeframe", days: "Days back", until: "Until", limit: "At most", levels: "Levels", percent: "Percent", minutes: "Minutes", zone: "Time zone", bars_per_year: "Bars per year" };

export interface Offered {
  symbols: string[];
  timeframes: string[];
}

export class Form {
  readonly root = el("form", { class: "ask-form", "aria-label": "Parameters" });
  #fields: { parameter: Parameter; input: HTMLInputElement }[] = [];

  constructor(onSubmit: () => void, private readonly offered: () => Offered) {
    this.root.addEventListener("submit", (event) => {
      event.preventDefault();
      onSubmit();
    });
  }

  show(query: NamedQuery, values: Record<string, string>): void {
    const { symbols, timeframes } = this.offered();
    const lists = { "ask-symbols": symbols, "ask-timeframes": timeframes };
    this.#fields = query.parameters.map((parameter) => ({ parameter, input: inputOf(parameter, values[parameter.name]) }));
    this.root.replaceChildren(
      ...this.#fields.map(({ parameter: { name, meaning }, input }) => {
        const help = el("small", { id: `ask-of-${name}` }, meaning);
        input.setAttribute("aria-describedby", help.id);
        input.title = meaning;
        return el("label", {}, el("span", {}, LABELS[name] ?? name), input, help);
      }),
      ...Object.entries(lists).map(([id, options]) => el("datalist", { id }, ...options.map((value) => el("option", { value })))),
      el("button", { class: "unseen", type: "submit", tabindex: "-1", "aria-hidden": "true" }), // Enter in a field runs it
    );
  }

  /** What differs from the defaults. */
  get values(): Record<string, string> {
    const given = this.#fields.map(({ parameter, input }) => [parameter, input.value.trim()] as const);
    return Object.fromEntries(given.filter(([p, value]) => value !== "" && value !== plainDefault(p)).map(([p, value]) => [p.name, value]));
  }
}

function inputOf(parameter: Parameter, value: string | undefined): HTMLInputElement {
  const { name, kind } = parameter;
  const input = el("input", { name, autocomplete: "off", spellcheck: "false", type: kind === "count" || kind === "number" ? "number" : "text" });
  if (kind === "count") Object.assign(input, { min: "1", step: "1" });
  if (kind === "number") Object.assign(input, { min: "0", step: "any" });
  if (kind === "time") input.placeholder = "newest";
  if (name === "symbol" || name === "other") input.setAttribute("list", "ask-symbols");
  if (name === "timeframe") input.setAttribute("list", "ask-timeframes");
  input.value = value ?? plainDefault(parameter);
  return input;
}

/** The default as a person writes it. */
function plainDefault({ kind, default: text }: Parameter): string {
  return kind === "time" ? "" : text.replace(/^'(.*)'$/s, "$1").replaceAll("''", "'");
}
