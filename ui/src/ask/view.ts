/** Ask what is stored: the library or one's own SQL, and what comes of it. */

import "./style/ask.css";
import "./style/result.css";

import { el, remember, remembered, say } from "../base/dom.ts";
import type { Changes } from "../live/store.ts";
import type { App, View } from "../shell/view.ts";
import { Refusal, explain, file, isWaiting, library, run, schema, stop } from "./api.ts";
import type { Limits, NamedQuery, Table } from "./api.ts";
import type { Editor } from "./editor.ts";
import { Form } from "./form.ts";
import { NOTHING, readLink, sameQuery, writeLink } from "./link.ts";
import type { Asked, Dialect, Show } from "./link.ts";
import { readPast, withRun } from "./past.ts";
import type { PastQuery } from "./past.ts";
import { Result } from "./result.ts";
import { Side } from "./side.ts";
import { count, limitsText, plainError } from "./words.ts";

export const openAsk = (root: HTMLElement, app: App): View => new AskView(root, app);

const ROWS = 5_000; // of a first answer: what a person scrolls through
const KEPT = "ask.history";
const WAIT_LOOK_MS = 1_000;

class AskView implements View {
  readonly #side: Side;
  readonly #result: Result;
  readonly #form: Form;
  readonly #title = el("h2", {}, "Your query");
  readonly #meaning = el("p");
  readonly #plain = el("textarea", { "aria-label": "SQL query", spellcheck: "false" });
  readonly #host = el("div", { class: "ask-editor" });
  readonly #run = el("button", { type: "button", class: "go" }, "Run");
  readonly #cancel = el("button", { type: "button", class: "stop" }, "Cancel");
  readonly #own = el("button", { type: "button", class: "quiet" }, "Edit as SQL");
  readonly #fresh = el("button", { type: "button", class: "quiet" }, "New query");
  readonly #link = el("button", { type: "button", class: "quiet" }, "Copy link");
  readonly #dialect = el("select", { "aria-label": "Dialect" }, el("option", { value: "auto" }, "automatic"), el("option", { value: "duckdb" }, "DuckDB"), el("option", { value: "athena" }, "Athena"));
  readonly #limitsText = el("p", {}, "The limits are not known yet.");
  readonly #dialectLabel = el("label", {}, el("span", {}, "Dialect"), this.#dialect);
  #editor: Editor | null = null;
  #loading = false;
  #library: NamedQuery[] | null = null;
  #tables: Table[] = [];
  #limits: Limits | null = null;
  #past: PastQuery[] = readPast(remembered(KEPT));
  #asked: Asked = NOTHING;
  #running: { id: string; stopped: boolean; call: AbortController } | null = null;
  #planned: AbortController | null = null;
  #shownOf: Asked | null = null;
  #timer = 0;
  #here = false;

