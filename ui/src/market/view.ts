/** The market at a glance: what moved, how much, and where the money went. */

import "./style/market.css";
import "./style/heat.css";
import "./style/table.css";

import { el } from "../base/dom.ts";
import { readPalette } from "../base/palette.ts";
import type { Changes } from "../live/store.ts";
import { changeOf } from "../live/store.ts";
import type { App, OpenView, View } from "../shell/view.ts";
import { Filter, SIZE_NAMES, choose } from "./filter.ts";
import { Headline } from "./headline.ts";
import { HeatMap } from "./heat.ts";
import { ASKED, readAsked, symbolLink, writeAsked } from "./link.ts";
import type { Asked, Size } from "./link.ts";
import { Sessions, breadthOf, linesOf, select, venuesOf } from "./model.ts";
import type { Column, Line, MarketPart } from "./model.ts";
import { Movers } from "./movers.ts";
import { SymbolTable } from "./table.ts";

const ANEW_MS = 1_000; // sums, ranks and orders are made anew this often; prices in view follow at once
const PRICES_MS = 120; // and what they change on the map and in the table is drawn this often

export const openMarket: OpenView = (root, app) => new MarketView(root, app);

class MarketView implements View {
  readonly #sessions = new Sessions();
  readonly #headline = new Headline();
  readonly #heat: HeatMap;
  readonly #movers: Movers;
  readonly #table: SymbolTable;
  readonly #filter = new Filter((asked) => this.#ask(asked));
  readonly #size = choose("Tile size", SIZE_NAMES);
  readonly #empty = el("div", { class: "market-empty", hidden: "" }, el("h3", {}, "Waiting for the first price"), el("p"));
  readonly #page: HTMLElement;
  #asked: Asked = ASKED;
  #lines = new Map<string, Line>();
  #moved = new Set<string>();
  #anewAt = -Infinity;
  #drawnAt = -Infinity;
  #later = 0;

  constructor(
    root: HTMLElement,
    private readonly app: App,
  ) {
    const open = (symbol: string): void => app.go(symbolLink(symbol));
    this.#movers = new Movers(app.store);
    this.#table = new SymbolTable(app.store, (column) => this.#sort(column), open);
    const [map, legend] = [el("div", { class: "heat-map" }), el("div", { class: "heat-legend" })];
    this.#page = el(
      "main", { class: "market", "aria-label": "Market" },
      this.#headline.root,
      el("section", { class: "heat", "aria-labelledby": "heat-title" }, el("header", {}, el("h3", { id: "heat-title" }, "Heat map"), legend, this.#size), map),
      this.#movers.root,
      el("section", { class: "all", "aria-labelledby": "all-title" }, el("header", {}, el("h3", { id: "all-title" }, "All symbols"), this.#filter.root), this.#table.root),
    );
    root.append(this.#page, this.#empty);
    this.#heat = new HeatMap(map, legend, readPalette(), open);
    this.#size.addEventListener("input", () => this.#ask({ size: this.#size.value as Size }));
    app.store.follow("market", (part) => this.#take(part as MarketPart));
  }

  enter(rest: string): void {
    this.#asked = readAsked(rest);
    this.app.want({ chart: null, parts: ["market"] });
    this.app.title("Market");
    this.#anew(true);
  }

  leave(): void {
    window.clearTimeout(this.#later);
    document.body.dataset["state"] = "shown";
  }

  draw(changes: Changes): void {
    for (const symbol of changes.quotes) this.#moved.add(symbol);
    const now = performance.now();
    if (changes.symbols || now - this.#anewAt >= ANEW_MS) this.#anew(changes.symbols && this.#lines.size === 0);
    else if (now - this.#drawnAt >= PRICES_MS) this.#drawPrices();
    else if (!this.#later) this.#later = window.setTimeout(() => this.#drawPrices(), PRICES_MS);
  }

  #take(part: MarketPart): void {
    this.#sessions.take(part);
    if (!part.whole) return;
    this.#heat.remeasure();
    this.#anewAt = -Infinity;
  }

  restyle(): void {
    this.#heat.restyle(readPalette());
  }

  /** What the newest prices change, in what is in view. */
  #drawPrices(): void {
    window.clearTimeout(this.#later);
    this.#later = 0;
    this.#drawnAt = performance.now();
    const moved: Line[] = [];
    for (const symbol of this.#moved) {
      const line = this.#lines.get(symbol);
      const quote = this.app.store.quotes.get(symbol);
      if (!line || !quote) continue;
      line.quote = quote;
      line.percent = changeOf(quote)?.percent ?? null;
      line.traded = this.#sessions.of.get(symbol);
      moved.push(line);
    }
    this.#moved.clear();
    this.#heat.refresh(moved);
    this.#table.draw();
  }

  /** Sums, ranks, sizes and orders. `ordered`: also where a person points at the table. */
  #anew(ordered: boolean): void {
    window.clearTimeout(this.#later);
    this.#later = 0;
    this.#anewAt = this.#drawnAt = performance.now();
    this.#moved.clear();
    const { store } = this.app;
    const lines = linesOf(store, this.#sessions);
    this.#lines = new Map(lines.map((line) => [line.quote.symbol, line]));
    this.#showState();
    this.#headline.show(breadthOf(lines), lines, store.figures?.now_ms ?? Date.now());
    this.#size.value = this.#asked.size;
    this.#heat.show(lines, this.#asked.size);
    this.#movers.show(lines);
    if (ordered || !this.#table.held) this.#order(lines);
    else this.#table.draw();
  }

  #order(lines: readonly Line[]): void {
    const { sort, down, text } = this.#asked;
    const found = select(lines, this.#asked);
    this.#filter.show(this.#asked, venuesOf(lines), found.length, lines.length);
    const why = text.trim() ? `No symbol like “${text.trim()}” with these filters.` : "No symbol passes these filters.";
    this.#table.show(found, sort, down, lines.length ? why : "No symbols yet.");
  }

  #showState(): void {
    const { store } = this.app;
    const none = store.quotes.size === 0;
    document.body.dataset["state"] = !none ? "shown" : store.figures ? "empty" : "loading";
    this.#page.classList.toggle("waits", none);
    this.#empty.hidden = !none;
    if (!none) return;
    const words = store.figures
      ? "Symbols appear here with their first trade. Start a source: marketpulse up plays bundled data, marketpulse produce reads yours."
      : "Asking the server for the market …";
    this.#empty.lastElementChild!.textContent = words;
  }

  #sort(column: Column): void {
    const same = this.#asked.sort === column;
    this.#ask({ sort: column, down: same ? !this.#asked.down : column !== "symbol" });
    this.#table.toTop();
  }

  #ask(asked: Partial<Asked>): void {
    this.#asked = { ...this.#asked, ...asked };
    const before = location.hash;
    this.app.go(writeAsked(this.#asked), true); // which enters it, where the address changed
    if (location.hash === before) this.#anew(true);
  }
}
