/** A field for an expression: the wrong character is marked under it, words are offered while it is written. */

import { el, say, set } from "../base/dom.ts";
import { apply, complete } from "./complete.ts";
import type { Completion, Language, Word } from "./complete.ts";

const NONE: Completion = { from: 0, to: 0, words: [] };

export class ExpressionField {
  readonly root: HTMLElement;
  readonly input: HTMLTextAreaElement;
  readonly #marks = el("pre", { class: "marks", "aria-hidden": "true" });
  readonly #fault: HTMLElement;
  readonly #list: HTMLElement;
  #completion: Completion = NONE;
  #chosen = -1;

  constructor(
    readonly id: string,
    label: string,
    hint: string,
    placeholder: string,
    private readonly language: () => Language | null,
    private readonly onInput: () => void,
  ) {
    this.input = el("textarea", {
      id, rows: "2", spellcheck: "false", autocapitalize: "off", autocomplete: "off", placeholder, maxlength: "2000",
      "aria-autocomplete": "list", "aria-haspopup": "listbox", "aria-controls": `${id}-words`, "aria-describedby": `${id}-fault ${id}-hint`,
    });
    this.#fault = el("p", { id: `${id}-fault`, class: "field-fault", role: "alert" });
    this.#list = el("ul", { id: `${id}-words`, class: "words", role: "listbox", "aria-label": "Words", hidden: "" });
    const box = el("div", { class: "expression" }, this.#marks, this.input, this.#list);
    this.root = el("div", { class: "field" }, el("label", { for: id }, label), box, this.#fault, el("p", { id: `${id}-hint`, class: "field-hint" }, hint));
    this.input.addEventListener("input", () => {
      this.mark(null, "");
      this.#offer(false);
      this.onInput();
    });
    this.input.addEventListener("keydown", (event) => this.#key(event));
    this.input.addEventListener("blur", () => this.#close());
    this.input.addEventListener("scroll", () => (this.#marks.scrollTop = this.input.scrollTop));
    this.#list.addEventListener("mousedown", (event) => {
      event.preventDefault(); // the field keeps the focus
      const item = (event.target as HTMLElement).closest("li");
      if (item) this.#take([...this.#list.children].indexOf(item));
    });
  }

  get value(): string {
    return this.input.value;
  }

  set value(text: string) {
    this.input.value = text;
    this.mark(null, "");
    this.#close();
  }

  /** Show what is wrong. `at`: the place of the character; null: nothing is marked. */
  mark(at: number | null, message: string): void {
    const text = this.input.value;
    set(this.input, "aria-invalid", String(message !== ""));
    say(this.#fault, message && at !== null ? `Character ${at + 1}: ${message}` : message);
    if (at === null) {
      this.#marks.replaceChildren();
      return;
    }
    const wrong = /^(\w+|\s*\S|)/.exec(text.slice(at))![0] || " ";
    this.#marks.replaceChildren(text.slice(0, at), el("mark", {}, wrong), text.slice(at + wrong.length));
    this.#marks.scrollTop = this.input.scrollTop;
  }

  #offer(always: boolean): void {
    const language = this.language();
    this.#completion = language ? complete(this.input.value, this.input.selectionStart, language, always) : NONE;
    this.#chosen = -1;
    const { words } = this.#completion;
    this.#list.hidden = words.length === 0;
    this.input.removeAttribute("aria-activedescendant");
    this.#list.replaceChildren(...words.map((word, i) => this.#item(word, i)));
  }

  #item(word: Word, i: number): HTMLElement {
    return el("li", { id: `${this.id}-word-${i}`, role: "option", "aria-selected": "false" }, el("code", {}, word.name), el("span", {}, word.meaning));
  }

  #choose(i: number): void {
    const { children } = this.#list;
    this.#chosen = (i + children.length) % children.length;
    [...children].forEach((item, k) => set(item, "aria-selected", String(k === this.#chosen)));
    children[this.#chosen]!.scrollIntoView({ block: "nearest" });
    set(this.input, "aria-activedescendant", `${this.id}-word-${this.#chosen}`);
  }

  #take(i: number): void {
    const word = this.#completion.words[i];
    if (!word) return;
    const { text, cursor } = apply(this.input.value, this.#completion, word);
    this.input.value = text;
    this.input.setSelectionRange(cursor, cursor);
    this.#close();
    this.onInput();
  }

  #close(): void {
    this.#completion = NONE;
    this.#chosen = -1;
    this.#list.hidden = true;
    this.input.removeAttribute("aria-activedescendant");
  }

  #key(event: KeyboardEvent): void {
    const open = !this.#list.hidden;
    if (event.key === " " && event.ctrlKey) this.#offer(true);
    else if (!open) return;
    else if (event.key === "ArrowDown") this.#choose(this.#chosen + 1);
    else if (event.key === "ArrowUp") this.#choose(this.#chosen < 0 ? -1 : this.#chosen - 1);
    else if ((event.key === "Enter" || event.key === "Tab") && this.#chosen >= 0) this.#take(this.#chosen);
    else if (event.key === "Tab" && this.#completion.words.length) this.#take(0);
    else if (event.key === "Escape") this.#close();
    else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
