/** The dialog in which a rule is written, tried and saved. */

import { el, say, set } from "../base/dom.ts";
import { Refused, ask, saveRule } from "./api.ts";
import type { Checked, Fault, Rule } from "./api.ts";
import type { Language } from "./complete.ts";
import { ExpressionField } from "./expression.ts";
import { Trial } from "./trial.ts";

const CHECK_MS = 200;

export class Editor {
  readonly root: HTMLDialogElement;
  readonly #title = el("h2", { id: "rule-title" });
  readonly #name = el("input", { id: "rule-name", type: "text", required: "", maxlength: "100", autocomplete: "off", spellcheck: "false", placeholder: "oversold" });
  readonly #timeframe = el("select", { id: "rule-timeframe" });
  readonly #severity = el("select", { id: "rule-severity" });
  readonly #for = el("input", { id: "rule-for_s", type: "number", min: "0", step: "any", inputmode: "decimal", placeholder: "0" });
  readonly #cooldown = el("input", { id: "rule-cooldown_s", type: "number", min: "0", step: "any", inputmode: "decimal", placeholder: "0" });
  readonly #symbols = el("input", { id: "rule-symbols", type: "text", autocomplete: "off", spellcheck: "false", placeholder: "All; or AAPL, BTC-*" });
  readonly #message = el("input", { id: "rule-message", type: "text", maxlength: "2000", autocomplete: "off" });
  readonly #muted = el("input", { id: "rule-muted", type: "checkbox" });
  readonly #save = el("button", { type: "submit", class: "button main-button" }, "Save rule");
  readonly #reads = el("p", { class: "field-hint rule-reads" });
  readonly #fault = el("p", { class: "alerts-fault", role: "alert", hidden: "" });
  readonly #help = el("details", { class: "language" }, el("summary", {}, "The language: columns, functions, examples"));
  readonly #expression: ExpressionField;
  readonly #clear: ExpressionField;
  readonly #trial: Trial;
  #language: Language | null = null;
  #rule: Rule | null = null;
  #timer = 0;
  #turn = 0;
  #dirty = false;

