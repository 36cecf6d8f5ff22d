/** What stands now, and below it what passed: one row for each time that a rule fired. */

import { el, say, set } from "../base/dom.ts";
import { clock, day, value } from "../base/format.ts";
import type { AlertBook, StoredPage } from "../live/alert_book.ts";
import { SEVERITIES, STATES, firingsOf, olderQuery, passes, standsText, stoodText } from "./model.ts";
import type { Filter, Firing } from "./model.ts";
import { ask } from "./api.ts";
import type { Rule } from "./api.ts";

const STATE_WORD = { standing: "Standing", cleared: "Cleared", withdrawn: "Withdrawn", ended: "Ended" } as const;
const STATE_TITLE = {
  standing: "Raised, and not cleared yet",
  cleared: "Raised, and cleared since",
  withdrawn: "A correction or a late trade has made it untrue",
  ended: "Raised by a rule that runs no more, or is another one now",
} as const;
const COLUMNS = ["State", "Severity", "Symbol", "Rule", "Value", "Raised", "Stood", "Message"] as const;
const SHOWN = 100;
const PAGE = 500;
const PAGES = 8;

interface Row {
  root: HTMLTableRowElement;
  stood: HTMLElement;
  key: string;
}

export class Feed {
  readonly root = el("section", { class: "alerts-feed", "aria-label": "Alerts" });
  readonly #counts = el("p", { class: "alerts-counts", role: "status", "aria-live": "polite" });
  readonly #filters = el("div", { class: "alerts-filters", role: "group", "aria-label": "Filters" });
  readonly #symbol = el("input", { type: "search", id: "alerts-symbol", "aria-label": "Symbol", placeholder: "All symbols", list: "alerts-symbols", autocomplete: "off", spellcheck: "false", maxlength: "64" });
  readonly #symbols = el("datalist", { id: "alerts-symbols" });
  readonly #rule = el("select", { id: "alerts-rule", "aria-label": "Rule" }, el("option", { value: "" }, "All rules"));
  readonly #reset = el("button", { type: "button", class: "quiet-button" }, "Show all");
  readonly #standing = new Table("Standing now", "Nothing stands now");
  readonly #passed = new Table("Passed", "Nothing has passed yet");
  readonly #older = el("button", { type: "button", class: "button alerts-older" }, "Show older alerts");
  readonly #fault = el("p", { class: "alerts-fault", role: "alert", hidden: "" });
  readonly #empty = el("div", { class: "alerts-empty" });
  #rules: Rule[] | null = null;
  #filter: Filter;
  #firings: Firing[] = [];
  #shown = SHOWN;
  #cursor: string | null = null;
  #allLoaded = false;
  #now: (symbol: string) => number = () => 0;

