/** What came of a query: a table, a chart, its plan; or that it runs, or what is wrong. */

import { el, say } from "../base/dom.ts";
import { Grid } from "../base/grid.ts";
import type { GridRows } from "../base/grid.ts";
import type { Answer, Plan } from "./api.ts";
import { SERIES_MAX, choose } from "./choose.ts";
import type { Choice, Mark } from "./choose.ts";
import { isAmount, kindOf, ordered, typeWord, writerOf } from "./columns.ts";
import type { Show } from "./link.ts";
import { planOf } from "./plan.ts";
import { Plot } from "./plot.ts";
import { Tabs } from "./tabs.ts";
import { ageText, count } from "./words.ts";

export interface ResultHooks {
  show(which: Show): void;
  more(): void;
  file(format: "csv" | "parquet"): void;
}

const MARKS: [Mark, string][] = [["line", "Lines"], ["bar", "Bars"], ["point", "Points"]];
const WIDTH_MAX = 44;
const SAMPLE = 400;

export class Result {
  readonly root = el("section", { class: "ask-result", "aria-label": "Result" });
  readonly #tabs: Tabs<Show>;
  readonly #words = el("p", { class: "ask-words", role: "status" });
  readonly #timer = el("span", { class: "ask-timer", role: "timer", "aria-label": "Time running" });
  readonly #files = el("div", { class: "ask-files" });
  readonly #more = el("button", { type: "button", class: "quiet" }, "Get more rows");
  readonly #grid = new Grid("Rows of the result", (sort) => this.#order(sort));
  readonly #plot = new Plot();
  readonly #pickers = el("div", { class: "plot-pickers" });
  readonly #table = el("div", { class: "ask-panel" }, this.#grid.root);
  readonly #chart = el("div", { class: "ask-panel ask-chart" }, this.#pickers, this.#plot.root);
  readonly #plan = el("div", { class: "ask-panel ask-plan" });
  readonly #notice = el("div", { class: "ask-notice" });
  #answer: Answer | null = null;
  #choice: Choice | null = null;