  constructor(
    newestMs: () => number,
    private readonly onSaved: (said: string) => void,
    private readonly onClosed: () => void,
  ) {
    const typed = (): void => this.#typed();
    this.#expression = new ExpressionField("rule-expression", "Expression", "The alert is raised when this holds on a closed bar. Ctrl+Space offers words.", "rsi_14 < 30 and close crosses_above sma_20", () => this.#language, typed);
    this.#clear = new ExpressionField("rule-clear", "Clear when (optional)", "Empty: as soon as the expression does not hold. A wider bound here keeps it from flapping.", "rsi_14 > 50", () => this.#language, typed);
    this.#trial = new Trial(() => this.fields(), newestMs, () => void this.#check());
    const form = el(
      "form", { class: "rule-form", novalidate: "" },
      field("rule-name", "Name", this.#name),
      this.#expression.root, this.#reads,
      el("div", { class: "field-row" }, field("rule-timeframe", "Timeframe", this.#timeframe), field("rule-severity", "Severity", this.#severity)),
      this.#clear.root,
      el("div", { class: "field-row" }, field("rule-for_s", "For (seconds)", this.#for, "It must have held so long."), field("rule-cooldown_s", "Cooldown (seconds)", this.#cooldown, "After a raise there is no other one.")),
      field("rule-symbols", "Symbols", this.#symbols, "Names with commas between; * stands for any characters."),
      field("rule-message", "Message", this.#message, "{symbol}, {rule}, {value}, {time} or any column in braces."),
      el("label", { class: "check" }, this.#muted, el("span", {}, "Muted: evaluated, but nobody is told")),
      this.#help, this.#fault,
      el("footer", { class: "dialog-foot" }, closer("Cancel", () => this.close()), this.#save),
    );
    const cross = el("button", { type: "button", class: "icon-button", "aria-label": "Close" });
    cross.append(crossIcon());
    cross.addEventListener("click", () => this.close());
    this.root = el("dialog", { class: "dialog rule-dialog", "aria-labelledby": "rule-title" }, el("header", {}, this.#title, cross), el("div", { class: "rule-panes" }, form, this.#trial.root));
    for (const one of [this.#name, this.#timeframe, this.#severity, this.#for, this.#cooldown, this.#symbols, this.#message, this.#muted]) {
      one.addEventListener("input", typed);
    }
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      void this.#submit();
    });
    this.root.addEventListener("close", () => {
      this.#trial.stop();
      this.onClosed();
    });
    this.root.addEventListener("cancel", (event) => {
      if (this.#dirty && !this.#mayLeave()) event.preventDefault();
    });
  }

  /** A rule to be changed, or null for a new one. */
  async open(rule: Rule | null): Promise<void> {
    if (this.root.open && this.#rule?.name === rule?.name) return;
    this.#rule = rule;
    this.#dirty = false;
    this.#fault.hidden = true;
    this.#trial.reset();
    say(this.#title, rule ? `Rule ${rule.name}` : "New rule");
    this.#name.readOnly = rule !== null;
    this.#name.value = rule?.name ?? "";
    this.#expression.value = rule?.expression ?? "";
    this.#clear.value = rule?.clear ?? "";
    this.#for.value = rule?.for_s ? String(rule.for_s) : "";
    this.#cooldown.value = rule?.cooldown_s ? String(rule.cooldown_s) : "";
    this.#symbols.value = rule?.symbols?.join(", ") ?? "";
    this.#muted.checked = rule?.muted ?? false;
    this.#showFaults([]);
    say(this.#reads, "");
    if (!this.root.open) this.root.showModal();
    (rule ? this.#expression.input : this.#name).focus();
    try {
      await this.#learn();
    } catch (error) {
      this.#say((error as Error).message);
      return;
    }
    this.#timeframe.value = rule?.timeframe ?? this.#language!.usual_timeframe;
    this.#severity.value = rule?.severity ?? "warning";
    this.#message.value = rule?.message ?? this.#language!.message;
    if (rule) void this.#check();
  }

  close(): void {
    if (this.#dirty && !this.#mayLeave()) return;
    this.#dirty = false;
    if (this.root.open) this.root.close();
  }

  /** The rule as it is written; what is empty has its default. */
  fields(): Record<string, unknown> {
    const symbols = this.#symbols.value.split(",").map((s) => s.trim()).filter(Boolean);
    const fields: Record<string, unknown> = {
      name: this.#name.value.trim(), expression: this.#expression.value.trim(), timeframe: this.#timeframe.value, severity: this.#severity.value,
      muted: this.#muted.checked,
    };
    if (this.#clear.value.trim()) fields["clear"] = this.#clear.value.trim();
    if (this.#for.value) fields["for_s"] = Number(this.#for.value);
    if (this.#cooldown.value) fields["cooldown_s"] = Number(this.#cooldown.value);
    if (symbols.length) fields["symbols"] = symbols;
    if (this.#message.value && this.#message.value !== this.#language?.message) fields["message"] = this.#message.value;
    return fields;
  }

  #typed(): void {
    this.#dirty = true;
    this.#trial.stale();
    window.clearTimeout(this.#timer);
    this.#timer = window.setTimeout(() => void this.#check(), CHECK_MS);
  }

  async #check(): Promise<Fault[]> {
    const turn = ++this.#turn;
    try {
      const found = await ask<Checked>("/api/alerts/check", { method: "POST", body: { rule: this.fields() } });
      if (turn !== this.#turn) return [];
      const empty = found.faults.filter((f) => !(f.field === "name" && !this.#name.value.trim()) && !(f.field === "expression" && !this.#expression.value.trim()));
      this.#showFaults(empty);
      const computable = found.computable.length ? ` ${found.computable.join(", ")} is not computed by this engine: a trial computes it, and engine.indicators must name it before the rule can be saved.` : "";
      say(this.#reads, (found.reads.length && !found.faults.some((f) => f.field === "expression") ? `Reads ${found.reads.join(", ")} on closed bars of ${found.timeframe}.` : "") + computable);
      return found.faults;
    } catch (error) {
      if (turn === this.#turn) this.#say((error as Error).message);
      return [{ field: "", message: "", at: null }];
    }
  }

  #showFaults(faults: readonly Fault[]): void {
    this.#fault.hidden = true;
    const of = (name: string): Fault | undefined => faults.find((fault) => fault.field === name);
    for (const [name, one] of [["expression", this.#expression], ["clear", this.#clear]] as const) {
      const fault = of(name);
      const text = one.value;
      const lead = text.length - text.trimStart().length; // the rule is sent without it
      one.mark(fault?.at === null || fault === undefined ? null : fault.at + lead, fault?.message ?? "");
    }
    for (const input of [this.#name, this.#timeframe, this.#severity, this.#for, this.#cooldown, this.#symbols, this.#message]) {
      const name = input.id.replace("rule-", "");
      const fault = of(name);
      set(input, "aria-invalid", String(fault !== undefined));
      const place = fault?.at === null || fault === undefined ? "" : `Character ${fault.at + 1}: `;
      say(this.root.querySelector(`#${input.id}-fault`)!, fault ? place + fault.message : "");
    }
    const rest = faults.filter((f) => !["expression", "clear", "name", "timeframe", "severity", "for_s", "cooldown_s", "symbols", "message"].includes(f.field));
    if (rest.length) this.#say(rest.map((f) => f.message).join(" "));
  }

  async #submit(): Promise<void> {
    window.clearTimeout(this.#timer);
    this.#save.disabled = true;
    const faults = await this.#check();
    try {
      if (faults.length) {
        this.#showFaults(faults);
        this.root.querySelector<HTMLElement>("[aria-invalid=true]")?.focus();
        return;
      }
      const done = await saveRule(this.fields(), this.#rule?.version ?? null);
      this.#dirty = false;
      this.root.close();
      this.onSaved(done.said);
    } catch (error) {
      this.#say((error as Error).message);
      if (error instanceof Refused && error.status === 412 && this.#rule) this.#offerNewest(this.#rule.name);
    } finally {
      this.#save.disabled = false;
    }
  }

  /** Somebody else was first: what is written here stays, and can be saved over theirs, knowingly. */
  #offerNewest(name: string): void {
    const again = el("button", { type: "button", class: "quiet-button" }, "Compare with what runs now");
    again.addEventListener("click", () => void this.#compare(name));
    this.#fault.append(" ", again);
  }

  async #compare(name: string): Promise<void> {
    const { rules } = await ask<{ rules: Rule[] }>("/api/alerts/rules");
    const newest = rules.find((rule) => rule.name === name) ?? null;
    this.#rule = newest;
    const said = newest ? `Runs now: ${newest.expression} (${newest.timeframe}, ${newest.severity}${newest.muted ? ", muted" : ""}). Save again to put yours in its place.` : "It was removed. Save again to put it anew.";
    this.#say(said);
  }

  #say(text: string): void {
    this.#fault.hidden = false;
    say(this.#fault, text);
  }

  #mayLeave(): boolean {
    return window.confirm("Leave without saving the rule?");
  }

  async #learn(): Promise<void> {
    if (this.#language) return;
    const language = await ask<Language>("/api/alerts/language");
    this.#language = language;
    this.#timeframe.replaceChildren(...language.timeframes.map((t) => el("option", { value: t }, t)));
    this.#severity.replaceChildren(...language.severities.map((s) => el("option", { value: s }, s)));
    const examples = el("ul", { class: "examples" });
    for (const { title, expression } of language.examples) {
      const take = el("button", { type: "button", class: "example" }, el("span", {}, title), el("code", {}, expression));
      take.addEventListener("click", () => {
        this.#expression.value = expression;
        this.#expression.input.focus();
        this.#typed();
      });
      examples.append(el("li", {}, take));
    }
    const words = (all: readonly [string, string][]): HTMLElement => el("dl", { class: "lexicon" }, ...all.map(([name, meaning]) => el("div", {}, el("dt", {}, el("code", {}, name)), el("dd", {}, meaning))));
    this.#help.append(
      el("h4", {}, "Examples"), examples,
      el("h4", {}, "Functions and operators"),
      words([...language.functions.map((f): [string, string] => [f.form, f.meaning]), ["x crosses_above y", "x was at most y on the row before, and is above it now"], ["x crosses_below y", "x was at least y, and is below it now"], ["and, or, not", "what is joined; parentheses go first"], ["rsi_14@1h", "that of the newest closed bar of another timeframe"]]),
      el("h4", {}, "Columns"),
      words(language.columns.map((c): [string, string] => [c.name, c.meaning])),
    );
  }
}

function field(id: string, label: string, input: HTMLElement, hint = ""): HTMLElement {
  set(input, "aria-describedby", `${id}-fault${hint ? ` ${id}-hint` : ""}`);
  const parts: HTMLElement[] = [el("label", { for: id }, label), input, el("p", { id: `${id}-fault`, class: "field-fault", role: "alert" })];
  if (hint) parts.push(el("p", { id: `${id}-hint`, class: "field-hint" }, hint));
  return el("div", { class: "field" }, ...parts);
}

function closer(text: string, act: () => void): HTMLElement {
  const button = el("button", { type: "button", class: "button" }, text);
  button.addEventListener("click", act);
  return button;
}

function crossIcon(): SVGElement {
  const icon = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  icon.setAttribute("viewBox", "0 0 20 20");
  icon.setAttribute("aria-hidden", "true");
  const path = document.createElementNS("http://www.w3.org/2000/svg", "path");
  path.setAttribute("d", "m5 5 10 10M15 5 5 15");
  icon.append(path);
  return icon;
}
