/** The panel that shows where a bar, or one of its values, comes from. */

import "./receipt.css";

import { Refused, ask } from "../../base/api.ts";
import { byId, el, say, svg } from "../../base/dom.ts";
import { barTime } from "../../base/format.ts";
import { FORMING } from "../../live/protocol.ts";
import type { Place } from "../../live/protocol.ts";
import { arithmetic, asText, inputs, origin, revisions, verdict } from "./parts.ts";
import type { Receipt } from "./told.ts";

/** Whose receipt: a bar by its open time in ms, and a value's name. */
export interface Subject {
  place: Place;
  open: number;
  name: string;
  revision: number;
  /** Every name that has a receipt at this bar. */
  names: readonly string[];
  /** Indicators that the page asked for: they have none. */
  computed: readonly string[];
}

export class ReceiptPanel {
  readonly #root = byId("receipt");
  readonly #about = el("p", { class: "receipt-about" });
  readonly #choice = el("select", { id: "receipt-name", "aria-label": "Value" });
  readonly #body = el("div", { class: "receipt-body" });
  readonly #copy = el("button", { type: "button", class: "quiet-button" }, "Copy link");
  #subject: Subject | null = null;
  #shown = "";
  #abort = new AbortController();
  #from: Element | null = null;

  /** `onName`: another value of the same bar; `onClose`. */
  constructor(
    private readonly onName: (name: string) => void,
    private readonly onClose: () => void,
  ) {
    const close = el("button", { type: "button", class: "icon-button", "aria-label": "Close the receipt" }, svg("svg", { viewBox: "0 0 20 20", "aria-hidden": "true" }, svg("path", { d: "m5 5 10 10M15 5 5 15" })));
    close.addEventListener("click", () => this.onClose());
    this.#copy.addEventListener("click", () => void this.#copyLink());
    this.#choice.addEventListener("change", () => this.onName(this.#choice.value));
    this.#root.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.stopPropagation();
      this.onClose();
    });
    this.#root.append(
      el("header", {}, el("h3", { id: "receipt-title" }, "Receipt"), close),
      el("div", { class: "receipt-of" }, this.#about, el("div", { class: "receipt-row" }, this.#choice, this.#copy)),
      this.#body,
    );
  }

  get isOpen(): boolean {
    return !this.#root.hidden;
  }

  show(subject: Subject): void {
    const shown = JSON.stringify([subject.place, subject.open, subject.name, subject.revision]);
    if (!this.isOpen) this.#from = document.activeElement;
    this.#root.hidden = false;
    this.#subject = subject;
    this.#offer(subject);
    if (shown === this.#shown) return;
    this.#shown = shown;
    const { place, open } = subject;
    say(this.#about, `${place.symbol} ${place.timeframe} · ${barTime(open, place.timeframe)} UTC`);
    void this.#load();
  }

  /** Every name to choose from; the alerts among them may come later. */
  #offer({ name, names }: Subject): void {
    const offered = names.includes(name) ? names : [name, ...names];
    if ([...this.#choice.options].map((option) => option.value).join() !== offered.join()) {
      this.#choice.replaceChildren(...offered.map((one) => el("option", { value: one }, nameText(one))));
    }
    this.#choice.value = name;
  }

  close(): void {
    if (!this.isOpen) return;
    this.#abort.abort();
    this.#shown = "";
    this.#root.hidden = true;
    if (this.#from instanceof HTMLElement && this.#from.isConnected) this.#from.focus();
  }

  async #load(): Promise<void> {
    this.#abort.abort();
    this.#abort = new AbortController();
    const { signal } = this.#abort;
    const { place, open, name, revision, computed } = this.#subject!;
    if (computed.includes(name)) {
      this.#tell(`${name} is computed for this page, from the bars. What the engine computes is stored with a receipt: name it in engine.indicators, and it has one.`);
      return;
    }
    if (revision === FORMING) {
      this.#tell("This bar is still forming. Its receipt stands as soon as it has closed.");
      return;
    }
    this.#body.replaceChildren(el("p", { class: "receipt-wait", role: "status" }, "Replaying the log for this bar …"), ...[70, 92, 84, 60, 88].map(skeleton));
    this.#body.setAttribute("aria-busy", "true");
    try {
      const told = await ask<Receipt>("/api/explain", { ...place, open_ms: open, name }, signal);
      if (signal.aborted) return;
      this.#body.replaceChildren(verdict(told), arithmetic(told), origin(told), inputs(told), revisions(told), asText(told));
      this.#body.scrollTop = 0;
    } catch (error) {
      if (signal.aborted) return;
      this.#tell(error instanceof Refused ? error.message : String(error), true);
    } finally {
      if (!signal.aborted) this.#body.removeAttribute("aria-busy");
    }
  }

  #tell(text: string, again = false): void {
    const retry = el("button", { type: "button", class: "quiet-button" }, "Try again");
    retry.addEventListener("click", () => void this.#load());
    this.#body.replaceChildren(el("p", { class: "receipt-note", role: "status" }, text), ...(again ? [retry] : []));
  }

  async #copyLink(): Promise<void> {
    try {
      await navigator.clipboard.writeText(location.href);
      say(this.#copy, "Copied");
    } catch {
      say(this.#copy, "Copy the address above"); // the browser does not let a page write there
    }
    window.setTimeout(() => say(this.#copy, "Copy link"), 2_000);
  }
}

function nameText(name: string): string {
  if (name === "bar") return "The whole bar";
  return name.startsWith("alert:") ? `Alert ${name.slice(6)}` : name;
}

function skeleton(width: number): HTMLElement {
  const node = el("i", { class: "receipt-skeleton", "aria-hidden": "true" });
  node.style.setProperty("--w", `${width}%`);
  return node;
}