  constructor(
    private readonly book: AlertBook,
    filter: Filter,
    private readonly onFilter: (filter: Filter) => void,
    private readonly onRule: (name: string | null) => void,
  ) {
    this.#filter = filter;
    this.#fillFilters();
    const head = el("header", { class: "alerts-head" }, el("h2", {}, "Alerts"), this.#counts);
    this.root.append(head, this.#filters, this.#empty, this.#standing.root, this.#passed.root, this.#fault, this.#older);
    this.#older.addEventListener("click", () => void this.#showOlder());
    for (const table of [this.#standing, this.#passed]) {
      table.root.addEventListener("click", (event) => {
        const name = (event.target as HTMLElement).closest<HTMLElement>("[data-rule]")?.dataset["rule"];
        if (name !== undefined) this.onRule(name);
      });
    }
  }

  /** The book has others now. */
  refresh(): void {
    this.#arrange();
  }

  setRules(rules: Rule[]): void {
    this.#rules = rules;
    this.#arrange();
  }

  setFilter(filter: Filter): void {
    const other = filter.symbol !== this.#filter.symbol || filter.rule !== this.#filter.rule;
    this.#filter = filter;
    this.#shown = SHOWN;
    if (other) {
      this.#cursor = null; // other pages of the history
      this.#allLoaded = false;
    }
    this.#showFilter();
    this.#arrange();
  }

  setSymbols(names: readonly string[]): void {
    if (this.#symbols.childElementCount === names.length) return;
    this.#symbols.replaceChildren(...names.map((name) => el("option", { value: name })));
  }

  /** How long what stands has stood. `now`: the time of a symbol's market, which a replay has of its own. */
  tick(now: (symbol: string) => number): void {
    this.#now = now;
    this.#standing.tick((firing) => this.#stood(firing));
  }

  get standing(): Firing[] {
    return this.#firings.filter((f) => f.state === "standing");
  }

  #arrange(): void {
    this.#firings = firingsOf(this.book.all(), this.#rules);
    const muted = new Set((this.#rules ?? []).filter((r) => r.muted).map((r) => r.name));
    const standing = this.standing;
    say(this.#counts, this.book.wholes ? standsText(standing, muted) : "Reading what was told …");
    this.#counts.classList.toggle("some", standing.some((f) => !muted.has(f.rule)));
    const wanted = this.#firings.filter((f) => passes(f, this.#filter));
    const stands = wanted.filter((f) => f.state === "standing");
    const passed = wanted.filter((f) => f.state !== "standing");
    const nothing = this.book.wholes > 0 && this.#firings.length === 0;
    this.#showEmpty(nothing);
    this.#filters.hidden = nothing;
    this.#standing.root.hidden = nothing || (this.#filter.states.size > 0 && !this.#filter.states.has("standing"));
    this.#passed.root.hidden = nothing || (this.#filter.states.size === 1 && this.#filter.states.has("standing"));
    const filtered = wanted.length < this.#firings.length;
    this.#standing.show(stands.slice(0, this.#shown), stands.length, muted, (f) => this.#stood(f), filtered);
    this.#passed.show(passed.slice(0, this.#shown), passed.length, muted, (f) => this.#stood(f), filtered);
    this.#older.hidden = nothing || this.#passed.root.hidden || (this.#allLoaded && passed.length <= this.#shown);
    this.#fillRules();
  }

  #stood(firing: Firing): string {
    if (firing.raisedMs === null || firing.state === "withdrawn" || firing.state === "ended") return "–";
    if (firing.endMs !== null) return stoodText(firing.endMs - firing.raisedMs);
    const nowMs = this.#now(firing.symbol);
    return nowMs > firing.raisedMs ? `for ${stoodText(nowMs - firing.raisedMs)}` : "just now";
  }

  async #showOlder(): Promise<void> {
    const short = (): boolean => !this.#allLoaded && this.#firings.filter((f) => f.state !== "standing" && passes(f, this.#filter)).length < this.#shown + SHOWN;
    if (short()) {
      this.#older.disabled = true;
      say(this.#older, "Reading …");
      try {
        for (let page = 0; page < PAGES && short(); page++) { // the first ones may be known
          const found = await ask<StoredPage>(olderQuery(this.#filter, this.#cursor, PAGE));
          this.book.takeStored(found.alerts);
          this.#cursor = found.next;
          this.#allLoaded = found.next === null;
          this.#firings = firingsOf(this.book.all(), this.#rules);
        }
        this.#fault.hidden = true;
      } catch (error) {
        this.#fault.hidden = false;
        say(this.#fault, (error as Error).message);
      }
      this.#older.disabled = false;
      say(this.#older, "Show older alerts");
    }
    this.#shown += SHOWN;
    this.#arrange();
  }

  #showEmpty(nothing: boolean): void {
    this.#empty.hidden = !nothing;
    if (!nothing) return;
    const ruleless = this.#rules?.length === 0;
    const title = ruleless ? "No rule watches the market yet" : "Nothing has fired yet";
    if (this.#empty.dataset["for"] === title) return;
    this.#empty.dataset["for"] = title;
    const button = el("button", { type: "button", class: "button main-button" }, ruleless ? "Make the first rule" : "Make another rule");
    button.addEventListener("click", () => this.onRule(null));
    const text = ruleless
      ? ["A rule is a sentence such as ", el("code", {}, "rsi_14 < 30 and close crosses_above sma_20"), ". It is tried on stored history before you save it, and from then on every closed bar is held against it."]
      : ["The rules on this page are held against every bar as it closes. What they raise stands here, with how long it stood."];
    this.#empty.replaceChildren(el("h3", {}, title), el("p", {}, ...text), button);
  }

  #fillFilters(): void {
    const chips = (name: string, label: string, all: readonly string[], chosen: (f: Filter) => ReadonlySet<string>, put: (f: Filter, now: Set<string>) => Filter): HTMLElement => {
      const group = el("div", { class: "chip-group", role: "group", "aria-label": label });
      for (const one of all) {
        const chip = el("button", { type: "button", class: "chip", "aria-pressed": "false", "data-filter": name, "data-value": one }, one[0]!.toUpperCase() + one.slice(1));
        if (name === "severity") chip.prepend(el("i", { class: `mark mark-${one}`, "aria-hidden": "true" }));
        chip.addEventListener("click", () => {
          const now = new Set(chosen(this.#filter));
          if (!now.delete(one)) now.add(one);
          this.onFilter(put(this.#filter, now));
        });
        group.append(chip);
      }
      return group;
    };
    this.#filters.append(
      chips("state", "State", STATES, (f) => f.states, (f, states) => ({ ...f, states })),
      chips("severity", "Severity", SEVERITIES, (f) => f.severities, (f, severities) => ({ ...f, severities })),
      el("label", { class: "field-inline" }, el("span", {}, "Symbol"), this.#symbol, this.#symbols),
      el("label", { class: "field-inline" }, el("span", {}, "Rule"), this.#rule),
      this.#reset,
    );
    this.#symbol.addEventListener("change", () => this.onFilter({ ...this.#filter, symbol: this.#symbol.value.trim() }));
    this.#rule.addEventListener("change", () => this.onFilter({ ...this.#filter, rule: this.#rule.value }));
    this.#reset.addEventListener("click", () => this.onFilter({ states: new Set(), severities: new Set(), symbol: "", rule: "" }));
    this.#showFilter();
  }

  #showFilter(): void {
    const { states, severities, symbol, rule } = this.#filter;
    for (const chip of this.#filters.querySelectorAll<HTMLElement>(".chip")) {
      const chosen = chip.dataset["filter"] === "state" ? states : severities;
      set(chip, "aria-pressed", String(chosen.has(chip.dataset["value"]!)));
    }
    if (document.activeElement !== this.#symbol) this.#symbol.value = symbol;
    this.#fillRules();
    this.#rule.value = rule;
    this.#reset.hidden = !(states.size || severities.size || symbol || rule);
  }

  #fillRules(): void {
    const names = new Set([...(this.#rules ?? []).map((r) => r.name), ...this.#firings.map((f) => f.rule), ...(this.#filter.rule ? [this.#filter.rule] : [])]);
    const wanted = [...names].sort();
    const there = [...this.#rule.options].slice(1).map((option) => option.value);
    if (wanted.join("\n") === there.join("\n")) return;
    this.#rule.replaceChildren(el("option", { value: "" }, "All rules"), ...wanted.map((name) => el("option", { value: name }, name)));
    this.#rule.value = this.#filter.rule;
  }
}

class Table {
  readonly root: HTMLElement;
  readonly #count = el("span", { class: "count" });
  readonly #body = el("tbody");
  readonly #table: HTMLTableElement;
  readonly #nothing: HTMLElement;
  #rows = new Map<string, Row>();
  #firings = new Map<string, Firing>();

  constructor(
    title: string,
    private readonly nothing: string,
  ) {
    const head = el("tr", {}, ...COLUMNS.map((name) => el("th", { scope: "col", ...(name === "Value" ? { class: "number" } : {}) }, name)));
    this.#table = el("table", { class: "grid", "aria-label": title }, el("thead", {}, head), this.#body);
    this.#nothing = el("p", { class: "alerts-none" }, nothing);
    this.root = el("section", { class: "alerts-part" }, el("h3", {}, title, this.#count), this.#nothing, this.#table);
  }

  show(firings: readonly Firing[], all: number, muted: ReadonlySet<string>, stood: (f: Firing) => string, filtered: boolean): void {
    say(this.#count, all > firings.length ? `${firings.length} of ${all}` : String(all));
    this.#nothing.hidden = firings.length > 0;
    say(this.#nothing, filtered ? `${this.nothing} that the filters let through` : this.nothing);
    this.#table.hidden = firings.length === 0;
    this.#firings = new Map(firings.map((f) => [f.id, f]));
    const rows = new Map<string, Row>();
    firings.forEach((firing, i) => {
      const quiet = muted.has(firing.rule);
      const key = JSON.stringify([firing, quiet]);
      let row = this.#rows.get(firing.id);
      if (row?.key !== key) row = rowOf(firing, quiet, key, stood(firing));
      else say(row.stood, stood(firing));
      rows.set(firing.id, row);
      if (this.#body.children[i] !== row.root) this.#body.insertBefore(row.root, this.#body.children[i] ?? null);
    });
    while (this.#body.childElementCount > firings.length) this.#body.lastElementChild!.remove();
    this.#rows = rows;
  }

  tick(stood: (f: Firing) => string): void {
    for (const [id, row] of this.#rows) say(row.stood, stood(this.#firings.get(id)!));
  }
}

function rowOf(firing: Firing, muted: boolean, key: string, stoodNow: string): Row {
  const { symbol, rule, timeframe, openMs } = firing;
  const state = el("td", { class: "cell-state" }, el("span", { class: `state state-${firing.state}`, title: STATE_TITLE[firing.state] }, STATE_WORD[firing.state]));
  if (firing.late) state.append(" ", el("span", { class: "tag", title: "A late trade or a correction made it true: it comes after its time" }, "late"));
  const severity = el("td", { class: "cell-severity" }, el("i", { class: `mark mark-${firing.severity}`, "aria-hidden": "true" }), firing.severity);
  if (muted && firing.severity !== "muted") severity.append(" ", el("span", { class: "tag", title: "Its rule is muted now" }, "muted"));
  const chart = el("a", { href: `#${encodeURIComponent(symbol)}/${timeframe}?receipt=${openMs}~bar`, title: `The chart of ${symbol} at that time` }, symbol);
  const ruleButton = el("button", { type: "button", class: "link-button", "data-rule": rule, title: `Open the rule ${rule}` }, rule);
  const stood = el("td", { class: "cell-stood", "data-label": "Stood" }, stoodNow);
  const at = firing.raisedMs ?? firing.endMs!;
  const time = el("time", { datetime: new Date(at).toISOString() }, el("span", { class: "date" }, day(at)), ` ${clock(at)}`);
  const root = el(
    "tr",
    { class: muted || firing.severity === "muted" ? "muted" : "" },
    state, severity,
    el("td", { class: "cell-symbol" }, chart, " ", el("span", { class: "frame" }, timeframe)),
    el("td", { class: "cell-rule" }, ruleButton),
    el("td", { class: "number", "data-label": "Value" }, value(firing.value, 2)),
    el("td", { class: "cell-time" }, time, ...(firing.raisedMs === null ? [" ", el("span", { class: "tag", title: "When it was raised is not among what is shown" }, "cleared then")] : [])),
    stood,
    el("td", { class: "cell-message", title: firing.message }, firing.message),
  );
  return { root, stood, key };
}
