/** The rules that run: each with what it says, who has put it, and whether the engine has taken the last change of it. */

import { el, say, set } from "../base/dom.ts";
import { clock, day } from "../base/format.ts";
import { Refused, ask, muteRule, removeRule } from "./api.ts";
import type { Rule, RuleChange, Rules } from "./api.ts";

const QUICK_MS = 400; // while the engine is still to take a change
const USUAL_MS = 4_000; // somebody else may have changed one
const TOLD_MS = 12_000;

/** "taken by the engine at 12 of 12 partitions", or how far it is. */
export function takenText(change: RuleChange, partitions: number): string {
  const [place] = change.offsets;
  const where = place === undefined ? "" : ` (offset ${place.toLocaleString("en-GB")} of partition 0)`;
  if (change.taken >= partitions && partitions > 0) return `taken by the engine${where}`;
  return `waits for the engine: ${change.taken} of ${partitions} partitions${where}`;
}

/** What a rule does beside its expression, in short words. */
export function optionsText(rule: Rule): string[] {
  const said: string[] = [];
  if (rule.clear) said.push(`clears when ${rule.clear}`);
  if (rule.for_s) said.push(`for ${rule.for_s} s`);
  if (rule.cooldown_s) said.push(`cooldown ${rule.cooldown_s} s`);
  said.push(rule.symbols?.length ? rule.symbols.join(", ") : "all symbols");
  return said;
}

export class RuleList {
  readonly root = el("section", { class: "alerts-rules", "aria-label": "Rules" });
  readonly #count = el("span", { class: "count" });
  readonly #add = el("button", { type: "button", class: "button main-button" }, "New rule");
  readonly #list = el("ul", { class: "rule-list", "aria-label": "Rules that run" });
  readonly #note = el("p", { class: "rules-note", role: "status", "aria-live": "polite", hidden: "" });
  readonly #fault = el("p", { class: "alerts-fault", role: "alert", hidden: "" });
  readonly #empty = el("p", { class: "alerts-none" }, "No rule runs.");
  #timer = 0;
  #shown = false;
  #drawn = "";
  #toldUntil = 0;
  #confirming: string | null = null;
  rules: Rules | null = null;

