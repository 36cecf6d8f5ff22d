/** What was set aside: a list, and each letter whole, to be mended and sent again. */

import { Refusal, ask, post } from "../base/ask.ts";
import { el, say, set } from "../base/dom.ts";
import { asOf, clock } from "../base/format.ts";
import { LiveTable } from "../base/live_table.ts";
import type { Letter, Place } from "./protocol.ts";

const LIMIT = 200;
const EVERY_MS = 5_000;

export function placeText(place: { topic: string; partition: number; offset: number; row?: number | null }): string {
  const row = place.row === null || place.row === undefined ? "" : `, row ${place.row}`;
  return `${place.topic}/${place.partition}@${place.offset}${row}`;
}

/** bad_price -> Bad price */
export function reasonText(reason: string): string {
  const words = reason.replaceAll("_", " ").replace("json", "JSON");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

function timeText(ms: number): string {
  const day = asOf(ms, Date.now());
  return day ? `${day} ${clock(ms)}` : clock(ms);
}

/** The record as it is best read and mended: JSON with a line for each field. */
export function pretty(value: string | null): string {
  if (value === null) return "";
  try {
    return JSON.stringify(JSON.parse(value), null, 2);
  } catch {
    return value;
  }
}

export class Letters {
  readonly root: HTMLElement;
  readonly #grid: LiveTable<Letter>;
  readonly #reason = el("select", { "aria-label": "Reason" });
  readonly #said = el("p", { class: "said", role: "status" });
  readonly #dialog = new LetterDialog(() => void this.refresh());
  #letters: Letter[] = [];
  #askedAt = -Infinity;
  #asking = false;

  constructor() {
    this.#grid = new LiveTable<Letter>(
      "Dead letters",
      [
        { name: "Time (UTC)", text: (l) => timeText(l.appended_ms) },
        { name: "Reason", text: (l) => reasonText(l.reason) },
        { name: "Symbol", text: (l) => l.symbol ?? "–" },
        { name: "What is wrong", text: (l) => l.detail },
        { name: "Where it stood", text: (l) => placeText(l), tone: () => "faint" },
        { name: "", text: () => "", draw: (l, cell) => this.#drawButton(l, cell) },
      ],
      (l) => `${l.letter_partition}@${l.letter_offset}`,
      "Nothing was set aside: every record could be used.",
    );
    this.#grid.root.classList.add("letters");
    this.#reason.addEventListener("change", () => this.#show());
    const head = el("div", { class: "card-head" }, el("h3", {}, "Dead letters"), el("label", { class: "field" }, "Reason ", this.#reason));
    this.root = el("section", { class: "card wide" }, head, this.#said, this.#grid.root, this.#dialog.root);
    this.#show();
  }

  /** Ask again when it is time. */
  keep(nowMs: number): void {
    if (nowMs - this.#askedAt > EVERY_MS) void this.refresh();
  }

  async refresh(): Promise<void> {
    if (this.#asking) return;
    this.#asking = true;
    this.#askedAt = performance.now();
    try {
      this.#letters = (await ask<{ letters: Letter[] }>(`/api/dead-letters?limit=${LIMIT}`)).letters;
      say(this.#said, "");
      this.#show();
    } catch (error) {
      say(this.#said, error instanceof Refusal ? `The dead letters cannot be read now: ${error.message}.` : String(error));
    } finally {
      this.#asking = false;
    }
  }

  #show(): void {
    const reasons = ["", ...new Set(this.#letters.map((l) => l.reason))];
    const shown = [...this.#reason.options].map((o) => o.value);
    if (shown.join() !== reasons.join()) {
      const chosen = this.#reason.value;
      this.#reason.replaceChildren(...reasons.map((r) => el("option", { value: r }, r ? reasonText(r) : "All reasons")));
      this.#reason.value = reasons.includes(chosen) ? chosen : "";
    }
    const wanted = this.#reason.value;
    this.#grid.show(this.#letters.filter((l) => !wanted || l.reason === wanted));
  }

  #drawButton(letter: Letter, cell: HTMLElement): void {
    let button = cell.querySelector("button");
    if (!button) {
      button = el("button", { type: "button", class: "plain-button" });
      cell.append(button);
    }
    say(button, letter.sent_to ? "Sent again" : "Look");
    // Whoever speaks to the page says what stands on the button: the label begins with it.
    set(button, "aria-label", `${letter.sent_to ? "Sent again: look" : "Look"} at the dead letter ${placeText(letter)}`);
    button.onclick = () => this.#dialog.open(letter);
  }
}

class LetterDialog {
  readonly root = el("dialog", { class: "dialog letter", "aria-labelledby": "letter-title" });
  readonly #title = el("h2", { id: "letter-title" });
  readonly #detail = el("p");
  readonly #facts = el("p", { class: "faint" });
  readonly #value = el("textarea", { "aria-label": "The record", spellcheck: "false", rows: "14" });
  readonly #said = el("p", { class: "said", role: "status" });
  readonly #send = el("button", { type: "submit", class: "main-button" }, "Send again");
  #letter: Letter | null = null;

  constructor(private readonly onSent: () => void) {
    const close = el("button", { type: "button", class: "plain-button" }, "Close");
    close.addEventListener("click", () => this.root.close());
    const form = el("form", {}, this.#value, this.#said, el("div", { class: "buttons" }, close, this.#send));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#sendAgain();
    });
    this.root.append(el("header", {}, this.#title), el("div", { class: "dialog-body" }, this.#detail, this.#facts, form));
    this.root.addEventListener("click", (event) => event.target === this.root && this.root.close());
  }

  open(letter: Letter): void {
    this.#letter = letter;
    say(this.#title, reasonText(letter.reason));
    say(this.#detail, letter.detail);
    say(this.#facts, `It stood at ${placeText(letter)} and was set aside at ${timeText(letter.appended_ms)} UTC.`);
    this.#value.value = pretty(letter.value);
    this.#value.readOnly = letter.cut || letter.value === null || letter.sent_to !== null;
    this.#send.disabled = this.#value.readOnly;
    this.#say(letter.sent_to ? sentText(letter.sent_to) : letter.cut ? "The record is too long to be mended here." : letter.value === null ? "The record has no content." : "", "");
    this.root.showModal();
  }

  async #sendAgain(): Promise<void> {
    const letter = this.#letter;
    if (!letter) return;
    this.#send.disabled = true;
    try {
      const body = { letter_partition: letter.letter_partition, letter_offset: letter.letter_offset, value: this.#value.value };
      const { sent_to } = await post<{ sent_to: Place }>("/api/dead-letters/send", body);
      this.#value.readOnly = true;
      this.#say(sentText(sent_to), "good");
      this.onSent();
    } catch (error) {
      this.#send.disabled = false;
      this.#say(error instanceof Refusal ? `${error.message.charAt(0).toUpperCase()}${error.message.slice(1)}.` : String(error), "bad");
    }
  }

  #say(text: string, tone: string): void {
    say(this.#said, text);
    set(this.#said, "class", `said ${tone}`);
  }
}

function sentText(place: Place): string {
  return `Sent again: it stands at ${placeText(place)} now.`;
}
