/** The form above the table: which symbols, and how many they are. */

import { el, say } from "../base/dom.ts";
import type { Asked } from "./link.ts";
import { NO_VENUE } from "./model.ts";

type Choice = readonly [value: string, name: string];

const KINDS: readonly Choice[] = [["all", "Real and simulated"], ["real", "Real"], ["simulated", "Simulated"]];
const WAYS: readonly Choice[] = [["all", "Any direction"], ["up", "Up"], ["down", "Down"], ["flat", "Unchanged"]];
export const SIZE_NAMES: readonly Choice[] = [["auto", "Size: automatic"], ["value", "Size: traded value"], ["root", "Size: root of value"], ["equal", "Size: equal"]];

export class Filter {
  readonly root = el("form", { class: "all-filter", role: "search", "aria-label": "Filter symbols" });
  readonly #text = el("input", { type: "search", placeholder: "Filter symbols", "aria-label": "Filter symbols", autocomplete: "off", spellcheck: "false", maxlength: "64" });
  readonly #venue = choose("Venue", [["", "All venues"]]);
  readonly #kind = choose("Data", KINDS);
  readonly #direction = choose("Direction", WAYS);
  readonly #count = el("p", { class: "all-count", role: "status" });
  readonly #clear = el("button", { type: "button", hidden: "" }, "Clear");
  #venues = "";

  constructor(onChange: (asked: Partial<Asked>) => void) {
    this.root.append(this.#text, this.#venue, this.#kind, this.#direction, this.#clear, this.#count);
    const told = (): Partial<Asked> => ({
      text: this.#text.value, venue: this.#venue.value, kind: this.#kind.value as Asked["kind"], direction: this.#direction.value as Asked["direction"],
    });
    this.root.addEventListener("submit", (event) => event.preventDefault());
    this.root.addEventListener("input", () => onChange(told()));
    this.#text.addEventListener("keydown", (event) => {
      if (event.key !== "Escape" || !this.#text.value) return;
      event.preventDefault();
      this.#text.value = "";
      onChange(told());
    });
    this.#clear.addEventListener("click", () => onChange({ text: "", venue: "", kind: "all", direction: "all" }));
  }

  show(asked: Asked, venues: readonly string[], shown: number, all: number): void {
    const known = [...new Set([...venues, ...(asked.venue ? [asked.venue] : [])])];
    if (known.join("\n") !== this.#venues) {
      this.#venues = known.join("\n");
      this.#venue.replaceChildren(el("option", { value: "" }, "All venues"), ...known.map((name) => el("option", { value: name }, name === NO_VENUE ? "No venue" : name)));
    }
    if (this.#text.value !== asked.text && document.activeElement !== this.#text) this.#text.value = asked.text;
    if (asked.text === "") this.#text.value = "";
    this.#venue.value = asked.venue;
    this.#kind.value = asked.kind;
    this.#direction.value = asked.direction;
    this.#clear.hidden = !(asked.text || asked.venue || asked.kind !== "all" || asked.direction !== "all");
    say(this.#count, shown === all ? `${all} ${all === 1 ? "symbol" : "symbols"}` : `${shown} of ${all}`);
  }
}

export function choose(label: string, of: readonly Choice[]): HTMLSelectElement {
  return el("select", { "aria-label": label }, ...of.map(([value, name]) => el("option", { value }, name)));
}