  constructor(
    private readonly onRules: (rules: Rule[]) => void,
    private readonly onEdit: (name: string | null) => void,
  ) {
    this.#add.addEventListener("click", () => this.onEdit(null));
    this.#empty.hidden = true;
    this.root.append(el("header", { class: "alerts-head" }, el("h2", {}, "Rules", this.#count), this.#add), this.#note, this.#fault, this.#empty, this.#list);
  }

  enter(): void {
    if (this.#shown) return;
    this.#shown = true;
    void this.refresh();
  }

  leave(): void {
    this.#shown = false;
    window.clearTimeout(this.#timer);
  }

  find(name: string): Rule | undefined {
    return this.rules?.rules.find((rule) => rule.name === name);
  }

  /** Say what a change did, and follow it until the engine has taken it. */
  tell(said: string): void {
    this.#toldUntil = performance.now() + TOLD_MS;
    this.#note.hidden = false;
    say(this.#note, said[0]!.toUpperCase() + said.slice(1));
    void this.refresh();
  }

  async refresh(): Promise<void> {
    window.clearTimeout(this.#timer);
    try {
      this.rules = await ask<Rules>("/api/alerts/rules");
      this.#fault.hidden = true;
      this.#draw(this.rules);
      this.onRules(this.rules.rules);
    } catch (error) {
      this.#fault.hidden = false;
      say(this.#fault, `The rules cannot be read: ${(error as Error).message}`);
    }
    if (performance.now() > this.#toldUntil) this.#note.hidden = true;
    const waits = this.rules?.changes.some((change) => change.taken < this.rules!.partitions && Date.now() - change.time_ms < 60_000) ?? false;
    if (this.#shown) this.#timer = window.setTimeout(() => void this.refresh(), waits || !this.#note.hidden ? QUICK_MS : USUAL_MS);
  }

  #draw(found: Rules): void {
    say(this.#count, String(found.rules.length));
    this.#empty.hidden = found.rules.length > 0;
    const text = JSON.stringify([found, this.#confirming]);
    if (text === this.#drawn) return;
    this.#drawn = text;
    const focused = (document.activeElement as HTMLElement | null)?.dataset["focus"];
    const byName = new Map(found.changes.map((change) => [change.name, change]));
    this.#list.replaceChildren(...found.rules.map((rule) => this.#item(rule, byName.get(rule.name), found.partitions)));
    const gone = found.changes.filter((c) => c.action === "remove_rule" && c.taken < found.partitions);
    for (const change of gone) this.#list.append(el("li", { class: "rule rule-gone" }, el("strong", {}, change.name), el("span", { class: "rule-place" }, `is removed; ${takenText(change, found.partitions)}`)));
    if (focused) this.#list.querySelector<HTMLElement>(`[data-focus="${CSS.escape(focused)}"]`)?.focus();
  }

  #item(rule: Rule, change: RuleChange | undefined, partitions: number): HTMLElement {
    const button = (what: string, act: () => void, more: Record<string, string> = {}): HTMLElement => {
      const one = el("button", { type: "button", class: "quiet-button", "aria-label": `${what} ${rule.name}`, "data-focus": `${what} ${rule.name}`, ...more }, what);
      one.addEventListener("click", act);
      return one;
    };
    const mute = rule.muted ? button("Unmute", () => void this.#change(muteRule(rule, false))) : button("Mute", () => void this.#change(muteRule(rule, true)), { title: "It is evaluated as before; nobody is told" });
    const sure = this.#confirming === rule.name;
    const remove = sure
      ? el("span", { class: "sure", role: "group", "aria-label": `Remove ${rule.name}?` }, button("Remove for good", () => this.#remove(rule), { class: "quiet-button danger" }), button("Keep", () => this.#confirm(null)))
      : button("Remove", () => this.#confirm(rule.name));
    const name = el("button", { type: "button", class: "link-button rule-name", "data-focus": `name ${rule.name}`, title: "Edit this rule" }, rule.name);
    name.addEventListener("click", () => this.onEdit(rule.name));
    const head = el("div", { class: "rule-head" }, el("i", { class: `mark mark-${rule.muted ? "muted" : rule.severity}`, "aria-hidden": "true" }), name, el("span", { class: "tag" }, rule.timeframe), el("span", { class: "rule-severity" }, rule.severity));
    if (rule.muted) head.append(el("span", { class: "tag tag-muted" }, "muted"));
    const origin = rule.from === "configuration" ? "from the settings file" : "put while it runs";
    const when = change && change.time_ms > 0 ? `, changed ${day(change.time_ms)} ${clock(change.time_ms)}` : "";
    const place = el("p", { class: "rule-place" }, `${origin}${when}`);
    if (change && change.action === "put_rule") {
      const taken = change.taken >= partitions;
      place.append(" · ", el("span", { class: taken ? "taken" : "waits" }, takenText(change, partitions)));
    }
    const root = el(
      "li", { class: rule.muted ? "rule rule-muted" : "rule" },
      head,
      el("code", { class: "rule-expression" }, rule.expression),
      el("p", { class: "rule-options" }, optionsText(rule).join(" · ")),
      place,
      el("div", { class: "rule-actions" }, button("Edit", () => this.onEdit(rule.name)), mute, remove),
    );
    set(root, "data-rule-item", rule.name);
    return root;
  }

  #confirm(name: string | null): void {
    this.#confirming = name;
    if (this.rules) this.#draw(this.rules);
    if (name !== null) this.#list.querySelector<HTMLElement>(`[data-focus="${CSS.escape(`Remove for good ${name}`)}"]`)?.focus();
  }

  #remove(rule: Rule): void {
    this.#confirming = null;
    void this.#change(removeRule(rule));
  }

  async #change(work: Promise<{ said: string }>): Promise<void> {
    try {
      this.tell((await work).said);
    } catch (error) {
      await this.refresh();
      this.#fault.hidden = false;
      say(this.#fault, error instanceof Refused ? error.message : "The change was not made: try again.");
    }
  }
}
