/** The form of one indicator: its parameters, its colour, and the button that puts it on the chart. */

import { el, say, set } from "../../base/dom.ts";
import type { Chosen } from "../link.ts";
import { fault, plain, stemOf } from "./catalogue.ts";
import type { Entry, Parameter } from "./catalogue.ts";

const COLORS = ["Amber", "Violet", "Pink", "Slate", "Green", "Blue"];
const PANES = { price: "over the price", volume: "over the volume", own: "in a pane of its own" };

interface Field {
  parameter: Parameter;
  input: HTMLInputElement;
  error: HTMLElement;
}

export function formOf(entry: Entry, add: (chosen: Chosen) => void): HTMLElement {
  const fields = entry.parameters.map(fieldOf);
  const button = el("button", { type: "submit", class: "add" }, "Add to the chart");
  const form = el("form", { class: "picker-form", novalidate: "", "aria-label": entry.title });
  const colors = el("fieldset", { class: "colors" }, el("legend", {}, "Colour"), colorOf(null, "Automatic"), ...COLORS.map((name, i) => colorOf(i, name)));
  form.append(
    el("h3", {}, entry.title),
    el("p", { class: "formula" }, entry.formula),
    el("p", { class: "faint" }, `${entry.source}. Drawn ${PANES[entry.pane]}; the first ${entry.warm_up} bars of a series have no value with the usual numbers.`),
  );
  if (entry.needs_the_engine) {
    form.append(el("p", { class: "picker-note" }, sentence(entry.needs_the_engine)));
    return form;
  }
  form.append(...fields.map(({ input, parameter, error }) =>
    el("label", { class: "field" }, el("span", {}, words(parameter.name)), input, el("small", {}, `${plain(parameter.minimum)} to ${plain(parameter.maximum)}`), error)), colors, button);
  const check = (): boolean => {
    const wrong = fields.map(({ parameter, input, error }) => {
      const what = fault(parameter, input.value);
      say(error, what ?? "");
      set(input, "aria-invalid", String(what !== null));
      return what !== null;
    });
    button.disabled = wrong.some(Boolean);
    return !button.disabled;
  };
  form.addEventListener("input", check);
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    if (!check()) {
      fields.find(({ input }) => input.getAttribute("aria-invalid") === "true")?.input.focus();
      return;
    }
    const color = new FormData(form).get("color");
    add({ stem: stemOf(entry, fields.map(({ input }) => Number(input.value))), color: color === null || color === "" ? null : Number(color) });
  });
  return form;
}

function fieldOf(parameter: Parameter): Field {
  const id = `parameter-${parameter.name}`;
  const error = el("em", { id: `${id}-error`, role: "alert" });
  const input = el("input", {
    id, name: parameter.name, type: "number", inputmode: "decimal", value: plain(parameter.default), min: String(parameter.minimum),
    max: String(parameter.maximum), step: parameter.kind === "int" ? "1" : "any", "aria-describedby": error.id, required: "",
  });
  return { parameter, input, error };
}

function colorOf(at: number | null, name: string): HTMLElement {
  const input = el("input", { type: "radio", name: "color", value: at === null ? "" : String(at), "aria-label": name, title: name, ...(at === null ? { checked: "" } : {}) });
  const label = el("label", { class: at === null ? "color auto" : "color" }, input, el("i", { "aria-hidden": "true" }, at === null ? "Auto" : ""));
  if (at !== null) label.style.setProperty("--of", `var(--series-${at + 1})`);
  return label;
}

const words = (name: string): string => name.charAt(0).toUpperCase() + name.slice(1).replaceAll("_", " ");
const sentence = (text: string): string => `This one cannot be added here: ${text}.`;