  constructor(root: HTMLElement, private readonly app: App) {
    this.#side = new Side({
      choose: (asked) => this.#go(asked),
      insert: (word) => (this.#asked.named === null ? this.#insert(word) : undefined),
      forget: () => this.#keep([]),
    });
    this.#result = new Result({
      show: (which) => this.#chose(which),
      more: () => void this.#start(this.#limits?.rows_max ?? 20 * ROWS),
      file: (format) => void this.#download(format),
    });
    this.#form = new Form(() => this.#runNow(), () => ({
      symbols: [...app.store.quotes.keys()].sort(),
      timeframes: app.store.timeframes,
    }));
    this.#run.append(el("kbd", {}, /Mac|iP/.test(navigator.platform) ? "⌘ ⏎" : "Ctrl ⏎"));
    this.#run.addEventListener("click", () => this.#runNow());
    this.#cancel.addEventListener("click", () => this.#stop());
    this.#own.addEventListener("click", () => this.#editAsSql());
    this.#fresh.addEventListener("click", () => this.#go(NOTHING));
    this.#link.addEventListener("click", () => void this.#copyLink());
    this.#dialect.addEventListener("change", () => (this.#asked = { ...this.#asked, dialect: this.#dialect.value as Dialect }));
    this.#plain.addEventListener("input", () => this.#typed(this.#plain.value));
    this.#plain.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.#runNow();
    });
    this.#host.append(this.#plain);
    const limits = el("details", { class: "ask-limits" }, el("summary", {}, "Limits"), this.#limitsText);
    const head = el("header", {}, this.#title, this.#meaning, el("div", { class: "ask-start" }, this.#own, this.#fresh));
    const bar = el("div", { class: "ask-bar" }, this.#run, this.#cancel, this.#dialectLabel, this.#link, limits);
    const query = el("section", { class: "ask-query", "aria-label": "Query" }, head, this.#form.root, this.#host, bar);
    query.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey) && event.target instanceof HTMLInputElement) this.#runNow();
    });
    root.append(el("div", { class: "ask" }, this.#side.root, el("main", { class: "ask-main" }, query, this.#result.root)));
    this.#side.past(this.#past);
  }

  enter(rest: string): void {
    const back = !this.#here;
    this.#here = true;
    this.app.want({ chart: null, parts: [] });
    document.body.dataset["state"] = "shown";
    const { asked, show } = readLink(rest);
    const current = this.#current();
    const kept = back && rest === "" && !sameQuery(current, NOTHING); // what was written before another view was looked at
    if (kept) history.replaceState(null, "", writeLink(current, this.#result.shown));
    const same = kept || (sameQuery(asked, current) && this.#shownOf !== null);
    if (show !== null || !same) this.#result.choose(show ?? (this.#result.shown === "chart" ? "chart" : "table"));
    if (!same) this.#open(asked);
    this.#look();
    this.#name();
    window.clearInterval(this.#timer);
    this.#timer = window.setInterval(() => this.#result.age(Date.now()), 5_000);
  }

  leave(): void {
    this.#here = false;
    window.clearInterval(this.#timer);
  }

  draw(_: Changes): void {
    // the lake is asked, not the live rows
  }

  restyle(): void {
    // colours come from the style sheet
  }

  /** What the view needs of the server; tried again each time that it is entered, until it is there. */
  #look(): void {
    if (!this.#editor && !this.#loading) void this.#loadEditor();
    if (!this.#library) {
      library().then(
        (queries) => {
          this.#library = queries;
          this.#side.library(queries);
          this.#open(this.#asked, this.#shownOf === null || !sameQuery(this.#shownOf, this.#asked)); // one may have come while the list was fetched
        },
        (error: Refusal) => this.#side.failed("library", error.message),
      );
    }
    if (!this.#limits) {
      schema().then(
        ({ tables, limits }) => {
          this.#tables = tables;
          this.#limits = limits;
          this.#side.tables(tables);
          say(this.#limitsText, limitsText(limits));
          this.#editor?.learn(tables);
        },
        (error: Refusal) => this.#side.failed("tables", error.message),
      );
    }
  }

  async #loadEditor(): Promise<void> {
    this.#loading = true;
    try {
      const { Editor } = await import("./editor.ts");
      const focused = document.activeElement === this.#plain;
      const host = el("div");
      this.#plain.replaceWith(host);
      this.#editor = new Editor(host, this.#plain.value, {
        onRun: () => this.#runNow(),
        onChange: (text) => this.#typed(text),
        symbols: () => [...this.app.store.quotes.keys()].sort(),
      });
      this.#editor.set(this.#plain.value, this.#asked.named === null);
      this.#editor.learn(this.#tables);
      if (focused) this.#editor.focus();
    } finally {
      this.#loading = false; // without it the plain field stays, which runs queries as well
    }
  }

  /** Go where another query is, and run it. */
  #go(asked: Asked): void {
    const link = writeLink(asked, this.#result.shown === "plan" ? "table" : this.#result.shown);
    if (location.hash === link) this.#runNow();
    else this.app.go(link);
  }

  /** Show a query, and run it. */
  #open(asked: Asked, andRun = true): void {
    this.#asked = asked;
    const query = this.#library?.find(({ name }) => name === asked.named) ?? null;
    const free = asked.named === null;
    this.#side.choose(asked.named);
    say(this.#title, free ? "Your query" : (query?.title ?? asked.named ?? ""));
    say(this.#meaning, free ? "" : (query?.meaning ?? ""));
    this.#form.root.hidden = free;
    this.#own.hidden = free;
    this.#fresh.hidden = free && asked.sql === "";
    this.#dialectLabel.hidden = !free;
    this.#dialect.value = asked.dialect;
    if (query) this.#form.show(query, asked.params);
    this.#write(free ? asked.sql : (query?.sql.trim() ?? ""), free);
    if (this.#library && !free && !query) {
      this.#result.failed("There is no such query", `No query of the library is named ${asked.named}: choose one at the side.`);
      return;
    }
    if (andRun && (free ? asked.sql.trim() !== "" : this.#library !== null)) void this.#start(ROWS);
    else if (free && asked.sql === "") {
      this.#running?.call.abort();
      this.#running = null;
      this.#busy(false);
      this.#shownOf = null;
      this.#result.nothing();
    }
  }

  #write(text: string, editable: boolean): void {
    this.#plain.value = text;
    this.#plain.readOnly = !editable;
    this.#host.classList.toggle("fixed", !editable);
    this.#editor?.set(text, editable);
  }

  #typed(text: string): void {
    this.#asked = { ...this.#asked, sql: text };
    this.#plain.value = text;
    this.#fresh.hidden = text === "";
  }

  #insert(word: string): void {
    if (this.#editor) this.#editor.insert(word);
    else this.#plain.setRangeText(word, this.#plain.selectionStart, this.#plain.selectionEnd, "end");
    this.#typed(this.#editor?.text ?? this.#plain.value);
  }

  /** The query of the library becomes one's own; it is Athena's SQL. */
  #editAsSql(): void {
    const sql = this.#plain.value;
    this.app.go(writeLink({ named: null, params: {}, sql, dialect: "athena" }, this.#result.shown));
    this.#editor?.focus();
  }

  /** Run what stands in the fields and the editor. */
  #runNow(): void {
    this.#asked = this.#current();
    if (this.#asked.named === null && this.#asked.sql.trim() === "") return this.#result.failed("There is no query yet", "Write one SELECT, such as SELECT * FROM bars LIMIT 100.");
    const link = writeLink(this.#asked, this.#result.shown);
    if (location.hash !== link) history.pushState(null, "", link);
    void this.#start(ROWS);
  }

  async #start(limit: number): Promise<void> {
    this.#running?.call.abort(); // another takes its place: nobody waits for it
    const asked = this.#asked;
    const mine = { id: `page-${Math.random().toString(36).slice(2)}${Math.random().toString(36).slice(2)}`, stopped: false, call: new AbortController() };
    const most = Math.min(limit, this.#limits?.rows_max ?? limit);
    this.#running = mine;
    this.#shownOf = asked;
    this.#editor?.point(null);
    this.#busy(true);
    const began = performance.now();
    let waits = false;
    const tick = (): void => this.#result.waiting(waits ? "Waiting for its turn" : "Running", (performance.now() - began) / 1_000);
    const clock = window.setInterval(tick, 100);
    const look = window.setInterval(() => void isWaiting(mine.id).then((now) => (waits = now), () => {}), WAIT_LOOK_MS);
    tick();
    if (this.#result.shown === "plan") void this.#explain(asked);
    try {
      const answer = await run(asked, mine.id, most, mine.call.signal);
      if (this.#running !== mine) return;
      this.#result.show(answer);
      this.#keep(withRun(this.#past, { asked, atMs: Date.now(), tookMs: answer.took_ms, rows: answer.row_count, error: null }));
    } catch (error) {
      if (this.#running === mine) this.#tellFailed(asked, error as Refusal);
    } finally {
      window.clearInterval(clock);
      window.clearInterval(look);
      if (this.#running === mine) {
        this.#running = null;
        this.#busy(false);
      }
    }
  }

  #tellFailed(asked: Asked, error: Refusal): void {
    const heads: Record<string, string> = { refused: "The query is not right", limit: "That is more than a query may take", cancelled: "Cancelled", busy: "Too many queries at once", away: "Not reached" };
    const message = plainError(error.message);
    const place = error.line && error.column ? `Line ${error.line}, column ${error.column}: ` : "";
    const next = { limit: " See Limits, under the query.", busy: " Run it again in a moment." }[error.kind] ?? "";
    this.#result.failed(heads[error.kind] ?? "That did not work", place + message + next);
    if (asked.named === null && error.line && error.column) this.#editor?.point({ line: error.line, column: error.column, message });
    if (error.kind !== "cancelled") this.#keep(withRun(this.#past, { asked, atMs: Date.now(), tookMs: null, rows: null, error: message.split("\n")[0]! }));
  }

  /** Stop what runs: the server is told, and says so to who waits. */
  #stop(): void {
    const one = this.#running;
    if (!one || one.stopped) return;
    one.stopped = true;
    void stop(one.id).catch(() => {}); // it has ended meanwhile
    this.#planned?.abort();
  }

  #busy(busy: boolean): void {
    this.#cancel.hidden = !busy;
    this.#run.classList.toggle("runs", busy);
  }

  #chose(which: Show): void {
    const asked = this.#current();
    history.replaceState(null, "", writeLink(asked, which));
    this.#result.choose(which);
    if (which !== "plan") return;
    if (asked.named !== null || asked.sql.trim()) void this.#explain(asked);
    else this.#result.planText("A plan says what a query reads. Write one, or choose one at the side.");
  }

  /** The query as it stands in the fields and the editor. */
  #current(): Asked {
    return this.#asked.named === null || !this.#library ? this.#asked : { ...this.#asked, params: this.#form.values };
  }

  async #explain(asked: Asked): Promise<void> {
    this.#planned?.abort();
    const mine = new AbortController();
    this.#planned = mine;
    this.#result.planText("Runs it once more, to see what it reads …");
    this.#result.choose("plan");
    try {
      const plan = await explain(asked, mine.signal);
      if (this.#planned === mine) this.#result.plan(plan);
    } catch (error) {
      if (this.#planned === mine) this.#result.planText(plainError((error as Refusal).message));
    }
  }

  async #download(format: "csv" | "parquet"): Promise<void> {
    const asked = this.#shownOf;
    if (!asked) return;
    this.#result.tell(`Makes the ${format === "csv" ? "CSV" : "Parquet"} file …`);
    try {
      const { blob, more, rows } = await file(asked, format, this.#limits?.rows_max ?? ROWS);
      const address = URL.createObjectURL(blob);
      el("a", { href: address, download: `${asked.named ?? "query"}.${format}` }).click();
      window.setTimeout(() => URL.revokeObjectURL(address), 60_000);
      if (more) this.#result.tell(`The file has the first ${count(rows, "row")}: an answer has no more.`);
      else this.#result.age(Date.now());
    } catch (error) {
      this.#result.tell(plainError((error as Refusal).message));
    }
  }

  async #copyLink(): Promise<void> {
    const asked = this.#current();
    const link = `${location.origin}${location.pathname}${writeLink(asked, this.#result.shown)}`;
    try {
      await navigator.clipboard.writeText(link);
      say(this.#link, "Copied");
    } catch {
      history.replaceState(null, "", link); // a browser that keeps its clipboard to itself: it stands above
      say(this.#link, "In the address");
    }
    window.setTimeout(() => say(this.#link, "Copy link"), 2_000);
  }

  #keep(past: PastQuery[]): void {
    this.#past = past;
    remember(KEPT, JSON.stringify(past));
    this.#side.past(past);
  }

  #name(): void {
    if (this.#here) this.app.title(this.#asked.named === null ? "Ask" : this.#title.textContent ?? "Ask");
  }
}