  constructor(hooks: ResultHooks) {
    this.#tabs = new Tabs<Show>(
      "Shown",
      [
        { id: "table", name: "Table", panel: this.#table },
        { id: "chart", name: "Chart", panel: this.#chart },
        { id: "plan", name: "Plan", panel: this.#plan },
      ],
      (which) => hooks.show(which),
    );
    for (const [format, name] of [["csv", "CSV"], ["parquet", "Parquet"]] as const) {
      const button = el("button", { type: "button", class: "quiet", title: `Run it for as many rows as may be, and download them as ${name}` }, `Download ${name}`);
      button.addEventListener("click", () => hooks.file(format));
      this.#files.append(button);
    }
    this.#more.addEventListener("click", () => hooks.more());
    this.root.append(el("div", { class: "ask-head" }, this.#tabs.root, this.#timer, this.#words, this.#more, this.#files), this.#notice, this.#table, this.#chart, this.#plan);
    this.nothing();
  }

  get shown(): Show {
    return this.#tabs.chosen;
  }

  choose(which: Show): void {
    this.#tabs.choose(which);
    this.#cover();
  }

  nothing(): void {
    this.#answer = null;
    this.#say("Ask what is stored", "Choose a query of the library, or write your own: Ctrl Enter runs it.", "empty");
  }

  /** What is there grows faint until the answer comes. */
  waiting(words: string, seconds: number): void {
    if (this.root.dataset["state"] !== "running") {
      if (!this.#answer) this.#say("", "The answer comes here.", "wait");
      this.root.dataset["state"] = "running";
    }
    say(this.#words, words);
    say(this.#timer, `${seconds.toFixed(1)} s`);
  }

  failed(head: string, text: string): void {
    this.#answer = null;
    this.#say(head, text, "error");
  }

  show(answer: Answer): void {
    this.root.dataset["state"] = "shown";
    this.#answer = answer;
    this.#notice.hidden = true;
    const { columns, rows } = answer;
    const writers = columns.map((column, i) => writerOf(column, rows.map((row) => row[i]!)));
    const sample = rows.length > 2 * SAMPLE ? [...rows.slice(0, SAMPLE), ...rows.slice(-SAMPLE)] : rows;
    this.#grid.show(
      columns.map((column, i) => ({
        name: column.name,
        note: typeWord(column.type),
        title: `${column.name}: ${column.type}. Sorts by it${answer.more ? ", among the rows that are here" : ""}.`,
        toRight: ["whole", "number"].includes(kindOf(column.type)),
        width: Math.min(WIDTH_MAX, Math.max(Math.ceil(column.name.length * 1.15) + 1, typeWord(column.type).length, 4, ...sample.map((row) => writers[i]!(row[i]!).length))) + 1,
      })),
      this.#rowsOf(null),
    );
    this.#choice = choose(columns, rows);
    this.#pick();
    this.age(Date.now());
    this.#cover();
  }

  /** Say again how old the picture is. */
  age(nowMs: number): void {
    const answer = this.#answer;
    if (!answer || this.root.dataset["state"] === "running") return;
    const rows = `${answer.more ? "the first " : ""}${count(answer.row_count, "row")}`;
    const age = ageText(answer.committed_ms, nowMs);
    const dialect = answer.dialect === "athena" ? "read as Athena's SQL" : "";
    const note = answer.row_count === 0 ? "" : answer.note;
    say(this.#words, [rows, `${(answer.took_ms / 1_000).toFixed(2)} s`, age, dialect, note].filter(Boolean).join(" · "));
  }

  plan(plan: Plan): void {
    this.#plan.replaceChildren(...planOf(plan));
  }

  planText(words: string): void {
    this.#plan.replaceChildren(el("p", { class: "ask-hint" }, words));
  }

  tell(words: string): void {
    say(this.#words, words);
  }

  #say(head: string, text: string, kind: "empty" | "wait" | "error"): void {
    this.root.dataset["state"] = kind;
    say(this.#words, "");
    this.#notice.dataset["kind"] = kind;
    if (kind === "error") this.#notice.setAttribute("role", "alert");
    else this.#notice.removeAttribute("role");
    this.#notice.replaceChildren(...(head ? [el("h3", {}, head)] : []), el("p", {}, text));
    this.#notice.hidden = false;
    this.#cover();
  }

  /** The panels lie under a notice; a plan is shown beside the rows or without them. */
  #cover(): void {
    const answer = this.#answer;
    this.#files.hidden = this.#answer === null;
    this.#more.hidden = !answer?.more || this.shown !== "table";
    if (!answer) {
      for (const panel of [this.#table, this.#chart]) panel.hidden = true;
      this.#notice.hidden = this.shown === "plan" && this.#plan.childElementCount > 0 && this.root.dataset["state"] !== "error";
      return;
    }
    const none = answer.row_count === 0;
    const noChart = this.shown === "chart" && this.#choice === null;
    if (this.shown !== "plan" && (none || noChart)) {
      this.#notice.dataset["kind"] = "empty";
      this.#notice.removeAttribute("role");
      const why = none
        ? answer.committed_ms === null ? "These tables are empty so far: rows arrive when the lake's sink has stored some." : answer.note || "Nothing that is stored meets these conditions. Ask for more days, another symbol or another timeframe."
        : "A chart needs a column of numbers. The table has it all.";
      this.#notice.replaceChildren(el("h3", {}, none ? "No rows" : "Nothing to draw"), el("p", {}, why));
      this.#notice.hidden = false;
    } else this.#notice.hidden = true;
    this.#table.hidden = this.shown !== "table" || none;
    this.#chart.hidden = this.shown !== "chart" || noChart || none;
  }

  #rowsOf(places: number[] | null): GridRows {
    const { columns, rows } = this.#answer!;
    const writers = columns.map((column, i) => writerOf(column, rows.map((row) => row[i]!)));
    const cell = (row: number, column: number) => rows[places?.[row] ?? row]![column]!;
    return {
      count: rows.length,
      text: (row, column) => writers[column]!(cell(row, column)),
      exact: (row, column) => {
        const raw = cell(row, column);
        const text = raw === null ? "" : typeof raw === "object" ? JSON.stringify(raw) : String(raw);
        return text === writers[column]!(raw) && text.length <= WIDTH_MAX ? "" : text;
      },
    };
  }

  #order(sort: { column: number; down: boolean } | null): void {
    if (!this.#answer) return;
    const { columns, rows } = this.#answer;
    this.#grid.order(this.#rowsOf(sort === null ? null : ordered(rows, sort.column, kindOf(columns[sort.column]!.type), sort.down)));
  }

  #pick(): void {
    const [answer, choice] = [this.#answer!, this.#choice];
    if (!choice) return;
    const names = answer.columns.map(({ name }, i) => [String(i), name] as [string, string]);
    const amounts = names.filter(([i]) => isAmount(answer.columns[Number(i)]!));
    const groups = names.filter(([i]) => kindOf(answer.columns[Number(i)]!.type) === "text");
    const set = (change: Partial<Choice>): void => {
      this.#choice = { ...this.#choice!, ...change };
      this.#draw();
    };
    this.#pickers.replaceChildren(
      picker("Chart", MARKS, choice.mark, (v) => set({ mark: v as Mark })),
      picker("Values", amounts, String(choice.y), (v) => set({ y: Number(v) })),
      picker("Along", names, String(choice.x), (v) => set({ x: Number(v) })),
      picker("Series", [["", "one"], ...groups], choice.by === null ? "" : String(choice.by), (v) => set({ by: v === "" ? null : Number(v) })),
      el("span", { class: "plot-left" }),
    );
    this.#draw();
  }

  #draw(): void {
    this.#plot.show(this.#answer!.columns, this.#answer!.rows, this.#choice!);
    const left = this.#plot.left;
    say(this.#pickers.querySelector(".plot-left")!, left ? `The first ${SERIES_MAX} series; ${left} more are left out.` : "");
  }
}

function picker(name: string, options: [string, string][], chosen: string, onChoose: (value: string) => void): HTMLElement {
  const select = el("select", { "aria-label": name }, ...options.map(([value, text]) => el("option", { value }, text)));
  select.value = chosen;
  select.addEventListener("change", () => onChoose(select.value));
  return el("label", {}, el("span", {}, name), select);
}
